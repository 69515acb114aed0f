//! Raw requests, one after the other, as a client sends them on one connection.

use std::{
    io::{self, BufRead as _},
    sync::Arc,
    time::Instant,
};

use filter_score::{Decision, Disposition, Scorer, SecondLook, Stream};

use super::{BadInput, Input, Judge, Sink};

/// Scores the requests of one file, numbered from 1. What comes behind something that has no end to be
/// known is noted as not scored; an error is one of the sink.
pub fn scan_http(mut input: Input, judge: &Judge, sink: &mut dyn Sink) -> io::Result<()> {
    // A block must not end the stream: the requests behind it are to be scored too.
    let policies = Arc::new(judge.policies.clone().detecting());
    let mut second_look = SecondLook::new(&policies);
    let mut scorer = Scorer::with_policies(policies, 1);
    let mut stream = Stream::new().under(judge.policy);
    if let Some(source) = judge.source {
        stream = stream.from_source(source);
    }
    let mut number = 0u64;
    let message = loop {
        let chunk = match input.bytes.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                break format!("cannot be read further: {error}");
            }
            Ok(chunk) => chunk,
        };
        let (length, ended) = (chunk.len(), chunk.is_empty());
        let mut decided = Vec::new();
        let keep = |decision: &Decision<'_>| decided.push(second_look.decide(decision));
        let start = Instant::now();
        let disposition = if ended {
            scorer.finish(&mut stream, keep);
            Disposition::Accept
        } else {
            scorer.feed(&mut stream, chunk, keep)
        };
        sink.scored(decided.len() as u64, length as u64, start.elapsed());
        input.bytes.consume(length);
        for decision in decided {
            number += 1;
            sink.decision(&number.into(), &decision)?;
        }
        if let Disposition::Opaque(kind) = disposition {
            break format!("nothing behind request {number} can be scored: {kind:?}");
        }
        if ended {
            return Ok(());
        }
    };
    sink.bad_input(&BadInput {
        file: input.name,
        line: None,
        message,
    });
    Ok(())
}
