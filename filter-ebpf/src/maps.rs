//! The maps. Sizes are small defaults; userspace sets the real ones from the configuration at load.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, DevMap, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, XskMap},
    macros::btf_map,
};
use filter_common::{
    Address, Counters, FlowKey, FlowState, MAX_INTERFACES, MAX_QUEUES,
    block::Block,
    bridge,
    challenge::{ChallengeState, Proof},
    event::DropEvent,
    flood::{Leases, SourceRates, Totals},
    lists::{Known, Lists},
    ports::Ports,
    queue::{InterfaceQueues, QueueState},
    service::{Service, ServiceKey},
    settings::Settings,
    source::Source,
};

const DEFAULT_ENTRIES: usize = 1024;
/// The kernel wants whole pages, a power of two.
const EVENT_BYTES: usize = 1 << 18;
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
const SPARSE: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
pub(crate) static ALLOW_V4: LpmTrie<[u8; 4], u32, DEFAULT_ENTRIES> = LpmTrie::new();
#[btf_map]
pub(crate) static ALLOW_V6: LpmTrie<[u8; 16], u32, DEFAULT_ENTRIES> = LpmTrie::new();
#[btf_map]
pub(crate) static BLOCK_V4: LpmTrie<[u8; 4], Block, DEFAULT_ENTRIES> = LpmTrie::new();
#[btf_map]
pub(crate) static BLOCK_V6: LpmTrie<[u8; 16], Block, DEFAULT_ENTRIES> = LpmTrie::new();
#[btf_map]
pub(crate) static WATCH_V4: LpmTrie<[u8; 4], u32, DEFAULT_ENTRIES> = LpmTrie::new();
#[btf_map]
pub(crate) static WATCH_V6: LpmTrie<[u8; 16], u32, DEFAULT_ENTRIES> = LpmTrie::new();
#[btf_map]
pub(crate) static LISTS: Array<Lists, 1> = Array::new();
#[btf_map]
pub(crate) static KNOWN: PerCpuArray<Known, { Known::PLACES as usize }> = PerCpuArray::new();
#[btf_map]
pub(crate) static SOURCE_BLOCKS: HashMap<Address, Block, DEFAULT_ENTRIES> = HashMap::new();
#[btf_map]
pub(crate) static SOURCES: LruHashMap<Address, Source, DEFAULT_ENTRIES> = LruHashMap::new();
#[btf_map]
pub(crate) static FLOWS: LruHashMap<FlowKey, FlowState, DEFAULT_ENTRIES> = LruHashMap::new();
#[btf_map]
pub(crate) static SERVICES: HashMap<ServiceKey, Service, DEFAULT_ENTRIES, SPARSE> = HashMap::new();
#[btf_map]
pub(crate) static PORTS: Array<Ports, 1> = Array::new();
#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();
#[btf_map]
pub(crate) static QUEUES: Array<QueueState, { MAX_QUEUES as usize }, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static RATES: LruHashMap<Address, SourceRates, DEFAULT_ENTRIES> = LruHashMap::new();
#[btf_map]
pub(crate) static TOTALS: Array<Totals, 1> = Array::new();
#[btf_map]
pub(crate) static LEASES: PerCpuArray<Leases, 1> = PerCpuArray::new();
#[btf_map]
pub(crate) static CHALLENGE: Array<ChallengeState, 1> = Array::new();
#[btf_map]
pub(crate) static PROVEN: LruHashMap<Address, Proof, DEFAULT_ENTRIES> = LruHashMap::new();
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();
#[btf_map]
pub(crate) static EVENTS: RingBuf<DropEvent, EVENT_BYTES> = RingBuf::new();
#[btf_map]
pub(crate) static SOCKETS: XskMap<{ MAX_QUEUES as usize }> = XskMap::new();
#[btf_map]
pub(crate) static BRIDGE: DevMap<{ bridge::SIDES as usize }> = DevMap::new();
#[btf_map]
pub(crate) static INTERFACES: HashMap<u32, InterfaceQueues, { MAX_INTERFACES as usize }> = HashMap::new();
