//! The supervisor's part in a hand-over: the queues' threads stop, and go on in another process, or here.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use filter_common::{Action, settings::Settings};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use super::{
    Running, flow_file, maps,
    orders::{Order, Reply, What},
    queue_set::QueueSet,
    queues::Parts,
    second_tier,
};
use crate::{
    control::{HandedOver, Refusal, RefusalCode, Successor},
    engine::FlowRecords,
    host::{Interface, set_queues},
    latency::LatencyBook,
};

/// How long a successor may take until it filters.
const PATIENCE: Duration = Duration::from_secs(15);

/// The time between handing over and being told what became of it.
pub(super) struct Pending {
    successor: Pid,
    since: Instant,
    stopped: Stopped,
    file: PathBuf,
}

/// What is known where the threads have stopped.
#[derive(Clone)]
struct Stopped {
    /// Those of the XDP program, as they were.
    settings: Settings,
    records: Arc<Vec<FlowRecords>>,
}

/// What follows from an order.
pub(super) enum Next {
    /// The engine goes on, or waits.
    GoOn,
    /// The successor filters.
    Retire,
}

impl Running {
    /// Carries out an order. An error means that nothing is filtered any more.
    pub(super) async fn carry_out(&mut self, order: Order) -> anyhow::Result<Next> {
        let Order { what, reply } = order;
        let mut next = Next::GoOn;
        let (answer, result): (Reply, _) = match what {
            What::HandOver(successor) => match self.hand_over(&successor) {
                Ok(handed_over) => (Ok(Some(handed_over)), Ok(())),
                Err(refusal) if refusal.code == RefusalCode::Busy => (Err(refusal), Ok(())),
                Err(refusal) => {
                    let result = self.take_back().await;
                    (Err(refusal), result)
                }
            },
            What::TakeBack => (Ok(None), self.take_back().await),
            What::Retire if self.pending.is_some() => {
                next = Next::Retire;
                (Ok(None), Ok(()))
            }
            What::Retire => (Err(not_handed_over()), Ok(())),
            What::Queues(_) if self.pending.is_some() => (Err(handed_over_already()), Ok(())),
            What::Queues(count) => self.change_queues(count).await,
        };
        // Who asked may have gone.
        let _ = reply.send(answer);
        result.map(|()| next)
    }

    /// The successor has died, or takes too long.
    pub(super) async fn look_after_successor(&mut self) -> anyhow::Result<()> {
        let Some(pending) = &self.pending else {
            return Ok(());
        };
        let has_gone = kill(pending.successor, None) == Err(Errno::ESRCH);
        if has_gone || pending.since.elapsed() > PATIENCE {
            self.take_back().await?;
            tracing::error!("the engine that was to take over does not filter; this one goes on");
        }
        Ok(())
    }

    fn hand_over(&mut self, successor: &Successor) -> Result<HandedOver, Refusal> {
        if self.pending.is_some() {
            return Err(handed_over_already());
        }
        let refused = |message: String, remedy: &str| Err(Refusal::new(RefusalCode::Failed, message, remedy));
        let engine = &self.state.config.engine;
        if successor.interface != self.state.interface.name
            || successor.server_interface != engine.server_interface
        {
            return refused(
                format!("this engine filters {}", self.state.interface.name),
                "replace it with one that filters the same",
            );
        }
        if successor.format != FlowRecords::FORMAT {
            return refused(
                format!(
                    "this engine writes flows down in format {:#x}, its successor reads {:#x}",
                    FlowRecords::FORMAT,
                    successor.format
                ),
                "stop this engine and start the other without --replace: flows are then picked up at their next request",
            );
        }
        let begin = Instant::now();
        let stopped = self.suspend()?;
        let records = Arc::clone(&stopped.records);
        // From here on it can be taken back.
        self.pending = Some(Pending {
            successor: Pid::from_raw(successor.pid.cast_signed()),
            since: Instant::now(),
            stopped,
            file: PathBuf::new(),
        });
        let file = flow_file::write(&records).map_err(|error| {
            let message = format!("cannot write the flows down: {error}");
            Refusal::new(RefusalCode::Failed, message, "make room below /run")
        })?;
        if let Some(pending) = &mut self.pending {
            pending.file.clone_from(&file);
        }
        let flows = records.iter().map(|records| records.flows).sum();
        tracing::info!(
            "handed over {flows} flows to process {} within {:?}",
            successor.pid,
            begin.elapsed()
        );
        Ok(HandedOver { records: file, flows })
    }

    /// Goes on with the flows that were handed over; does nothing if none were.
    async fn take_back(&mut self) -> anyhow::Result<()> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        if !pending.file.as_os_str().is_empty() {
            flow_file::remove(&pending.file);
        }
        // The successor may have put its own configuration into the maps.
        maps::fill(&mut self.state.tables(), &self.state.config, &self.protected)?;
        let queues = self.queues;
        self.resume(queues, &pending.stopped).await
    }

    async fn change_queues(&mut self, count: u32) -> (Reply, anyhow::Result<()>) {
        let stopped = match self.suspend() {
            Ok(stopped) => stopped,
            Err(refusal) => return (Err(refusal), Ok(())),
        };
        let before = self.queues;
        let mut refusal = None;
        let engine = &self.state.config.engine;
        let sides = [Some(&self.state.interface.name), engine.server_interface.as_ref()];
        for side in sides.into_iter().flatten() {
            if let Err(error) = set_queues(side, count).await {
                refusal = Some(Refusal::new(
                    RefusalCode::Failed,
                    format!("{side} cannot have {count} queues: {error}"),
                    format!("`ethtool -l {side}` shows how many it may have"),
                ));
            }
        }
        let has = Interface::find(&self.state.interface.name).await;
        let has = has.map_or(before, |interface| interface.queues);
        let queues = if refusal.is_none() { count } else { before.min(has) };
        match self.resume(queues, &stopped).await {
            Ok(()) => (refusal.map_or(Ok(None), Err), Ok(())),
            Err(error) => {
                let refusal = Refusal::new(RefusalCode::Failed, format!("{error:#}"), "see the engine's log");
                (Err(refusal), Err(error))
            }
        }
    }

    /// Stops the threads. Until others run, nothing passes by them: TCP sends it again.
    fn suspend(&mut self) -> Result<Stopped, Refusal> {
        let failed = |error: crate::bpf::TableError| {
            Refusal::new(RefusalCode::Failed, error.to_string(), "see the engine's log")
        };
        let settings = {
            let mut tables = self.state.tables();
            let settings = tables.settings().map_err(failed)?;
            let closed = Settings {
                on_failure: Settings::FAIL_DROP,
                ..settings
            };
            tables.set_settings(&closed).map_err(failed)?;
            settings
        };
        Ok(Stopped {
            settings,
            records: Arc::new(self.threads.suspend()),
        })
    }

    /// Starts threads for so many queues that go on where those before them have stopped.
    async fn resume(&mut self, queues: u32, stopped: &Stopped) -> anyhow::Result<()> {
        let state = Arc::clone(&self.state);
        self.way.set_queues(&state.interface, queues).await?;
        let (policies, clients) = {
            let rules = state.rules_state();
            (
                Arc::clone(&rules.in_force.tuned.policies),
                Arc::clone(&rules.clients),
            )
        };
        let redirected_before = state.tables().counters()?.total(Action::Redirect);
        let deep = second_tier::start(&state.config, &policies, queues)?;
        let (latency, recorders) = LatencyBook::new(queues as usize);
        {
            let tables = state.tables();
            let parts = Parts {
                config: &state.config,
                interface: &state.interface,
                way: &self.way,
                tables: &tables,
                shared: &self.supplies.shared,
                policies: &policies,
                clients: &clients,
                page: &self.supplies.page,
                events: &self.supplies.events,
                deep: deep.as_ref(),
                counts: &self.supplies.counts,
            };
            self.threads = parts
                .start(recorders, &stopped.records)
                .context("the queues' threads cannot start again")?;
        }
        state.tables().set_settings(&stopped.settings)?;
        self.queues = queues;
        state.replace_queue_set(QueueSet::new(&self.threads, latency, deep, redirected_before));
        Ok(())
    }
}

fn handed_over_already() -> Refusal {
    Refusal::new(
        RefusalCode::Busy,
        "another engine is taking over",
        "wait until it has",
    )
}

fn not_handed_over() -> Refusal {
    Refusal::new(
        RefusalCode::BadRequest,
        "nothing was handed over",
        "stop the engine with SIGTERM, or start another with `portcullis run --replace`",
    )
}
