//! `portcullis status`

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;

use super::{
    Connection,
    connection::{print_json, unexpected},
    duration,
    plain::plain,
};
use crate::{
    control::{self, DeepStatus, QueueStatus, Request, Response},
    schedule::JobStatus,
};

/// Show the state of the running engine.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        match connection.ask(&Request::Status {})? {
            Response::Status(status) if self.json => print_json(out, &status),
            Response::Status(status) => Ok(print(&status, out)?),
            other => Err(unexpected(&other)),
        }
    }
}

fn print(status: &control::Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "portcullis {} on {} ({} XDP, forwards to {}), pid {}, up {}",
        status.version,
        status.interface,
        status.xdp_mode,
        status.forward,
        status.pid,
        duration::show_seconds(
            Duration::try_from_secs_f64(status.uptime_s)
                .unwrap_or_default()
                .as_secs()
        )
    )?;
    writeln!(
        out,
        "mode {}, on failure {}, rules {} ({} rules, {} reloads), model {}",
        status.mode,
        status.on_failure,
        status.rules.version,
        status.rules.count,
        status.rules.reloads,
        status.rules.model.version.as_deref().unwrap_or("off")
    )?;
    let requests = &status.requests;
    writeln!(
        out,
        "requests  {} allowed ({} known from the cache), {} suspicious, {} blocked, {} malformed",
        requests.allow, requests.cached, requests.suspicious, requests.block, requests.malformed
    )?;
    if requests.known_fields[1] + requests.known_lines[1] > 0 {
        writeln!(
            out,
            "  known from the cache: {} of the header lines, {} of the fields in the others",
            share(requests.known_lines),
            share(requests.known_fields)
        )?;
    }
    if requests.detect_only + requests.excluded > 0 {
        writeln!(
            out,
            "  with hits that do not count: {} above the paranoia level, {} excluded",
            requests.detect_only, requests.excluded
        )?;
    }
    for (family, count) in &requests.families {
        writeln!(out, "  {family:<24} {count:>12}")?;
    }
    if !status.clients.is_empty() {
        writeln!(out, "clients")?;
    }
    for (what, count) in &status.clients {
        writeln!(out, "  {what:<24} {count:>12}")?;
    }
    if let Some(deep) = &status.deep {
        print_deep(deep, out)?;
    }
    if let Some(baseline) = &status.baseline {
        writeln!(
            out,
            "baseline  {} parameters learnt, {} of them mature",
            baseline.parameters, baseline.mature
        )?;
    }
    writeln!(
        out,
        "flows {}, sources {}, blocks {}, held bytes {}",
        status.flows, status.sources, status.blocks, status.held_bytes
    )?;
    writeln!(
        out,
        "xdp       {:<9} {:<24} {:>14}",
        "ACTION", "REASON", "PACKETS"
    )?;
    for counter in status.xdp.iter().filter(|counter| counter.packets > 0) {
        writeln!(
            out,
            "          {:<9} {:<24} {:>14}",
            counter.action, counter.reason, counter.packets
        )?;
    }
    print_queues(status, out)?;
    print_jobs(&status.jobs, out)?;
    if let Some(left) = status.reload_on_trial_s {
        writeln!(
            out,
            "on trial: the last reload is taken back in {} unless `portcullis confirm` comes before",
            duration::show_seconds(left)
        )?;
    }
    if let Some(error) = &status.rules.last_error {
        writeln!(out, "warning: the last reload of the rules failed: {error}")?;
    }
    for warning in &status.warnings {
        writeln!(out, "warning: {}", plain(warning))?;
    }
    Ok(())
}

fn print_deep(deep: &DeepStatus, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "deep      {} workers, breaker {}, {} requests wait; grown {}, shrunk {}, died {}, hung {}",
        deep.workers, deep.breaker, deep.waiting, deep.grown, deep.shrunk, deep.died, deep.stalled
    )?;
    for (what, count) in deep.requests.iter().filter(|(_, count)| **count > 0) {
        writeln!(out, "  {what:<24} {count:>12}")?;
    }
    Ok(())
}

fn print_jobs(jobs: &[JobStatus], out: &mut dyn Write) -> io::Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "jobs      {:<24} {:>8} {:<24} {:>10}  RESULT",
        "NAME", "EVERY", "LAST RUN", "TOOK"
    )?;
    for job in jobs {
        let every = Duration::try_from_secs_f64(job.every_s).unwrap_or_default();
        writeln!(
            out,
            "          {:<24} {:>8} {:<24} {:>7.1} ms  {}",
            job.name,
            duration::show_seconds(every.as_secs()),
            job.last_run.as_deref().unwrap_or("not yet"),
            job.last_duration_ms,
            plain(job.last_result.as_deref().unwrap_or("–"))
        )?;
    }
    Ok(())
}

/// The queues, and the interfaces first if there are several.
fn print_queues(status: &control::Status, out: &mut dyn Write) -> io::Result<()> {
    let several = status.interfaces.len() > 1;
    for interface in status.interfaces.iter().filter(|_| several) {
        writeln!(
            out,
            "interface {:<15}  {} XDP",
            interface.name, interface.xdp_mode
        )?;
    }
    for queue in &status.queues {
        print_queue(queue, several, out)?;
    }
    Ok(())
}

/// With its place, if there are `several` interfaces.
fn print_queue(queue: &QueueStatus, several: bool, out: &mut dyn Write) -> io::Result<()> {
    let cpu = queue
        .cpu
        .map_or("no CPU of its own".to_owned(), |cpu| format!("CPU {cpu}"));
    let copy = if queue.zero_copy { "zero copy" } else { "copy" };
    let place = if several {
        format!("{} queue {}, ", queue.interface, queue.rx_queue)
    } else {
        String::new()
    };
    writeln!(
        out,
        "queue {}   {place}{cpu}, {copy}, heartbeat {} ms ago, {} flows",
        queue.queue, queue.heartbeat_age_ms, queue.flows
    )?;
    writeln!(
        out,
        "          read {}, lost {}; received {} (joined packets: {}, fragments: {}, urgent: {}, handed over: {}), forwarded {}, dropped {}, injected {}, stalled {}",
        queue.read,
        queue.lost,
        queue.received,
        queue.joined,
        queue.fragments,
        queue.urgent,
        queue.handed_over,
        queue.forwarded,
        queue.dropped.values().sum::<u64>(),
        queue.injected,
        queue.stalled
    )?;
    for (reason, count) in &queue.dropped {
        writeln!(out, "            dropped {reason:<24} {count:>12}")?;
    }
    for (reason, count) in &queue.unscored {
        writeln!(out, "            unscored {reason:<23} {count:>12}")?;
    }
    writeln!(
        out,
        "          credits {}, held segments {}",
        queue.credits, queue.held
    )
}

/// What part of all, in percent.
fn share([part, all]: [u64; 2]) -> String {
    let tenths = (part * 1000).checked_div(all).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}
