//! Where and how the queues' threads run: CPU and scheduling policy.

use anyhow::{Context as _, bail};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{config::Scheduling, ring};

/// The CPUs to pin threads to, in turn: those configured, or all this process may use.
pub(super) fn cpus(configured: &[u32]) -> anyhow::Result<Vec<u32>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot read the CPU affinity")?;
    let allowed: Vec<_> = (0..CpuSet::count() as u32)
        .filter(|cpu| allowed.is_set(*cpu as usize).unwrap_or(false))
        .collect();
    if let Some(cpu) = configured.iter().find(|cpu| !allowed.contains(cpu)) {
        bail!("engine.cpus names CPU {cpu}, which this process may not use; it may use {allowed:?}");
    }
    Ok(if configured.is_empty() {
        allowed
    } else {
        configured.to_vec()
    })
}

/// Pins the calling thread and sets its policy. What the system refuses is said and does not stop the engine.
pub(super) fn take(cpu: Option<u32>, scheduling: Scheduling) {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        let pinned = set
            .set(cpu as usize)
            .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
        if let Err(error) = pinned {
            tracing::warn!("cannot pin a thread to CPU {cpu}: {error}");
        }
    }
    if scheduling == Scheduling::Batch
        && let Err(error) = ring::batch_this_thread()
    {
        tracing::warn!("cannot set a thread's scheduling policy to batch: {error}");
    }
}

/// Keeps the calling thread off these CPUs, if it may use any other. It keeps its scheduling policy.
pub(super) fn keep_off(cpus: &[u32]) {
    let kept = sched_getaffinity(Pid::from_raw(0)).and_then(|mut set| {
        for &cpu in cpus {
            set.unset(cpu as usize)?;
        }
        let any = (0..CpuSet::count()).any(|cpu| set.is_set(cpu).unwrap_or(false));
        if any {
            sched_setaffinity(Pid::from_raw(0), &set)
        } else {
            Ok(())
        }
    });
    if let Err(error) = kept {
        tracing::warn!("cannot keep a thread off the CPUs {cpus:?}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let error = cpus(&[4095])
            .expect_err("no machine here has so many CPUs")
            .to_string();
        assert!(error.starts_with("engine.cpus names CPU 4095"), "{error}");
        let all = cpus(&[]).expect("this process runs somewhere");
        assert_eq!(cpus(&all[..1]).expect("allowed"), all[..1]);
    }

    #[test]
    fn a_thread_keeps_off_if_it_can() {
        std::thread::spawn(|| {
            let all = cpus(&[]).expect("this process runs somewhere");
            keep_off(&all);
            assert_eq!(cpus(&[]).expect("it still does"), all, "there is no other");
            keep_off(&all[1..]);
            assert_eq!(cpus(&[]).expect("there is one left"), all[..1]);
        })
        .join()
        .expect("it ends");
    }
}
