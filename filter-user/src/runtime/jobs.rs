//! What a running engine does now and then.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;

use super::state::State;
use crate::{
    alert::{Severity, Turn, Webhook},
    control::Engine,
    history::{self, Recorder},
    live::Topic,
    schedule::{Job, Scheduler},
    summary::Summary,
    trend::Reading,
};

/// How often the engine looks at itself.
const PULSE: Duration = Duration::from_secs(1);
/// How often the reputation in the XDP program's map is refreshed.
const REPUTATION: Duration = Duration::from_secs(30);
/// How often it is looked at how much of the baselines has been learnt.
const BASELINE: Duration = Duration::from_mins(1);
/// How often the log says how it goes.
const HEALTH: Duration = Duration::from_hours(1);

/// Starts all of it.
pub(super) fn start(state: &Arc<State>) -> anyhow::Result<Scheduler> {
    let webhook = Webhook::start(&state.config.alerts).context("cannot start the webhook's thread")?;
    let mut jobs = vec![
        pulse(state, webhook),
        exclusions(state),
        reputation(state),
        baseline(state),
        health(state),
    ];
    jobs.extend(summary(state));
    jobs.extend(snapshots(state));
    let board = Arc::clone(&state.chronicle.board);
    Scheduler::start(jobs, board).context("cannot start the thread of the jobs")
}

/// Notes how it goes, and looks for what is wrong.
fn pulse(state: &Arc<State>, webhook: Option<Webhook>) -> Job {
    let state = Arc::clone(state);
    Job::new("pulse", PULSE, move || {
        let Some(point) = state.chronicle.trend.add(Reading::of(&*state)) else {
            return Ok("the first reading".into());
        };
        state.chronicle.hub.tell(Topic::Stats, &point);
        let turns = state.chronicle.alerts.consider(&point);
        for turn in &turns {
            tell(&state, turn, webhook.as_ref());
        }
        Ok(format!("{} alerts turned", turns.len()))
    })
}

fn tell(state: &State, turn: &Turn, webhook: Option<&Webhook>) {
    let Turn { name, message, .. } = turn;
    match (turn.state, turn.severity) {
        ("cleared", _) => tracing::info!("alert {name} is over: {message}"),
        (_, Severity::Critical) => tracing::error!("alert {name}: {message}"),
        (_, Severity::Warning) => tracing::warn!("alert {name}: {message}"),
    }
    let message = state.chronicle.hub.tell(Topic::Alerts, turn);
    if let Some(webhook) = webhook {
        webhook.post(&message.text);
    }
}

/// Ends exclusions whose time is over.
fn exclusions(state: &Arc<State>) -> Job {
    let state = Arc::clone(state);
    Job::new("exclusions", PULSE, move || {
        let ended = state.end_exclusions().map_err(|refusal| refusal.to_string())?;
        Ok(format!("{ended} exclusions have ended"))
    })
}

fn reputation(state: &Arc<State>) -> Job {
    let state = Arc::clone(state);
    Job::new("reputation", REPUTATION, move || {
        let sources = state.refresh_reputation();
        Ok(format!("{sources} sources with a reputation"))
    })
}

/// The queues' threads learn by themselves: this only says how far they have come.
fn baseline(state: &Arc<State>) -> Job {
    let state = Arc::clone(state);
    Job::new("baseline", BASELINE, move || {
        Ok(match state.status().baseline {
            None => "no service has one".into(),
            Some(baseline) => format!(
                "{} parameters learnt, {} of them mature",
                baseline.parameters, baseline.mature
            ),
        })
    })
}

fn health(state: &Arc<State>) -> Job {
    let state = Arc::clone(state);
    Job::new("health", HEALTH, move || {
        let status = state.status();
        let alerts = state.chronicle.alerts.list();
        let active: Vec<_> = alerts
            .iter()
            .filter(|alert| alert.active)
            .map(|alert| alert.name.as_str())
            .collect();
        let wrong = match active.as_slice() {
            [] => "no alert is on".to_owned(),
            names => format!("alerts: {}", names.join(", ")),
        };
        let report = format!(
            "up {:.0} s, {} requests, {} blocked, {} warnings; {wrong}",
            status.uptime_s,
            status.requests.total(),
            status.requests.block,
            status.warnings.len()
        );
        tracing::info!("health: {report}");
        Ok(report)
    })
}

/// A line in the log, if there is to be one.
fn summary(state: &Arc<State>) -> Option<Job> {
    let every = state.config.report.summary_interval_s;
    let state = Arc::clone(state);
    let mut last = state.status();
    (every > 0).then(|| {
        Job::new("summary", Duration::from_secs(every.into()), move || {
            let now = state.status();
            let summary = Summary::between(&last, &now).to_string();
            tracing::info!("{summary}");
            last = now;
            Ok(summary)
        })
    })
}

fn snapshots(state: &Arc<State>) -> Option<Job> {
    let settings = state.config.history.clone();
    let every = Duration::from_secs(settings.interval_s.into());
    let mut recorder = Recorder::new(Arc::clone(state) as _);
    (settings.interval_s > 0).then(|| {
        Job::new("history", every, move || {
            history::write(&settings.directory, &recorder.snapshot(), settings.files)
                .map(|path| format!("wrote {}", path.display()))
                .map_err(|error| {
                    format!(
                        "no snapshot in {}: {error}; fix: make room or give the engine's user that directory, or name another as \
                         history.directory",
                        settings.directory.display()
                    )
                })
        })
    })
}
