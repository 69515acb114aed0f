//! The program on the gateway's cable, the rings of its one queue, and the loops that read them.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use filter_common::{Address, Reason, service::Service, service::ServiceKey, settings::Settings};
use filter_score::{Policies, Policy, Scorer};
use filter_user::{
    bpf::{Attachment, Kernel, LoadOptions, Place, Sizes, Tables, XdpMode, monotonic_ns},
    engine::{
        Command, Event, KernelMaps as _, SharedCounters, Worker,
        live::{LiveMaps, SystemClock},
    },
    latency::LatencyBook,
    ring::{CopyMode, Frame, QueueHandle, QueueRings, RingConfig, SharedQueues},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use xtask::lab::{Lab, Options, address, frame::Mac, mounts::BPFFS, packet_socket};

use super::sender::{Sender, Way};
use crate::{cpu, scale::traffic, score};

/// Frames of the UMEM: what an engine has without a configuration of its own.
const FRAMES: u32 = 4096;
const FRAME_SIZE: u32 = 2048;
/// Flows that the loop has room for.
const ROOM: u32 = 65_536;

/// What is done with the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    /// They are given back.
    Receive,
    /// They are forwarded.
    Forward,
    /// They are forwarded by the engine's loop, which scores the requests in them.
    Engine,
}

impl Loop {
    pub(super) const ALL: [Self; 3] = [Self::Receive, Self::Forward, Self::Engine];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Receive => "bare loop, received",
            Self::Forward => "bare loop, forwarded",
            Self::Engine => "engine",
        }
    }
}

/// Packets a second.
pub(super) struct Flow {
    pub(super) received: f64,
    pub(super) forwarded: f64,
    /// Received, with the time of sender and XDP program as well.
    pub(super) whole: f64,
}

/// Everything that the loops share.
pub(super) struct Site {
    worker: Worker<QueueRings, LiveMaps, SystemClock>,
    batch: Vec<Frame>,
    queue: QueueHandle,
    tables: Tables,
    way: Arc<Way>,
    rounds: u16,
    /// Frames that the bare loops took.
    taken: u64,
    _events: mpsc::Receiver<Event>,
    _commands: mpsc::SyncSender<Command>,
}

impl Site {
    /// Makes it, in a lab of its own, and lets `work` use it.
    pub(super) fn with(
        mode: XdpMode,
        memory: usize,
        work: impl FnOnce(&mut Self) -> Result<()> + Send,
    ) -> Result<()> {
        let lab = Lab::start(&Options::default())?;
        let gateway = lab.gateway();
        // What is forwarded ends behind this cable: it is for another address, and nobody has one there.
        gateway.ip("link add forward type veth peer name drain\nlink set forward up arp off\nlink set drain up arp off\n")?;
        let socket = packet_socket::sender(lab.client(), "eth0")?;
        let macs = (lab.client().mac("eth0")?, gateway.mac("outside")?);
        gateway.enter(move || {
            let options = LoadOptions {
                shared: false,
                pin_dir: PathBuf::from(BPFFS).join("portcullis"),
                sizes: Sizes {
                    flows: ROOM,
                    sources: 1024,
                    blocks: 1024,
                    prefixes: 1024,
                    services: 64,
                },
                log_level: 0,
            };
            let mut kernel = Kernel::load(&options).context("loading the program")?;
            let attachment = Attachment::new(&mut kernel, Place::Host("outside"), &[mode])
                .context("attaching the program")?;
            let mut site = Self::new(&kernel, memory, socket, macs)?;
            pin()?;
            let result = work(&mut site);
            attachment.detach().context("detaching the program")?;
            result
        })?
    }

    fn new(kernel: &Kernel, memory: usize, socket: OwnedFd, macs: (Mac, Mac)) -> Result<Self> {
        let mut tables = Tables::open(kernel.pin_dir()).context("opening the maps")?;
        let server = Address::v4(address::SERVER_V4.octets());
        let service = Service {
            inspect: Service::INSPECT_ALL,
            index: 0,
        };
        tables.set_services(&[(ServiceKey::new(server, address::NGINX_PORT), service)])?;
        tables.set_settings(&Settings {
            generation: 1,
            on_failure: Settings::FAIL_DROP,
            heartbeat_timeout_ns: 1_000_000_000,
            credits: FRAMES / 2,
            sample_mask: u32::MAX,
            source_mask: Address::v6([0xff; 16]).masked_v6(64),
            ..Settings::default()
        })?;
        let shared = SharedQueues::map(tables.queues()?.fd().as_fd()).context("mapping the queue states")?;
        let rings = QueueRings::bind(&RingConfig {
            interface: "outside".to_owned(),
            queue: 0,
            output: "forward".to_owned(),
            output_queue: 0,
            frames: FRAMES,
            frame_size: FRAME_SIZE,
            mode: CopyMode::Copy,
            multi_buffer: false,
            busy_budget: 0,
        })?;
        let queue = shared.queue(0);
        let live = LiveMaps::new(Tables::open(kernel.pin_dir())?, queue.clone());
        let mut sockets = tables.sockets()?;
        sockets
            .set(0, rings.socket_fd(), 0)
            .context("entering the socket into the map")?;
        let policies = Policies::single(score::compile(&[])?, Policy::default());
        let scorer = Scorer::with_policies(Arc::new(policies), 1024).with_cache(memory, &[7; 16]);
        let (events, receiver) = mpsc::sync_channel(1024);
        let (commands, commands_out) = mpsc::sync_channel(16);
        let recorder = LatencyBook::new(1)
            .1
            .pop()
            .ok_or_else(|| anyhow!("no recorder"))?;
        let worker = Worker::new(
            traffic::config(ROOM),
            rings,
            live,
            SystemClock,
            scorer,
            Arc::new(SharedCounters::default()),
            recorder,
            events,
            commands_out,
        );
        queue.set_heartbeat(monotonic_ns());
        Ok(Self {
            worker,
            batch: Vec::with_capacity(64),
            tables,
            way: Arc::new(Way {
                socket,
                macs,
                queue: queue.clone(),
            }),
            queue,
            rounds: 0,
            taken: 0,
            _events: receiver,
            _commands: commands,
        })
    }

    /// Fills the ring and lets one of the loops empty it, over and over for so long. Only the time that the loop takes counts.
    pub(super) fn round(&mut self, which: Loop, length: Duration) -> Result<Flow> {
        self.rounds += 1;
        let way = Arc::clone(&self.way);
        let mut sender = Sender::new(&way, self.rounds);
        self.queue.set_heartbeat(monotonic_ns());
        sender.open()?;
        self.empty(which)?;
        let (received, sunk, end) = (self.received(which), sunk()?, Instant::now() + length);
        let (mut took, mut filling) = (Duration::ZERO, Duration::ZERO);
        while Instant::now() < end {
            self.queue.set_heartbeat(monotonic_ns());
            let begin = cpu::of_this_thread_exactly()?;
            sender.fill(&mut self.tables)?;
            let start = cpu::of_this_thread_exactly()?;
            self.empty(which)?;
            filling += start.saturating_sub(begin);
            took += cpu::of_this_thread_exactly()?.saturating_sub(start);
        }
        let received = self.received(which) - received;
        let forwarded = self::sunk()? - sunk;
        sender.close()?;
        self.empty(which)?;
        self.check()?;
        let expected = if which == Loop::Receive { 0 } else { received };
        ensure!(
            forwarded == expected,
            "{forwarded} of {expected} packets came out at the other side"
        );
        #[expect(clippy::cast_precision_loss, reason = "packets of a second")]
        let rate = |packets: u64, time: Duration| packets as f64 / time.as_secs_f64();
        Ok(Flow {
            received: rate(received, took),
            forwarded: rate(forwarded, took),
            whole: rate(received, took + filling),
        })
    }

    /// Until nothing is left in the ring.
    fn empty(&mut self, which: Loop) -> Result<()> {
        while self.queue.redirected() > self.queue.consumed() {
            self.turn(which)?;
        }
        Ok(())
    }

    fn turn(&mut self, which: Loop) -> Result<()> {
        if which == Loop::Engine {
            self.worker.turn().context("the engine's loop")?;
            return Ok(());
        }
        let rings = self.worker.rings_mut();
        let count = rings.receive(&mut self.batch) as u64;
        for frame in self.batch.drain(..) {
            if which == Loop::Forward {
                rings.forward(frame);
            } else {
                rings.release(frame);
            }
        }
        rings.flush().context("flushing the rings")?;
        let maps = self.worker.maps_mut();
        if count > 0 {
            maps.consumed(count);
            self.taken += count;
        }
        Ok(())
    }

    fn received(&mut self, which: Loop) -> u64 {
        match which {
            Loop::Engine => self.worker.counters().received,
            Loop::Receive | Loop::Forward => self.taken,
        }
    }

    /// A rate with losses, or with requests that were not scored, would mean nothing.
    fn check(&mut self) -> Result<()> {
        let counters = self.tables.counters()?;
        for reason in [Reason::RingFullDrop, Reason::HangDrop, Reason::CrashDrop] {
            let count = counters.get(reason);
            ensure!(count == 0, "{count} packets: {}", reason.name());
        }
        let lost = self.worker.rings_mut().lost();
        ensure!(lost == 0, "the rings lost {lost} packets");
        let counters = self.worker.counters();
        ensure!(
            counters.received == counters.forwarded,
            "the engine forwarded {} of {} packets; {:?}",
            counters.forwarded,
            counters.received,
            counters.dropped
        );
        let unscored: u64 = counters.unscored.iter().sum();
        ensure!(unscored == 0, "{unscored} packets passed unscored");
        let [allowed, others @ ..] = counters.requests;
        ensure!(
            counters.received == 0 || allowed > 0 && others == [0; 2],
            "requests by verdict: {:?}",
            counters.requests
        );
        Ok(())
    }
}

/// Packets that came out at the other side.
fn sunk() -> Result<u64> {
    // Of the thread, which is the one that has entered the namespace.
    let text = fs::read_to_string("/proc/thread-self/net/dev").context("reading the interfaces' counters")?;
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("drain:"));
    let packets = line.and_then(|line| line.split_whitespace().nth(1));
    packets
        .context("no such interface")?
        .parse()
        .context("a number of packets")
}

/// Keeps this thread on one CPU.
fn pin() -> Result<()> {
    let mut set = CpuSet::new();
    set.set(0).context("naming a CPU")?;
    sched_setaffinity(Pid::from_raw(0), &set).context("staying on a CPU")
}
