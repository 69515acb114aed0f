//! Lines for systemd's journal: it has the time by itself, and takes the priority from what a line begins with (sd-daemon(3)).

use std::{env, fmt, io, os::fd::AsFd};

use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// The priority of errors.
const ERROR: u8 = 3;

/// Whether standard error goes to the journal.
pub(crate) fn has_standard_error() -> bool {
    is_stream(io::stderr(), env::var("JOURNAL_STREAM").ok().as_deref())
}

/// A message of an error, line by line, so that the journal shows it among errors.
pub(crate) fn error(message: &str) -> String {
    let lines = message.lines().map(|line| format!("<{ERROR}>{line}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether what is written to `file` goes to the journal, whose stream systemd names by device and inode (systemd.exec(5)).
fn is_stream(file: impl AsFd, stream: Option<&str>) -> bool {
    fstat(file).is_ok_and(|status| stream == Some(&format!("{}:{}", status.st_dev, status.st_ino)))
}

/// Log lines with a priority and without a time.
pub(crate) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => ERROR,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::Mutex};

    use tracing_subscriber::{fmt::layer, layer::SubscriberExt as _};

    use super::*;

    #[test]
    fn every_line_of_an_error_has_its_priority() {
        assert_eq!(error("error: a\n  fix: b"), "<3>error: a\n<3>  fix: b");
    }

    #[test]
    fn lines_for_the_journal_have_a_priority_and_no_time() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let lines = layer()
            .with_writer(Mutex::new(file.reopen().expect("the file")))
            .event_format(Lines);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::error!("a");
            tracing::warn!("b {}", 1);
            tracing::info!("c");
            tracing::debug!("d");
        });
        let text = std::fs::read_to_string(file.path()).expect("text");
        assert_eq!(text, "<3>a\n<4>b 1\n<6>c\n<7>d\n");
    }

    #[test]
    fn the_journal_is_known_by_its_stream() {
        let file = File::open("/dev/null").expect("a file");
        let status = fstat(&file).expect("its status");
        let stream = format!("{}:{}", status.st_dev, status.st_ino);
        assert!(is_stream(&file, Some(&stream)));
        assert!(!is_stream(&file, Some("1:1")));
        assert!(!is_stream(&file, None));
    }
}
