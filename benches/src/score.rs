//! The scoring engine alone, on one core: what a request costs.
//!
//! A request's time is the least of several rounds, as other programs disturb some rounds, hardly ever all; percentiles
//! are over requests. "As in operation" is one pass over recorded browsing with the memory of clean requests and lines
//! that an engine starts with, empty at the start of each round; "without memory" scores every byte.

mod beside;
mod corpus;
mod instructions;
mod judge;
mod worst;

pub(crate) use corpus::recorded;

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, anyhow};
use filter_score::{Model, PackSource, Policy, RuleSet, Scorer, Stream, Verdict, builtin_packs};
use serde::Serialize;

pub(crate) use corpus::GET;

use crate::{
    machine::Machine,
    report::{Cell, Column, Report, Table},
    statistics::Figure,
};

/// What an engine remembers without a configuration of its own (`scoring.cache`).
const MEMORY: usize = 16_384;
/// Requests that are incomplete at once.
const UNDERWAY: usize = 256;

/// The result.
#[derive(Debug, Serialize)]
struct Costs {
    rules: usize,
    loads: Vec<Cost>,
    /// The time of the same requests with ten times as many rules that do not concern them, as a ratio.
    tenfold_rules: f64,
    /// What a known request costs, as a share of scoring it.
    known_request: f64,
    worst: Vec<worst::Worst>,
    instructions: Option<Vec<instructions::Count>>,
    /// Why something is missing.
    notes: Vec<String>,
}

/// What the requests of one load cost.
#[derive(Clone, Debug, Serialize)]
struct Cost {
    load: &'static str,
    requests: usize,
    bytes_mean: f64,
    mean_ns: f64,
    p50_ns: f64,
    p90_ns: f64,
    p99_ns: f64,
    max_ns: f64,
    requests_per_s: f64,
    blocked: usize,
}

/// Scorers are made anew for every round, so that each begins with an empty memory.
type Make<'a> = &'a dyn Fn() -> Scorer;

/// Runs the benchmark. `data` has the recorded requests.
pub(crate) fn run(data: &Path, quick: bool) -> Result<Report> {
    let rounds = if quick { 3 } else { 15 };
    let machine = Machine::here();
    let rules = compile(&[])?;
    let plain = || Scorer::new(Arc::clone(&rules), Policy::default(), 4);
    let remembering = || plain().with_cache(MEMORY, &[7; 16]);
    let mut notes = Vec::new();
    let get = vec![corpus::GET.to_vec(); 1000];
    let scored = cost("GET of 242 bytes, without memory", &get, rounds, &plain);
    let known = cost("GET of 242 bytes, known", &get, rounds, &remembering);
    let known_request = known.p50_ns / scored.p50_ns;
    let mut loads = vec![scored, known];
    let browsing = match corpus::recorded(data) {
        Ok(requests) => requests,
        Err(error) => {
            notes.push(format!("no recorded browsing: {error:#}"));
            corpus::made_up()
        }
    };
    let has_recorded = notes.is_empty();
    let name = if has_recorded {
        "browsing"
    } else {
        "made-up browsing"
    };
    progress(&format!("scoring {} requests of {name}", browsing.len()));
    loads.push(Cost {
        load: "browsing, as in operation",
        ..cost(name, &browsing, rounds, &remembering)
    });
    let alone = Cost {
        load: "browsing, without memory",
        ..cost(name, &browsing, rounds, &plain)
    };
    let many = with_others(&rules, 10)?;
    let more = cost(name, &browsing, rounds, &|| {
        Scorer::new(Arc::clone(&many), Policy::default(), 4)
    });
    let tenfold_rules = more.mean_ns / alone.mean_ns;
    progress("counting instructions, some minutes");
    loads.push(alone);
    let costs = Costs {
        rules: rules.rules().len(),
        loads,
        tenfold_rules,
        known_request,
        worst: worst::measure(&rules, rounds),
        instructions: instructions::count(data, &mut notes),
        notes,
    };
    let report = costs.report(machine)?;
    if has_recorded {
        beside::add(report, &rules, data, quick)
    } else {
        Ok(report.missing("the recorded requests that libmodsecurity would judge as well"))
    }
}

/// Scores every request once, for a counter of instructions around it.
pub(crate) fn once(load: &str, data: &Path) -> Result<()> {
    let rules = compile(&[])?;
    let (requests, memory) = match load {
        "get" => (vec![corpus::GET.to_vec(); 100], 0),
        "browsing" => (corpus::recorded(data)?, 0),
        "operation" => (corpus::recorded(data)?, MEMORY),
        other => return Err(anyhow!("there is no load {other}")),
    };
    let mut scorer = Scorer::new(rules, Policy::default(), 4).with_cache(memory, &[7; 16]);
    for request in &requests {
        score(&mut scorer, request);
    }
    println!("{}", requests.len());
    Ok(())
}

/// A scorer as an engine has it, without the second tier.
pub(crate) fn operating() -> Result<Scorer> {
    let policy = Policy {
        deep: false,
        ..Policy::default()
    };
    Ok(Scorer::new(compile(&[])?, policy, UNDERWAY).with_cache(MEMORY, &[7; 16]))
}

/// Looks for inputs that cost most, for some seconds, and writes them to a folder.
pub(crate) fn search(folder: &Path, seconds: u64) -> Result<()> {
    worst::search(&compile(&[])?, folder, seconds)
}

pub(crate) fn compile(more: &[PackSource<'_>]) -> Result<Arc<RuleSet>> {
    let packs = [builtin_packs(), more].concat();
    let rules = RuleSet::compile(&packs)
        .map_err(|errors| anyhow!("{}", errors[0]))
        .context("compiling the rules")?;
    let model = Model::builtin().context("reading the built-in model")?;
    Ok(Arc::new(rules.with_model(Some(Arc::new(model)))))
}

/// `factor` times as many rules as these, the others about words that nobody sends.
pub(crate) fn with_others(rules: &RuleSet, factor: usize) -> Result<Arc<RuleSet>> {
    use std::fmt::Write as _;
    let mut pack = String::from("family = \"custom\"\n");
    for number in 0..(factor - 1) * rules.rules().len() {
        // Made of syllables, so that the words are like words and differ from each other.
        const SYLLABLES: [&str; 8] = ["zor", "quib", "xan", "vlek", "jud", "wyx", "kriz", "phol"];
        let word: String = (0..5)
            .map(|place| SYLLABLES[(number >> (3 * place)) % 8])
            .collect();
        write!(
            pack,
            "[[rule]]\nid = {}\nmessage = \"A made-up word\"\nseverity = \"notice\"\ntargets = [\"inputs\"]\nregex = '{word}\\s*='\n\
             samples.match = [\"{word}=\", \"{word} =\"]\nsamples.pass = [\"a\", \"b\"]\n",
            800_000 + number
        )?;
    }
    let more = PackSource {
        name: "made-up.toml",
        text: &pack,
    };
    if factor > 1 {
        compile(&[more])
    } else {
        compile(&[])
    }
}

/// Scores a request, and says whether it is blocked.
#[inline(never)]
pub(crate) fn score(scorer: &mut Scorer, request: &[u8]) -> bool {
    let mut stream = Stream::new();
    let mut blocked = false;
    scorer.feed(&mut stream, request, |decision| {
        blocked |= decision.verdict == Verdict::Block;
    });
    scorer.release(&mut stream);
    blocked
}

fn cost(load: &'static str, requests: &[Vec<u8>], rounds: usize, make: Make<'_>) -> Cost {
    let mut least = vec![u128::MAX; requests.len()];
    let mut blocked = 0;
    for _ in 0..rounds {
        let mut scorer = make();
        blocked = 0;
        for (request, least) in requests.iter().zip(&mut least) {
            let start = Instant::now();
            blocked += usize::from(score(&mut scorer, request));
            *least = (*least).min(start.elapsed().as_nanos());
        }
    }
    least.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds and counts, far below 2⁵²")]
    let (at, mean) = (
        |share: f64| {
            #[expect(clippy::cast_sign_loss, reason = "shares are positive")]
            let index = (share * least.len() as f64) as usize;
            least[index.min(least.len() - 1)] as f64
        },
        |sum: u128| sum as f64 / least.len() as f64,
    );
    let mean_ns = mean(least.iter().sum());
    Cost {
        load,
        requests: requests.len(),
        bytes_mean: mean(requests.iter().map(|request| request.len() as u128).sum()),
        mean_ns,
        p50_ns: at(0.5),
        p90_ns: at(0.9),
        p99_ns: at(0.99),
        max_ns: at(1.0),
        requests_per_s: 1e9 / mean_ns,
        blocked,
    }
}

fn progress(what: &str) {
    eprintln!("{what} …");
}

impl Costs {
    fn report(&self, machine: Machine) -> Result<Report> {
        let title = format!("Scoring with {} rules on one core", self.rules);
        let mut table = Table::new(
            "load",
            [
                Column::new("requests", ""),
                Column::new("length", "bytes"),
                Column::less("mean", "ns"),
                Column::less("p50", "ns"),
                Column::less("p90", "ns"),
                Column::less("p99", "ns"),
                Column::new("max", "ns"),
                Column::more("rate", "requests/s"),
                Column::less("instructions", ""),
            ],
        );
        for cost in &self.loads {
            let instructions = self
                .instructions
                .iter()
                .flatten()
                .find(|count| count.load == cost.load);
            let [requests, instructions] = [
                Cell::from(cost.requests),
                Cell::from(instructions.map(|count| count.instructions_per_request)),
            ];
            let times = [
                cost.bytes_mean,
                cost.mean_ns,
                cost.p50_ns,
                cost.p90_ns,
                cost.p99_ns,
                cost.max_ns,
                cost.requests_per_s,
            ];
            let times = times.map(Cell::from);
            table.row(
                cost.load,
                [requests].into_iter().chain(times).chain([instructions]),
            );
        }
        let mut ratios = Table::new("what changes the time", [Column::less("as a share", "")]);
        ratios.row("a known request, of scoring it", [self.known_request.into()]);
        ratios.row(
            "ten times as many rules, of the built-in ones",
            [self.tenfold_rules.into()],
        );
        let mut worst = Table::new(
            "worst inputs found",
            [Column::new("length", "bytes"), Column::less("time", "ns a byte")],
        );
        for input in &self.worst {
            worst.row(
                input.input.clone(),
                [input.bytes.into(), input.ns_per_byte.into()],
            );
        }
        let mut report = Report::on(machine, "score", title)
            .with(table)
            .with(ratios)
            .with(worst);
        for note in &self.notes {
            report = report.missing(note.clone());
        }
        report
            .note("the time of a request is the least of several rounds; percentiles are over requests")
            .measured(self)
    }
}

/// The least of several rounds, which is what the code costs when nothing disturbs it.
fn least(values: impl IntoIterator<Item = f64>) -> f64 {
    Figure::of(values).min
}
