//! The supervisor's part in a hand-over: the queues' threads stop, and go on in another process, or here.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use filter_common::{Action, settings::Settings};

use super::{
    Running, flow_file, maps,
    orders::{Order, Reply, What},
    process,
    queue_set::QueueSet,
    queues::Parts,
    second_tier,
    slots::Slots,
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
    /// Its process; none if it cannot be seen from here.
    successor: Option<u32>,
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
            What::TakeBack => match self.take_back().await {
                Ok(()) => (Ok(None), Ok(())),
                Err(error) => (Err(failed(&error)), Err(error)),
            },
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
        let successor = pending.successor;
        let has_gone = successor.is_some_and(|pid| !process::runs(pid));
        if has_gone || pending.since.elapsed() > PATIENCE {
            if let Some(pid) = successor.filter(|_| !has_gone) {
                // It must not come back while this one filters.
                process::kill_engine(pid);
            }
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
        if successor.interface != self.state.interface_names()
            || successor.server_interface != engine.server_interface
        {
            return refused(
                format!("this engine filters {}", self.state.interface_names()),
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
            successor: Some(successor.pid).filter(|pid| process::runs(*pid)),
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
        {
            let mut tables = self.state.tables();
            maps::fill(&mut tables, &self.state.config, &self.protected)?;
        }
        let slots = self.slots.clone();
        self.resume(slots, &pending.stopped).await
    }

    async fn change_queues(&mut self, count: u32) -> (Reply, anyhow::Result<()>) {
        let slots = match Slots::new(vec![count; self.state.interfaces.len()]) {
            Ok(slots) => slots,
            Err(error) => return (Err(failed(&error)), Ok(())),
        };
        let stopped = match self.suspend() {
            Ok(stopped) => stopped,
            Err(refusal) => return (Err(refusal), Ok(())),
        };
        let before = self.slots.clone();
        let refused = match self.set_channels(count).await {
            Ok(changed) => match self.resume(slots, &stopped).await {
                Ok(()) => return (Ok(None), Ok(())),
                Err(error) => {
                    tracing::error!(
                        "not with {count} queues: {error:#}; going back to {}",
                        before.total()
                    );
                    undo_channels(changed).await;
                    failed(&error)
                }
            },
            Err(refusal) => refusal,
        };
        let result = self.resume(before, &stopped).await;
        (Err(refused), result)
    }

    /// Gives all sides so many queues, or none. Returns what they had.
    async fn set_channels(&self, count: u32) -> Result<Vec<(String, u32)>, Refusal> {
        let engine = &self.state.config.engine;
        let filtered = self.state.interfaces.iter().map(|interface| &interface.name);
        let mut changed = Vec::new();
        for side in filtered.chain(&engine.server_interface) {
            let had = Interface::find(side)
                .await
                .map_or(count, |interface| interface.queues);
            let result = set_queues(side, count).await;
            let has = Interface::find(side).await.map(|interface| interface.queues);
            changed.push((side.clone(), had));
            let why = match (result, has) {
                (Ok(()), Ok(has)) if has == count => continue,
                (Ok(()), Ok(has)) => format!("its driver makes that {has}"),
                (Err(error), _) => error,
                (_, Err(error)) => error.to_string(),
            };
            undo_channels(changed).await;
            return Err(Refusal::new(
                RefusalCode::Failed,
                format!("{side} cannot have {count} queues: {why}"),
                format!("`ethtool -l {side}` shows how many it may have"),
            ));
        }
        Ok(changed)
    }

    /// What the configuration says about failures holds again.
    pub(super) fn restore_failure_policy(&self) {
        let mut tables = self.state.tables();
        let on_failure = maps::on_failure(&self.state.config);
        let restored = tables.settings().and_then(|settings| {
            tables.set_settings(&Settings {
                on_failure,
                ..settings
            })
        });
        if let Err(error) = restored {
            tracing::error!("what cannot be inspected may be dropped: {error}");
        }
    }

    /// Stops the threads. Until others run, nothing passes by them: TCP sends it again.
    fn suspend(&mut self) -> Result<Stopped, Refusal> {
        let timeout = Duration::from_millis(u64::from(self.state.config.limits.heartbeat_timeout_ms));
        if let Some(queue) = self.threads.hung(timeout) {
            return Err(Refusal::new(
                RefusalCode::Failed,
                format!("the thread of queue {queue} hangs"),
                "stop the engine, with SIGKILL if need be, and start it again",
            ));
        }
        let settings = {
            let mut tables = self.state.tables();
            let settings = tables.settings().map_err(|error| failed(&error.into()))?;
            let closed = Settings {
                on_failure: Settings::FAIL_DROP,
                ..settings
            };
            tables
                .set_settings(&closed)
                .map_err(|error| failed(&error.into()))?;
            settings
        };
        let Some(records) = self.threads.suspend() else {
            self.restore_failure_policy();
            return Err(Refusal::new(
                RefusalCode::Failed,
                "a queue's thread does not stop",
                "stop the engine, with SIGKILL if need be, and start it again",
            ));
        };
        Ok(Stopped {
            settings,
            records: Arc::new(records),
        })
    }

    /// Starts threads for these queues that go on where those before them have stopped.
    async fn resume(&mut self, slots: Slots, stopped: &Stopped) -> anyhow::Result<()> {
        let state = Arc::clone(&self.state);
        let queues = slots.total();
        self.way.set_queues(&state.interfaces, slots.of_each()).await?;
        let (policies, clients) = {
            let rules = state.rules_state();
            (
                Arc::clone(&rules.in_force.tuned.policies),
                Arc::clone(&rules.clients),
            )
        };
        let redirected_before = state.tables().counters()?.total(Action::Redirect);
        let deep = second_tier::start(&state.config, &policies, queues, &state.chronicle.hub)?;
        let (latency, recorders) = LatencyBook::new(queues as usize);
        {
            let tables = state.tables();
            let parts = Parts {
                config: &state.config,
                interfaces: &state.interfaces,
                slots: &slots,
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
        self.threads.begin()?;
        state.tables().set_settings(&stopped.settings)?;
        self.slots = slots;
        state.replace_queue_set(QueueSet::new(&self.threads, latency, deep, redirected_before));
        Ok(())
    }
}

/// Gives sides back what they had.
async fn undo_channels(changed: Vec<(String, u32)>) {
    for (side, had) in changed {
        if let Err(error) = set_queues(&side, had).await {
            tracing::warn!("{side} does not get its {had} queues back: {error}");
        }
    }
}

fn failed(error: &anyhow::Error) -> Refusal {
    Refusal::new(RefusalCode::Failed, format!("{error:#}"), "see the engine's log")
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
