//! Waking threads that sleep, and making no system call if none does.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU32, Ordering, fence},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};

/// An eventfd(2) that counts as a semaphore, and how many threads sleep on it.
///
/// Whoever means to sleep says so ([`Bell::announce`]) and looks once more whether there is work; whoever makes work
/// rings afterwards. Between the two there is always one that sees the other.
#[derive(Debug)]
pub struct Bell {
    fd: EventFd,
    sleepers: AtomicU32,
}

impl Bell {
    /// A bell that nobody listens to.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_SEMAPHORE | EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self {
            fd: EventFd::from_value_and_flags(0, flags)?,
            sleepers: AtomicU32::new(0),
        })
    }

    /// Wakes one sleeper. One system call for each sleeper that is woken, and none if there is none.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.claim() {
            // It fails only when the counter is at its limit, and then everybody is awake.
            let _ = self.fd.write(1);
        }
    }

    /// The caller is about to sleep: it looks for work once more, and then sleeps or goes on.
    pub fn announce(&self) -> Sleeper<'_> {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Sleeper { bell: self }
    }

    /// Takes one off the sleepers, unless there is none.
    fn claim(&self) -> bool {
        self.sleepers
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |sleepers| {
                sleepers.checked_sub(1)
            })
            .is_ok()
    }
}

/// Someone who sleeps, or is about to. Dropping it means being awake.
#[derive(Debug)]
#[must_use = "dropping it means being awake"]
pub struct Sleeper<'a> {
    bell: &'a Bell,
}

impl Sleeper<'_> {
    /// Sleeps until the bell rings or the time is over.
    pub fn sleep(self, timeout: Duration) {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        // An interrupted sleep is a short one.
        let _ = poll(&mut [PollFd::new(self.fd(), PollFlags::POLLIN)], timeout);
    }

    /// What becomes readable when the bell rings, for those who wait for something else as well.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.bell.fd.as_fd()
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        // Whoever rang has taken this sleeper off. A ring that comes too late wakes the next one for nothing.
        if self.bell.fd.read().is_err() && !self.bell.claim() {
            let _ = self.bell.fd.read();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        thread,
    };

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn without_a_sleeper_nothing_is_written() {
        let bell = Bell::new().expect("an eventfd");
        for _ in 0..3 {
            bell.ring();
        }
        assert!(bell.fd.read().is_err(), "nobody would have read it");
        drop(bell.announce());
        bell.ring();
        assert!(bell.fd.read().is_err());
    }

    #[test]
    fn a_ring_between_announcing_and_sleeping_is_not_lost() {
        let bell = Bell::new().expect("an eventfd");
        let sleeper = bell.announce();
        bell.ring();
        bell.ring();
        sleeper.sleep(LONG);
        assert_eq!(bell.sleepers.load(Ordering::SeqCst), 0);
        assert!(bell.fd.read().is_err(), "one for each sleeper");
    }

    #[test]
    fn no_work_is_ever_slept_over() {
        const WORK: usize = 20_000;
        let (bell, made, done) = (
            Arc::new(Bell::new().expect("an eventfd")),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let take = |made: &AtomicUsize| {
            made.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
        };
        let sleepers: Vec<_> = (0..3)
            .map(|_| {
                let (bell, made, done) = (Arc::clone(&bell), Arc::clone(&made), Arc::clone(&done));
                thread::spawn(move || {
                    while done.load(Ordering::SeqCst) < WORK {
                        if take(&made) {
                            done.fetch_add(1, Ordering::SeqCst);
                            continue;
                        }
                        let sleeper = bell.announce();
                        if made.load(Ordering::SeqCst) == 0 && done.load(Ordering::SeqCst) < WORK {
                            sleeper.sleep(LONG);
                        }
                    }
                    // The others may sleep, and there is no more work to wake them.
                    (0..3).for_each(|_| bell.ring());
                })
            })
            .collect();
        for _ in 0..WORK {
            made.fetch_add(1, Ordering::SeqCst);
            bell.ring();
        }
        for sleeper in sleepers {
            sleeper.join().expect("it ends");
        }
        assert_eq!(
            (made.load(Ordering::SeqCst), done.load(Ordering::SeqCst)),
            (0, WORK)
        );
    }
}
