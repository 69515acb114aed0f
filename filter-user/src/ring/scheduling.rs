//! How the kernel schedules the thread that reads a ring.

use std::io;

use nix::libc;

/// Makes the calling thread one that does not interrupt others when it wakes up (`SCHED_BATCH`, see sched(7)): on a
/// CPU that it has to share, it finds all the packets of their time slice at once instead of switching for each. Its
/// nice value stays.
///
/// # Errors
///
/// Those of `sched_setscheduler(2)`.
pub fn batch_this_thread() -> io::Result<()> {
    // SAFETY: plain integers, all zero, are a valid `sched_param`; nix and std have no safe call for this.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread, and the parameters live until the call returns.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_thread_becomes_batch() {
        let policy = |thread: &str| {
            let stat =
                std::fs::read_to_string(format!("/proc/{thread}/stat")).expect("a thread has a stat file");
            let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
            // Field 41 of proc_pid_stat(5); the third is the first after the name.
            fields.split(' ').nth(41 - 3).map(str::to_owned)
        };
        std::thread::spawn(move || {
            assert_eq!(policy("thread-self").as_deref(), Some("0"));
            batch_this_thread().expect("every thread may");
            assert_eq!(policy("thread-self").as_deref(), Some("3"));
        })
        .join()
        .expect("the thread ends");
        assert_eq!(policy("thread-self").as_deref(), Some("0"));
    }
}
