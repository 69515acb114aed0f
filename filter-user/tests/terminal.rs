//! `portcullis top` on a terminal, which it gives back as it was, whatever ends it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixListener,
    },
    path::Path,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, Termios, tcgetattr},
    },
    unistd::Pid,
};

/// A test machine may be slow.
const LONG: Duration = Duration::from_mins(1);
const STEP: Duration = Duration::from_millis(10);
const TAKEN: &str = "\x1b[?1049h";
const GIVEN_BACK: &str = "\x1b[?1049l";

/// The screen of an engine that knows nothing.
struct Screen {
    process: Child,
    /// The end that the screen is on.
    terminal: OwnedFd,
    /// Ours: keyboard and display. None: the terminal has gone.
    user: Option<File>,
    /// All that was shown.
    text: String,
    before: Termios,
    _directory: tempfile::TempDir,
}

impl Screen {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let control = directory.path().join("control.sock");
        answer_nothing(&directory.path().join("control.http.sock"))?;
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None)?;
        let before = tcgetattr(&pty.slave)?;
        let process = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("--socket")
            .arg(control)
            .arg("top")
            .stdin(pty.slave.try_clone()?)
            .stdout(pty.slave.try_clone()?)
            .stderr(pty.slave.try_clone()?)
            .spawn()?;
        let mut screen = Self {
            process,
            terminal: pty.slave,
            user: Some(pty.master.into()),
            text: String::new(),
            before,
            _directory: directory,
        };
        screen.wait_for(TAKEN)?;
        screen.wait_for("waits for an engine")?;
        Ok(screen)
    }

    fn press(&mut self, keys: &[u8]) -> Result<()> {
        Ok(self.user.as_mut().context("a terminal")?.write_all(keys)?)
    }

    /// Reads what comes within `patience`, at most once.
    fn look(&mut self, patience: Duration) -> Result<()> {
        let Some(user) = &mut self.user else {
            thread::sleep(patience);
            return Ok(());
        };
        let mut ready = [PollFd::new(user.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::try_from(patience)?)? == 1 {
            let mut part = [0; 4096];
            let count = user.read(&mut part)?;
            self.text.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        Ok(())
    }

    fn wait_for(&mut self, text: &str) -> Result<()> {
        let end = Instant::now() + LONG;
        while !self.text.contains(text) {
            ensure!(Instant::now() < end, "no {text:?} in {:?}", self.text);
            self.look(STEP)?;
        }
        Ok(())
    }

    fn is_raw(&self) -> Result<bool> {
        let flags = tcgetattr(&self.terminal)?.local_flags;
        Ok(!flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?)
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + LONG;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "the screen does not end");
            self.look(STEP)?;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What asks for the API there gets an empty object.
fn answer_nothing(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut head = BufReader::new(&stream).lines();
            while head
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = (&stream).write_all(b"HTTP/1.0 200 OK\r\n\r\n{}");
        }
    });
    Ok(())
}

#[test]
fn the_terminal_is_given_back_whatever_ends_the_screen() -> Result<()> {
    for signal in [
        None,
        Some(Signal::SIGTERM),
        Some(Signal::SIGHUP),
        Some(Signal::SIGINT),
    ] {
        let mut screen = Screen::start()?;
        ensure!(screen.is_raw()?, "the screen reads keys");
        match signal {
            None => screen.press(b"q")?,
            Some(signal) => screen.signal(signal)?,
        }
        screen.wait_for(GIVEN_BACK)?;
        let status = screen.wait()?;
        ensure!(status.success(), "{signal:?}: {status}");
        ensure!(tcgetattr(&screen.terminal)? == screen.before, "{signal:?}");
    }
    Ok(())
}

/// Half a key holds up who reads keys.
#[test]
fn a_screen_that_is_held_up_ends_all_the_same() -> Result<()> {
    let mut screen = Screen::start()?;
    screen.press(b"\x1b[")?;
    thread::sleep(Duration::from_millis(300));
    screen.signal(Signal::SIGTERM)?;
    screen.wait_for(GIVEN_BACK)?;
    screen.wait()?;
    ensure!(tcgetattr(&screen.terminal)? == screen.before);
    Ok(())
}

#[test]
fn a_screen_whose_terminal_goes_ends() -> Result<()> {
    let mut screen = Screen::start()?;
    screen.user = None;
    // It is not in the terminal's session, whose leader the kernel tells.
    screen.signal(Signal::SIGHUP)?;
    screen.wait()?;
    Ok(())
}
