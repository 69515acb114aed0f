//! What ends the live screen from outside.

use std::{
    io,
    os::fd::AsFd as _,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, Signal},
    unistd::write,
};
use ratatui::crossterm::{
    cursor::Show,
    queue,
    terminal::{LeaveAlternateScreen, disable_raw_mode},
};

/// How long the screen has to end in order. It is held up by a terminal that takes nothing more, and by one that has gone:
/// reading keys from that does not end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The signals that end a program. They do not end it before the terminal is given back.
#[derive(Debug)]
pub(super) struct Signals {
    has_come: Arc<AtomicBool>,
}

impl Signals {
    /// From now on they come here. There must be no other threads yet: a signal could go to one of them.
    pub(super) fn hold() -> io::Result<Self> {
        let held: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]
            .into_iter()
            .collect();
        held.thread_block()?;
        let has_come = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_come);
        let wait = move || {
            while held.wait().is_err() {}
            told.store(true, Ordering::Relaxed);
            thread::sleep(PATIENCE);
            give_back();
            process::exit(1);
        };
        thread::Builder::new().name("top-signals".into()).spawn(wait)?;
        Ok(Self { has_come })
    }

    /// Whether one of them has come.
    pub(super) fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Relaxed)
    }
}

/// Gives the terminal back without waiting for anything: whoever draws may have the lock of the standard output.
fn give_back() {
    // What a terminal refuses that has gone does not matter.
    let _ = disable_raw_mode();
    let out = io::stdout();
    let mut ready = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    let mut text = Vec::new();
    if poll(&mut ready, PollTimeout::ZERO) == Ok(1) && queue!(text, LeaveAlternateScreen, Show).is_ok() {
        let _ = write(&out, &text);
    }
}
