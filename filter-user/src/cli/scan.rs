//! `portcullis scan`

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use filter_score::{OwnedDecision, Policies};
use serde_json::Value;

use super::{Connection, Datapath, exit};
use crate::{
    config::{Config, Override},
    scan::{self, BadInput, Capture, Input, Judge, Output, OutputForm, Sink, Stats},
    tuning::{ServiceNumbers, Tuned},
};

/// Score recorded requests; nothing is blocked, and no engine is needed.
#[derive(Debug, Args)]
#[command(after_help = "Formats:
  jsonl  one JSON object a line: {\"id\", \"raw_base64\"} or
         {\"id\", \"method\", \"path\", \"query_params\", \"headers\", \"body\"}
  http   raw requests, one after the other
  pcap   packet captures (pcap or pcapng), whose TCP streams are put together again

Files may be gzip. A line that is no request is reported, and the rest is scored; the exit code is 7 then.

Examples:
  portcullis scan requests.jsonl.gz > decisions.jsonl
  portcullis scan --format http --output text --stats - < requests.txt
  portcullis scan --format pcap --set scoring.rules=my-rules capture.pcap")]
pub(super) struct Scan {
    /// The files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,

    /// What the files hold
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,

    /// How decisions are printed
    #[arg(long, value_enum, default_value = "jsonl")]
    output: OutputForm,

    /// Print requests per second and latency percentiles on standard error
    #[arg(long)]
    stats: bool,

    /// The address that requests are taken to be from; captures have their own
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,

    /// The service that requests are taken to be for, if it has a policy of its own; captures have their own
    #[arg(long, value_name = "ADDRESS:PORT")]
    service: Option<SocketAddr>,

    /// Set any key of the configuration; can be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::parse)]
    overrides: Vec<Override>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Http,
    Pcap,
}

impl Scan {
    pub(super) fn run(
        self,
        connection: &Connection,
        datapath: &impl Datapath,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let origin = connection.origin(&self.overrides)?;
        let config = origin.config()?;
        let services = config.services();
        let tuned = Tuned::load(&config, &origin, &services, None)?;
        super::warn_of_model(&tuned.rules)?;
        let numbers = ServiceNumbers::new(&services);
        let judge = Judge {
            policies: Policies::clone(&tuned.policies),
            source: self.source,
            policy: self
                .service
                .map_or(0, |service| numbers.of(service.ip().into(), service.port())),
        };
        let mut sink = Printer {
            output: Output::new(out, self.output),
            stats: Stats::default(),
        };
        for name in &self.files {
            let input = match scan::open(name) {
                Ok(input) => input,
                Err(error) => {
                    let message = format!("cannot be opened: {error}");
                    sink.bad_input(&BadInput {
                        file: name.clone(),
                        line: None,
                        message,
                    });
                    continue;
                }
            };
            match self.format {
                Format::Jsonl => scan::scan_jsonl(input, &judge, &mut sink)?,
                Format::Http => scan::scan_http(input, &judge, &mut sink)?,
                Format::Pcap => scan_pcap(input, &config, &judge, datapath, &mut sink)?,
            }
        }
        if self.stats {
            writeln!(io::stderr(), "{}", sink.stats)?;
        }
        if self.format == Format::Jsonl && sink.stats.is_empty() && sink.stats.bad_inputs() > 0 {
            writeln!(
                io::stderr(),
                "  fix: if the files hold raw requests or packets, say so: --format http, --format pcap"
            )?;
        }
        Ok(if sink.stats.bad_inputs() > 0 {
            ExitCode::from(exit::BAD_INPUT)
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn scan_pcap(
    input: Input,
    config: &Config,
    judge: &Judge,
    datapath: &impl Datapath,
    sink: &mut dyn Sink,
) -> anyhow::Result<()> {
    let bad = |message| BadInput {
        file: input.name.clone(),
        line: None,
        message,
    };
    let mut capture = match Capture::open(Box::new(input.bytes)) {
        Ok(capture) => capture,
        Err(error) => {
            sink.bad_input(&bad(error.to_string()));
            return Ok(());
        }
    };
    // A damaged capture ends early: what was read of it is scored.
    if let Err(error) = datapath.replay(config, judge, &mut capture, sink) {
        match error.downcast::<scan::CaptureError>() {
            Ok(damage) => sink.bad_input(&bad(damage.to_string())),
            Err(error) => return Err(error),
        }
    }
    if capture.skipped() > 0 {
        sink.bad_input(&bad(format!(
            "{} frames of unknown link types were left out",
            capture.skipped()
        )));
    }
    Ok(())
}

/// Prints decisions on standard output, and the rest on standard error.
struct Printer<'w> {
    output: Output<'w>,
    stats: Stats,
}

impl Sink for Printer<'_> {
    fn decision(&mut self, id: &Value, decision: &OwnedDecision) -> io::Result<()> {
        self.stats.decision(decision.decision);
        self.output.write(id, decision)
    }

    fn scored(&mut self, requests: u64, bytes: u64, took: Duration) {
        self.stats.scored(requests, bytes, took);
    }

    fn bad_input(&mut self, error: &BadInput) {
        self.stats.bad_input();
        let _ = writeln!(io::stderr(), "error: {error}");
    }
}
