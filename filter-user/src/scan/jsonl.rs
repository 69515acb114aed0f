//! JSON lines: one recorded request a line.

use std::{
    io::{self, BufRead},
    time::Instant,
};

use filter_score::OfflineScorer;

use super::{BadInput, Input, Judge, Sink, record::Record};

/// The longest line, in bytes; longer ones are left out.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// Scores each line's request, in order. Lines that hold none are noted; an error is one of the sink.
pub fn scan_jsonl(mut input: Input, judge: &Judge, sink: &mut dyn Sink) -> io::Result<()> {
    let mut scorer =
        OfflineScorer::with_policies(judge.policies.clone()).from_source(judge.source, judge.policy);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        number += 1;
        let bad = |message| BadInput {
            file: input.name.clone(),
            line: Some(number),
            message,
        };
        match read_line(&mut *input.bytes, &mut line) {
            Ok(Line::End) => return Ok(()),
            Ok(Line::TooLong) => {
                sink.bad_input(&bad(format!("the line is longer than {MAX_LINE_BYTES} bytes")));
                continue;
            }
            Ok(Line::Complete) if line.trim_ascii().is_empty() => continue,
            Ok(Line::Complete) => {}
            // A damaged file: what was read of its last line is no record.
            Err(error) => {
                sink.bad_input(&bad(format!("cannot be read further: {error}")));
                return Ok(());
            }
        }
        match Record::parse(&line) {
            Ok(record) => {
                let raw = record.bytes;
                let start = Instant::now();
                let decision = scorer.score_request(&raw);
                sink.scored(1, raw.len() as u64, start.elapsed());
                sink.decision(&record.id.unwrap_or_else(|| number.into()), &decision)?;
            }
            Err(message) => sink.bad_input(&bad(message)),
        }
    }
}

enum Line {
    Complete,
    TooLong,
    End,
}

/// Reads one line without its end. One that is too long is passed over whole.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    let mut any = false;
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        let ended = buffer.is_empty();
        any |= !ended;
        let newline = buffer.iter().position(|&byte| byte == b'\n');
        let content = &buffer[..newline.unwrap_or(buffer.len())];
        too_long |= line.len() + content.len() > MAX_LINE_BYTES;
        if !too_long {
            line.extend_from_slice(content);
        }
        let taken = content.len() + usize::from(newline.is_some());
        input.consume(taken);
        if ended || newline.is_some() {
            return Ok(match (any, too_long) {
                (false, _) => Line::End,
                (true, true) => {
                    *line = Vec::new();
                    Line::TooLong
                }
                (true, false) => Line::Complete,
            });
        }
    }
}
