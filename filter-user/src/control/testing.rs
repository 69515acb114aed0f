//! An engine of plain tables, and a server in front of it.

use std::{
    collections::BTreeMap,
    io::BufReader,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use tokio::sync::oneshot;

use super::*;
use crate::{
    alert::Alerts,
    config::{self, Change, Config, FailurePolicy, FeedAction, Forward, Level, Mode, XdpMode, parse_cidr},
    latency::{Latencies, LatencyBook, Stage},
    live::{Chronicle, Hub},
};

pub(crate) fn net(text: &str) -> IpNet {
    parse_cidr(text).expect("a block")
}

pub(crate) struct Tables {
    blocks: Mutex<BTreeMap<IpNet, BlockEntry>>,
    allowed: Mutex<Vec<IpNet>>,
    trial: Mutex<Option<Duration>>,
    exclusions: Mutex<Vec<ExclusionEntry>>,
    book: LatencyBook,
    pub(crate) chronicle: Chronicle,
}

impl Tables {
    pub(crate) fn new() -> Self {
        let (book, mut recorders) = LatencyBook::new(1);
        recorders[0].record(Stage::DriverToForwarded, 5_000);
        Self {
            blocks: Mutex::default(),
            allowed: Mutex::default(),
            trial: Mutex::default(),
            exclusions: Mutex::default(),
            book,
            chronicle: Chronicle {
                hub: Arc::new(Hub::new(64)),
                trend: Arc::default(),
                alerts: Arc::new(Alerts::new(&config::Alerts::default())),
                board: Arc::default(),
            },
        }
    }
}

fn trial_s(trial: &Mutex<Option<Duration>>) -> Option<u64> {
    trial.lock().unwrap().map(|trial| trial.as_secs())
}

fn not_found() -> Refusal {
    Refusal::new(RefusalCode::NotFound, "there is no such entry", "list them")
}

impl Engine for Tables {
    fn status(&self) -> Status {
        Status {
            version: "1.2.3".into(),
            pid: 7,
            uptime_s: 1.5,
            interface: "eth0".into(),
            interfaces: Vec::new(),
            xdp_mode: XdpMode::Native,
            forward: Forward::Host,
            mode: Mode::Block,
            on_failure: FailurePolicy::Drop,
            rules: RulesStatus::default(),
            reload_on_trial_s: trial_s(&self.trial),
            xdp: vec![PacketCounter {
                action: "drop".into(),
                reason: "source_blocked".into(),
                packets: 3,
            }],
            redirected: 0,
            queues: vec![QueueStatus {
                received: u64::MAX,
                ..QueueStatus::default()
            }],
            requests: RequestCounters {
                allow: 2,
                block: 1,
                ..RequestCounters::default()
            },
            clients: BTreeMap::new(),
            deep: None,
            baseline: Some(BaselineStatus {
                parameters: Fill::new(3, 1024),
                mature: 2,
            }),
            flows: Fill::new(1, 10),
            sources: Fill::default(),
            blocks: Fill::default(),
            held_bytes: Fill::default(),
            events: EventsStatus::default(),
            feeds: self.feeds(),
            jobs: self.chronicle().board.jobs(),
            warnings: vec!["look".into()],
        }
    }

    /// Those of the configuration's defaults.
    fn policies(&self) -> Arc<filter_score::Policies> {
        static POLICIES: std::sync::OnceLock<Arc<filter_score::Policies>> = std::sync::OnceLock::new();
        Arc::clone(POLICIES.get_or_init(|| {
            let config = crate::config::Config::default();
            let origin = crate::config::Origin::read(None, &[]).expect("the defaults");
            let tuned = crate::tuning::Tuned::load(&config, &origin, &[], None).expect("they are right");
            tuned.policies
        }))
    }

    fn block(&self, target: IpNet, for_s: Option<u64>, reason: &str) -> Result<(), Refusal> {
        let entry = BlockEntry {
            target,
            origin: BlockOrigin::Operator,
            remaining_s: for_s,
            packets: 0,
            reason: reason.to_owned(),
        };
        self.blocks.lock().unwrap().insert(target, entry);
        Ok(())
    }

    /// A table for four.
    fn block_all(&self, targets: &[IpNet], for_s: Option<u64>, reason: &str) -> Blocked {
        let mut blocked = Blocked::default();
        for (at, target) in targets.iter().enumerate() {
            if self.blocks.lock().unwrap().len() == 4 {
                let refusal = Refusal::new(RefusalCode::Full, "the map is full", "raise limits.max_blocks");
                blocked.refused.push(RefusedTarget { at, refusal });
                break;
            }
            self.block(*target, for_s, reason).unwrap();
            blocked.blocked += 1;
        }
        blocked
    }

    fn unblock(&self, target: IpNet) -> Result<(), Refusal> {
        self.blocks
            .lock()
            .unwrap()
            .remove(&target)
            .map(drop)
            .ok_or_else(not_found)
    }

    fn allow(&self, target: IpNet) -> Result<(), Refusal> {
        self.allowed.lock().unwrap().push(target);
        Ok(())
    }

    fn disallow(&self, target: IpNet) -> Result<(), Refusal> {
        let mut allowed = self.allowed.lock().unwrap();
        let at = allowed
            .iter()
            .position(|entry| *entry == target)
            .ok_or_else(not_found)?;
        allowed.remove(at);
        Ok(())
    }

    fn blocks(&self, page: Page) -> Result<Vec<BlockEntry>, Refusal> {
        Ok(
            page.of(self.blocks.lock().unwrap().values().cloned().collect(), |entry| {
                entry.target
            }),
        )
    }

    fn allowed(&self, page: Page) -> Result<Vec<IpNet>, Refusal> {
        Ok(page.of(self.allowed.lock().unwrap().clone(), |target| *target))
    }

    fn exclusions(&self) -> Vec<ExclusionEntry> {
        self.exclusions.lock().unwrap().clone()
    }

    fn exclude(&self, wanted: NewExclusion) -> Result<ExclusionEntry, Refusal> {
        let mut exclusions = self.exclusions.lock().unwrap();
        if exclusions.len() == 4 {
            return Err(Refusal::new(RefusalCode::Full, "there are four", "end one"));
        }
        let entry = ExclusionEntry {
            id: exclusions.last().map_or(1, |last| last.id + 1),
            rules: wanted.rules,
            path: wanted.path,
            target: wanted.target,
            remaining_s: wanted.for_s,
            reason: wanted.reason,
        };
        exclusions.push(entry.clone());
        Ok(entry)
    }

    fn end_exclusion(&self, id: u64) -> Result<(), Refusal> {
        let mut exclusions = self.exclusions.lock().unwrap();
        let at = exclusions.iter().position(|entry| entry.id == id);
        exclusions.remove(at.ok_or_else(not_found)?);
        Ok(())
    }

    fn chronicle(&self) -> Chronicle {
        self.chronicle.clone()
    }

    fn risks(&self, limit: usize) -> Vec<SourceRisk> {
        let risk = |n: u32| SourceRisk {
            source: net(&format!("192.0.2.{n}")),
            points: f64::from(10 - n),
            threshold: 10.0,
            strikes: 0,
            blocked: n == 1,
        };
        (1..4).map(risk).take(limit).collect()
    }

    fn latencies(&self, reset: bool) -> Latencies {
        self.book.snapshot(reset)
    }

    /// Wrong rules, unless they are tried.
    fn reload(&self, trial: Option<Duration>) -> Result<Reloaded, Refusal> {
        let mut on_trial = self.trial.lock().unwrap();
        if on_trial.is_some() {
            return Err(Refusal::new(
                RefusalCode::OnTrial,
                "the reload before is on trial",
                "confirm it",
            ));
        }
        *on_trial = Some(trial.ok_or_else(|| {
            Refusal::new(
                RefusalCode::Invalid,
                "rules/x.toml:3: no such target",
                "see the list of targets",
            )
        })?);
        Ok(Reloaded {
            message: "7 rules in force".to_owned(),
            ..self.preview_reload()?
        })
    }

    fn preview_reload(&self) -> Result<Reloaded, Refusal> {
        let change = |key: &str| Change {
            key: key.to_owned(),
            before: Some("5".to_owned()),
            after: None,
        };
        Ok(Reloaded {
            message: "7 rules are right".to_owned(),
            applied: vec![change("scoring.anomaly")],
            needs_restart: vec![change("limits.max_flows")],
        })
    }

    fn config(&self) -> Config {
        Config::default()
    }

    fn feeds(&self) -> Vec<FeedStatus> {
        vec![FeedStatus {
            entries: 9,
            last_success_s: Some(1_700_000_000),
            error: Some("the server answered 404 Not Found".to_owned()),
            ..FeedStatus::new("drop", "https://a.example/drop".to_owned(), FeedAction::Block)
        }]
    }

    fn refresh_feeds(&self, name: Option<&str>) -> Result<u64, Refusal> {
        match name {
            None | Some("drop") => Ok(1),
            Some(_) => Err(not_found()),
        }
    }

    fn confirm(&self) -> Result<String, Refusal> {
        self.trial.lock().unwrap().take().ok_or_else(not_found)?;
        Ok("confirmed".to_owned())
    }

    fn revert(&self) -> Result<String, Refusal> {
        self.trial.lock().unwrap().take().ok_or_else(not_found)?;
        Ok("taken back".to_owned())
    }

    fn hand_over(&self, successor: &Successor) -> Result<HandedOver, Refusal> {
        Ok(HandedOver {
            records: format!("/run/portcullis/{}.flows", successor.pid).into(),
            flows: 3,
        })
    }

    fn take_back(&self) -> Result<(), Refusal> {
        Err(not_found())
    }

    fn retire(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn set_queues(&self, count: u32) -> Result<(), Refusal> {
        if count > 8 {
            return Err(Refusal::new(
                RefusalCode::Failed,
                "eth0 has at most 8 queues",
                "name fewer",
            ));
        }
        Ok(())
    }

    fn set_log_level(&self, _: Option<Level>, _: Option<Level>) -> Result<(), Refusal> {
        panic!("an engine with a mistake in it")
    }
}

/// A served engine; it stops when dropped.
pub(crate) struct Served {
    pub(crate) path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Served {
    pub(crate) fn start(limits: ServerLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let socket = ControlSocket::bind(&path).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let protected = Arc::new(Protected::configured(&[net("192.0.2.1")]));
                tokio::select! {
                    served = serve(&socket, Arc::new(Tables::new()), protected, limits) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            path,
            stop: Some(stop),
            thread: Some(thread),
            _dir: dir,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.path).unwrap()
    }

    /// A connection for what no [`Client`] would say.
    pub(crate) fn raw(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        BufReader::new(stream)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || thread::panicking(), "the server failed");
        }
    }
}
