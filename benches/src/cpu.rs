//! CPU time of threads, in nanoseconds, as the scheduler counts it.
//!
//! A frame on a virtual cable is received on its sender's time: the soft interrupts that carry it to the other end run
//! inside the system call that sent it, and this kernel counts them for the thread. So what forwarding costs is in the times of the
//! client, the server and the engine, and what a gateway adds is the difference of their sums. What is left over for `ksoftirqd` is
//! counted beside.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

/// Of the calling thread, by its own clock: exact also between two ticks of the scheduler.
pub(crate) fn of_this_thread_exactly() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the thread's clock")?;
    Ok(Duration::from(time))
}

/// Of the calling thread.
pub(crate) fn of_this_thread() -> Result<u64> {
    read(Path::new("/proc/thread-self/schedstat"))
}

/// Of all threads of a process.
pub(crate) fn of_process(pid: u32) -> Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))? {
        // A thread may end meanwhile.
        sum += read(&task?.path().join("schedstat")).unwrap_or(0);
    }
    Ok(sum)
}

/// Of a process and its children, such as a server's workers.
pub(crate) fn of_family(pid: u32) -> Result<u64> {
    let mut sum = of_process(pid)?;
    for (child, parent, _) in processes()? {
        if parent == pid {
            sum += of_process(child).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Of the kernel's threads for soft interrupts that found no other.
pub(crate) fn of_softirqs() -> Result<u64> {
    let mut sum = 0;
    for (pid, _, name) in processes()? {
        if name.starts_with("ksoftirqd/") {
            sum += of_process(pid)?;
        }
    }
    Ok(sum)
}

/// Process, parent and name of every process.
fn processes() -> Result<Vec<(u32, u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name is in brackets and may hold any.
        let name = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
        let Some((name, rest)) = name else { continue };
        let parent = rest
            .split_whitespace()
            .nth(1)
            .and_then(|field| field.parse().ok());
        found.push((pid, parent.unwrap_or(0), name.to_owned()));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let first = text
        .split_whitespace()
        .next()
        .and_then(|field| field.parse().ok());
    first.with_context(|| format!("{} is unexpected: {text}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let before = of_this_thread().expect("this thread's");
        let mut sum = 0_u64;
        while of_this_thread().expect("this thread's") < before + 1_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(of_process(std::process::id()).expect("this process'") >= before + 1_000_000);
        of_softirqs().expect("the kernel's");
    }
}
