//! The thread that writes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::files::Files;
use crate::config;

/// Lines that may wait for the disk; further ones are lost, and counted.
const CAPACITY: usize = 4096;
/// How long a line may stay in memory when no other comes.
const QUIET: Duration = Duration::from_millis(200);
/// After an error, lines are lost for so long before the files are tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What has become of lines.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    /// Lines that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Lines that found no room, or no disk that takes them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// The running log. When dropped, it writes what waits and ends.
#[derive(Debug)]
pub struct Log {
    lines: Option<SyncSender<Arc<str>>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

impl Log {
    /// Starts the thread. A directory that cannot be written is said in the engine's log, and tried again.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn start(settings: &config::Audit) -> io::Result<Self> {
        let (lines, receiver) = mpsc::sync_channel(CAPACITY);
        let counts = Arc::new(Counts::default());
        let mut writer = Writer {
            directory: settings.directory.clone(),
            limit: u64::from(settings.file_mb) << 20,
            count: settings.files,
            files: None,
            again: Instant::now(),
            counts: Arc::clone(&counts),
        };
        // The first file is there before the engine gives up being root.
        writer.ready();
        let thread = thread::Builder::new()
            .name("pc-audit".into())
            .spawn(move || writer.run(&receiver))?;
        Ok(Self {
            lines: Some(lines),
            thread: Some(thread),
            counts,
        })
    }

    /// Has a line written, if there is room for it. Never waits.
    pub fn write(&self, line: &Arc<str>) {
        let sent = self.lines.as_ref().map(|lines| lines.try_send(Arc::clone(line)));
        if let Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) = sent {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// What has become of lines.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the audit log did not end in order");
        }
    }
}

struct Writer {
    directory: PathBuf,
    limit: u64,
    count: u32,
    files: Option<Files>,
    again: Instant,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(&mut self, lines: &Receiver<Arc<str>>) {
        loop {
            match lines.recv_timeout(QUIET) {
                Ok(line) => self.write(&line),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
        }
    }

    fn write(&mut self, line: &str) {
        let written = self.ready().map(|files| files.write(line));
        let count = match written {
            Some(Ok(())) => &self.counts.written,
            _ => &self.counts.lost,
        };
        count.fetch_add(1, Relaxed);
        if let Some(Err(error)) = written {
            self.fail(&error);
        }
    }

    fn flush(&mut self) {
        if let Some(Err(error)) = self.files.as_mut().map(Files::flush) {
            self.fail(&error);
        }
    }

    /// The files, if they can be had now.
    fn ready(&mut self) -> Option<&mut Files> {
        if self.files.is_none() && Instant::now() >= self.again {
            match Files::open(&self.directory, self.limit, self.count) {
                Ok(files) => self.files = Some(files),
                Err(error) => self.fail(&error),
            }
        }
        self.files.as_mut()
    }

    fn fail(&mut self, error: &io::Error) {
        self.files = None;
        self.again = Instant::now() + AGAIN;
        complain(&self.directory, error);
    }
}

fn complain(directory: &Path, error: &io::Error) {
    tracing::error!(
        "the audit log in {} cannot be written: {error}; its lines are lost meanwhile, and it is tried again in {} s\n  \
         fix: make room or give the engine's user that directory, or name another one as audit.directory",
        directory.display(),
        AGAIN.as_secs()
    );
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_are_written_and_those_without_a_place_are_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut settings = config::Audit {
            directory: directory.path().join("log"),
            ..config::Audit::default()
        };
        let log = Log::start(&settings).expect("started");
        for n in 0..100 {
            log.write(&format!("{{\"n\":{n}}}").into());
        }
        let counts = Arc::clone(&log.counts);
        drop(log);
        let text = fs::read_to_string(settings.directory.join("audit.jsonl")).expect("a file");
        assert_eq!(
            (text.lines().count(), counts.written(), counts.lost()),
            (100, 100, 0)
        );
        assert!(text.starts_with("{\"n\":0}\n{\"n\":1}\n"), "{text:.40}");

        fs::write(directory.path().join("file"), "").expect("written");
        settings.directory = directory.path().join("file");
        let log = Log::start(&settings).expect("started");
        log.write(&"{}".into());
        let counts = Arc::clone(&log.counts);
        drop(log);
        assert_eq!((counts.written(), counts.lost()), (0, 1));
    }
}
