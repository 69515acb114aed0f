//! The scoring engine beside libmodsecurity with the Core Rule Set, request by request, and beside libinjection.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use filter_score::{Policy, RuleSet, Scorer};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    corpus,
    judge::{Judge, Judged},
    score,
};
use crate::{
    report::{Cell, Column, Plot, Report, Table},
    statistics::{Figure, Ratio},
};

/// How many times as fast is aimed at.
const GOAL: f64 = 100.0;

/// Requests of one kind.
#[derive(Debug, Serialize)]
struct Group {
    name: &'static str,
    is_attack: bool,
    requests: usize,
    ours: Side,
    /// libmodsecurity.
    theirs: Side,
    /// What of the values in the requests libinjection recognises; it does not know requests.
    recognised: Option<usize>,
}

/// What one side did with a group.
#[derive(Debug, Default, Serialize)]
struct Side {
    /// Nanoseconds of each request, the median of the rounds.
    ns: Vec<f64>,
    blocked: usize,
}

/// Adds to a report what both do with the same requests in turn; what is not installed is said.
///
/// # Errors
/// If there is no data, or a program ends on the way.
pub(super) fn add(report: Report, rules: &Arc<RuleSet>, data: &Path, quick: bool) -> Result<Report> {
    let (rounds, every) = if quick { (2, 40) } else { (5, 1) };
    let groups = [
        ("recorded browsing", false, corpus::recorded(data)?, None),
        attributed("attacks, in a query", true, corpus::payloads(data)?),
        attributed("benign values, in a query", false, corpus::values(data)?),
    ];
    let groups = groups.map(|(name, is_attack, requests, values)| {
        let thin = |all: Vec<Vec<u8>>| all.into_iter().step_by(every).collect::<Vec<_>>();
        (name, is_attack, thin(requests), values.map(thin))
    });
    let requests: Vec<Vec<u8>> = groups
        .iter()
        .flat_map(|(_, _, requests, _)| requests.clone())
        .collect();
    let values: Vec<Vec<u8>> = groups
        .iter()
        .flat_map(|(_, _, _, values)| values.clone().unwrap_or_default())
        .collect();
    let folder = tempfile::tempdir().context("making a folder")?;
    let mut judge = match Judge::start(folder.path(), &requests, &values) {
        Ok(judge) => judge,
        Err(error) => return Ok(report.missing(format!("libmodsecurity: {error:#}"))),
    };
    eprintln!(
        "score: {rounds} rounds of {} requests beside {}",
        requests.len(),
        judge.library
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut scorer = Scorer::new(Arc::clone(rules), Policy::default(), 4);
    for round in 0..rounds {
        if round % 2 == 0 {
            ours.push(own_round(&mut scorer, &requests));
        }
        theirs.push(judge.requests()?);
        if round % 2 == 1 {
            ours.push(own_round(&mut scorer, &requests));
        }
    }
    let recognised = judge.values()?;
    ensure!(
        theirs[0].len() == requests.len() && recognised.len() == values.len(),
        "not every request was judged"
    );
    let (mut at, mut value_at) = (0, 0);
    let groups = groups.map(|(name, is_attack, requests, values)| {
        let range = at..at + requests.len();
        at = range.end;
        let recognised = values.map(|values| {
            let range = value_at..value_at + values.len();
            value_at = range.end;
            recognised[range].iter().filter(|value| value.is_blocked).count()
        });
        Group {
            name,
            is_attack,
            requests: requests.len(),
            ours: Side::of(&ours, range.clone()),
            theirs: Side::of(&theirs, range),
            recognised,
        }
    });
    Ok(with_groups(report, &groups, &judge.library, rounds))
}

type Kind = (&'static str, bool, Vec<Vec<u8>>, Option<Vec<Vec<u8>>>);

fn attributed(name: &'static str, is_attack: bool, values: Vec<Vec<u8>>) -> Kind {
    let requests = values.iter().map(|value| corpus::in_query(value)).collect();
    (name, is_attack, requests, Some(values))
}

fn own_round(scorer: &mut Scorer, requests: &[Vec<u8>]) -> Vec<Judged> {
    let judge = |request: &Vec<u8>| {
        let start = Instant::now();
        let is_blocked = score(scorer, request);
        Judged {
            ns: start.elapsed().as_nanos() as u64,
            is_blocked,
        }
    };
    requests.iter().map(judge).collect()
}

impl Side {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one request")]
    fn of(rounds: &[Vec<Judged>], range: std::ops::Range<usize>) -> Self {
        let median = |at: usize| Figure::of(rounds.iter().map(|round| round[at].ns as f64)).median;
        Self {
            blocked: rounds[0][range.clone()]
                .iter()
                .filter(|judged| judged.is_blocked)
                .count(),
            ns: range.map(median).collect(),
        }
    }

    #[expect(clippy::cast_sign_loss, reason = "times are positive")]
    fn histogram(&self) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are possible"));
        for ns in &self.ns {
            histogram += *ns as u64;
        }
        histogram
    }
}

fn with_groups(report: Report, groups: &[Group], library: &str, rounds: u32) -> Report {
    let mut times = Table::new(
        "the same requests",
        [
            Column::new("requests", ""),
            Column::less("portcullis, median", "µs"),
            Column::less("libmodsecurity, median", "µs"),
            Column::more("times as fast, median (95 %)", ""),
        ],
    );
    let mut decisions = Table::new(
        "decisions",
        [
            Column::new("of", ""),
            Column::new("portcullis", "%"),
            Column::new("libmodsecurity", "%"),
            Column::new("libinjection, of the values", "%"),
        ],
    );
    for group in groups {
        let median = |side: &Side| Cell::from(Figure::of(side.ns.iter().copied()).median / 1e3);
        times.row(
            group.name,
            [
                group.requests.into(),
                median(&group.ours),
                median(&group.theirs),
                Ratio::of(&group.theirs.ns, &group.ours.ns).into(),
            ],
        );
        let verb = if group.is_attack { "found" } else { "blocked" };
        let share = |count: usize| Cell::from(share(count, group.requests));
        decisions.row(
            format!("{}: {verb}", group.name),
            [
                group.requests.into(),
                share(group.ours.blocked),
                share(group.theirs.blocked),
                Cell::from(group.recognised.map(share)),
            ],
        );
    }
    let all = |side: fn(&Group) -> &Side| -> Vec<f64> {
        groups.iter().flat_map(|group| side(group).ns.clone()).collect()
    };
    let (ours, theirs) = (all(|group| &group.ours), all(|group| &group.theirs));
    let ratio = Ratio::of(&theirs, &ours);
    times.row("all", [ours.len().into(), Cell::Empty, Cell::Empty, ratio.into()]);
    let count = |is_attack: bool, side: fn(&Group) -> &Side| -> usize {
        let of_kind = groups.iter().filter(|group| group.is_attack == is_attack);
        of_kind.map(|group| side(group).blocked).sum()
    };
    let [found, found_by_peer] = [
        count(true, |group| &group.ours),
        count(true, |group| &group.theirs),
    ];
    let [blocked, blocked_by_peer] = [
        count(false, |group| &group.ours),
        count(false, |group| &group.theirs),
    ];
    let histograms = groups.iter().take(2).flat_map(|group| {
        [("portcullis", &group.ours), ("libmodsecurity", &group.theirs)]
            .map(|(side, times)| (format!("{side}, {}", group.name), times.histogram()))
    });
    let histograms: Vec<_> = histograms.collect();
    let lines = histograms
        .iter()
        .map(|(name, histogram)| (name.as_str(), histogram));
    report
        .with(Plot::percentiles("a request, by percentile", "µs", 1e-3, lines))
        .with(times)
        .with(decisions)
        .goal(
            format!("at least {GOAL} times as fast as libmodsecurity with the Core Rule Set, median of the requests' ratios"),
            Cell::from(ratio).to_string(),
            ratio.median >= GOAL,
        )
        .goal(
            "more attacks found than it",
            format!("{found} beside {found_by_peer}"),
            found > found_by_peer,
        )
        .goal(
            "fewer benign requests blocked than by it",
            format!("{blocked} beside {blocked_by_peer}"),
            blocked < blocked_by_peer,
        )
        .note(format!(
            "{library} in process, Core Rule Set as Debian has it (paranoia level 1), without logs; {rounds} rounds in turn, of each \
             request the median; here every byte is scored, without the memory of clean requests"
        ))
        .note(
            "the attacks are of the kinds that this engine was made for, and easy for both; the benign values are short: differences in \
             what is found say less than those in time",
        )
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn share(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of as f64
}
