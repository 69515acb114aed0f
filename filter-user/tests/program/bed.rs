//! The loaded programs with their maps, and a way to run one packet.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use filter_common::{
    Action, Address, Counters, FlowKey, FlowState, MAX_QUEUES, Reason,
    challenge::ChallengeState,
    flood::Totals,
    metadata::Metadata,
    program,
    service::{Service, ServiceKey},
    settings::Settings,
};
use filter_user::{
    bpf::{Kernel, LoadOptions, Prefix, Sizes, Sweeper, Tables, monotonic_ns},
    ring::{QueueHandle, SharedQueues},
};
use nix::unistd::Uid;
use socket2::{Domain, Socket, Type};
use xtask::lab::mounts::{BPFFS, ensure_bpffs};

const AF_XDP: i32 = 44;
/// The queue that the kernel's test runs come from.
const QUEUE: u32 = 0;
/// A heartbeat of an engine that never gets old.
const FOR_EVER: u64 = u64::MAX / 2;

/// Sizes of the maps where they do not matter.
const SIZES: Sizes = Sizes {
    flows: 4096,
    sources: 1024,
    blocks: 1024,
    prefixes: 1024,
    services: 64,
};

/// An action's number in the kernel (`enum xdp_action`).
const fn xdp_action(action: Action) -> u32 {
    match action {
        Action::Drop => 1,
        Action::Pass => 2,
        Action::Answer => 3,
        Action::Redirect => 4,
    }
}

pub(crate) struct Bed {
    kernel: Kernel,
    pub(crate) tables: Tables,
    pub(crate) settings: Settings,
    pub(crate) queue: QueueHandle,
    queues: Arc<SharedQueues>,
    socket: Option<Socket>,
    _pins: Pins,
}

/// Removes the pins, whatever happens.
struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

impl Bed {
    /// Configured, without services, lists and engine; `None`, loudly, where programs cannot be loaded.
    pub(crate) fn new() -> Option<Self> {
        Self::sized(SIZES)
    }

    /// As right after loading.
    pub(crate) fn unconfigured() -> Option<Self> {
        Self::load(SIZES)
    }

    /// As [`Bed::new`], with maps of these sizes.
    pub(crate) fn sized(sizes: Sizes) -> Option<Self> {
        let mut bed = Self::load(sizes)?;
        bed.configure(|_| {});
        Some(bed)
    }

    fn load(sizes: Sizes) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !Uid::effective().is_root() {
            eprintln!("SKIPPED: loading eBPF programs needs root");
            return None;
        }
        ensure_bpffs().expect("root may mount a BPF file system");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pins = Pins(Path::new(BPFFS).join(format!("portcullis-test-{}-{number}", std::process::id())));
        let options = LoadOptions {
            shared: false,
            pin_dir: pins.0.clone(),
            sizes,
            log_level: 0,
        };
        let kernel =
            Kernel::load(&options).unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
        let tables = Tables::open(&pins.0).expect("the loader has pinned every map");
        let queues = tables.queues().expect("the queue states are pinned");
        let queues: Arc<SharedQueues> =
            SharedQueues::map(queues.fd().as_fd()).expect("the queue states can be mapped");
        Some(Self {
            kernel,
            tables,
            settings: defaults(),
            queue: queues.queue(QUEUE),
            queues,
            socket: None,
            _pins: pins,
        })
    }

    /// As [`Bed::new`], without loading anew.
    pub(crate) fn reset(&mut self) {
        let tables = &mut self.tables;
        for key in tables.flows.keys().flatten().collect::<Vec<_>>() {
            tables.flows.remove(&key).expect("it is there");
        }
        for key in tables.sources.keys().flatten().collect::<Vec<_>>() {
            tables.sources.remove(&key).expect("it is there");
        }
        for key in tables.rates.keys().flatten().collect::<Vec<_>>() {
            tables.rates.remove(&key).expect("it is there");
        }
        for key in tables.proven.keys().flatten().collect::<Vec<_>>() {
            tables.proven.remove(&key).expect("it is there");
        }
        tables
            .challenge
            .set(0, ChallengeState::default(), 0)
            .expect("the state is one entry");
        tables
            .totals
            .set(0, Totals::default(), 0)
            .expect("the totals are one entry");
        for key in tables.source_blocks.keys().flatten().collect::<Vec<_>>() {
            tables.source_blocks.remove(&key).expect("it is there");
        }
        for (prefix, _) in tables.blocked().collect::<Vec<_>>() {
            tables.unblock(prefix).expect("it is there");
        }
        for prefix in tables.allowed() {
            tables.disallow(prefix).expect("it is there");
        }
        for prefix in tables.watched() {
            tables.unwatch(prefix).expect("it is there");
        }
        tables.set_services(&[]).expect("services can be removed");
        self.kill_engine();
        self.configure(|settings| *settings = defaults());
    }

    /// Removes blocks that have ended; how many those were, and how many single sources are left.
    pub(crate) fn sweep(&mut self) -> (usize, Option<u64>) {
        let sweeper = Sweeper::open(self.tables.pin_dir()).expect("the maps are pinned");
        let mut removed = 0;
        let end = |target| {
            let is_gone = self
                .tables
                .end_if_over(target, monotonic_ns())
                .expect("blocks can be removed");
            removed += usize::from(is_gone);
            is_gone
        };
        let left = sweeper.pass(end, || true);
        (removed, left)
    }

    /// Changes the settings and puts them in force.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.tables
            .set_settings(&self.settings)
            .expect("the settings have one entry");
    }

    /// Puts a socket into the map and lets a heart beat. The socket is not bound: a test run ends before it would
    /// be looked at.
    pub(crate) fn start_engine(&mut self) {
        self.start_engine_on(QUEUE);
    }

    /// The same as if this were the number of the queue that test runs come from.
    pub(crate) fn start_engine_on(&mut self, queue: u32) {
        let socket = Socket::new(Domain::from(AF_XDP), Type::RAW, None).expect("the kernel has AF_XDP");
        let mut sockets = self.tables.sockets().expect("the socket map is pinned");
        sockets
            .set(queue, socket.as_raw_fd(), 0)
            .expect("the map takes AF_XDP sockets");
        assert_eq!(sockets.len(), MAX_QUEUES);
        self.socket = Some(socket);
        self.queue = self.queues.queue(queue);
        self.queue.set_heartbeat(FOR_EVER);
    }

    /// As when the engine is killed: the kernel takes its socket out of the map, the heartbeat stays.
    pub(crate) fn kill_engine(&mut self) {
        self.socket = None;
    }

    pub(crate) fn serve(&mut self, address: impl Into<Option<std::net::IpAddr>>, port: u16, inspect: u32) {
        let address = address.into().map_or(Address::default(), Address::from);
        let service = Service { inspect, index: 0 };
        self.tables
            .serve(&[(ServiceKey::new(address, port), service)])
            .expect("there is room for the service");
    }

    /// Enters a flow, as one to a service.
    pub(crate) fn know(&mut self, flow: FlowKey, state: FlowState) {
        let note = self.tables.note_flows(flow.destination_port);
        note.expect("the ports are one entry");
        let enter = self.tables.flows.insert(flow, state, 0);
        enter.expect("there is room for the flow");
    }

    /// Runs one received packet. Exactly one counter must move, by one, and the action must be its own.
    pub(crate) fn receive(&mut self, packet: &[u8]) -> Reason {
        self.receive_with_metadata(packet).0
    }

    /// As [`Bed::receive`], with the metadata that the program put in front of the packet.
    pub(crate) fn receive_with_metadata(&mut self, packet: &[u8]) -> (Reason, Option<Metadata>) {
        let (reason, action, out) = self.run(packet);
        assert_eq!(
            action,
            xdp_action(reason.action()),
            "{} is counted, but it is not what was done",
            reason.name()
        );
        // What comes out begins with the metadata, if there is any.
        let (metadata, data) = out.split_at(out.len() - packet.len());
        assert_eq!(data, packet, "the program changes no packet");
        let metadata = metadata
            .first_chunk()
            .map(|bytes| Metadata::from_bytes(bytes).expect("metadata carry the magic"));
        (reason, metadata)
    }

    /// Runs one received packet that is answered, and returns the answer.
    pub(crate) fn answer(&mut self, packet: &[u8]) -> (Reason, Vec<u8>) {
        let (reason, action, out) = self.run(packet);
        assert_eq!(action, xdp_action(Action::Answer));
        assert_eq!(reason.action(), Action::Answer, "{}", reason.name());
        (reason, out)
    }

    /// Runs one packet that a bridge received from the clients' side, and returns what was done with it.
    pub(crate) fn cross(&mut self, packet: &[u8]) -> (Reason, u32) {
        let (reason, action, _) = self.run(packet);
        (reason, action)
    }

    /// Runs one received packet, whatever becomes of it.
    fn run(&mut self, packet: &[u8]) -> (Reason, u32, Vec<u8>) {
        let before = self.counters();
        let mut out = vec![0; packet.len() + Metadata::SIZE];
        let result = self
            .xdp()
            .test_run(TestRunOptions {
                data_in: Some(packet),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("{} bytes: {error:?}", packet.len()));
        let reason = self.moved(&before);
        out.truncate(result.data_size_out as usize);
        (reason, result.return_value, out)
    }

    pub(crate) fn xdp(&self) -> &Xdp {
        self.kernel.xdp().expect("the object has the program")
    }

    /// Runs one packet on its way out.
    pub(crate) fn send(&mut self, packet: &[u8]) {
        const TCX_NEXT: u32 = u32::MAX;
        let program = self.kernel.ebpf_mut().program(program::EGRESS);
        let program: &SchedClassifier = program
            .and_then(|program| program.try_into().ok())
            .expect("the object has the program");
        let mut out = [0; 4096];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(packet),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("{} bytes: {error:?}", packet.len()));
        assert_eq!(result.return_value, TCX_NEXT, "the observer decides nothing");
        assert_eq!(
            &out[..result.data_size_out as usize],
            packet,
            "the observer changes nothing"
        );
    }

    /// Runs one packet that a bridge received from the servers' side.
    pub(crate) fn bring_back(&mut self, packet: &[u8]) -> (Reason, u32) {
        let before = self.counters();
        let program = self.kernel.ebpf_mut().program(program::BACK);
        let program: &Xdp = program
            .and_then(|program| program.try_into().ok())
            .expect("the object has the program");
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(packet),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("{} bytes: {error:?}", packet.len()));
        (self.moved(&before), result.return_value)
    }

    /// The same in generic mode, from the ingress hook.
    pub(crate) fn bring_back_from_ingress(&mut self, packet: &[u8]) -> (Reason, u32) {
        let before = self.counters();
        let program = self.kernel.ebpf_mut().program(program::BACK_INGRESS);
        let program: &SchedClassifier = program
            .and_then(|program| program.try_into().ok())
            .expect("the object has the program");
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(packet),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("{} bytes: {error:?}", packet.len()));
        (self.moved(&before), result.return_value)
    }

    /// Size and verified instructions of all programs.
    pub(crate) fn program_sizes(&mut self) -> Vec<(&'static str, Option<u32>, Option<u32>)> {
        [
            program::XDP,
            program::EGRESS,
            program::BACK,
            program::BACK_INGRESS,
        ]
        .map(|name| {
            let program = self
                .kernel
                .ebpf_mut()
                .program(name)
                .expect("all programs are there");
            let info = program.info().expect("a loaded program has information");
            (name, info.size_translated(), info.verified_instruction_count())
        })
        .to_vec()
    }

    fn counters(&self) -> Counters {
        self.tables.counters().expect("the counters are one entry")
    }

    fn moved(&self, before: &Counters) -> Reason {
        let after = self.counters();
        let moved: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| after.get(**reason) != before.get(**reason))
            .collect();
        let [reason] = moved[..] else {
            panic!("not exactly one counter moved: {moved:?}")
        };
        assert_eq!(after.get(*reason), before.get(*reason) + 1);
        *reason
    }
}

fn defaults() -> Settings {
    let source_mask = Address::v6([0xff; 16]).masked_v6(64);
    Settings {
        generation: 1,
        on_failure: Settings::FAIL_DROP,
        heartbeat_timeout_ns: 1_000_000_000,
        credits: u32::MAX,
        sample_mask: u32::MAX,
        source_mask,
        ..Settings::default()
    }
}

pub(crate) fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("a prefix has a length");
    Prefix {
        address: address.parse().expect("a prefix has an address"),
        length: length.parse().expect("a prefix length is a number"),
    }
}
