//! The percentiles as a table for terminals.

use std::fmt::Write as _;

use super::{PERCENTILES, Snapshot};

pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut text = format!(
        "latencies in µs on {} over {:.1} s\n\n{:<20} {:>5} {:>12}",
        snapshot.interface.escape_debug(),
        snapshot.latencies.interval_s,
        "STAGE",
        "QUEUE",
        "COUNT"
    );
    let mut write = |part: std::fmt::Arguments<'_>| text.write_fmt(part).expect("a string takes everything");
    for (name, _) in PERCENTILES {
        write(format_args!(" {name:>10}"));
    }
    write(format_args!(" {:>10}\n", "max"));
    for row in &snapshot.percentiles {
        let queue = row.queue.map_or("all".to_owned(), |queue| queue.to_string());
        write(format_args!("{:<20} {queue:>5} {:>12}", row.stage, row.count));
        for seconds in row.values_s() {
            write(format_args!(" {:>10.2}", seconds * 1e6));
        }
        write(format_args!("\n"));
    }
    text
}
