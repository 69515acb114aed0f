//! Typed access to the pinned maps.

use std::{
    collections::{self, HashSet},
    io::ErrorKind,
    net::IpAddr,
    path::{Path, PathBuf},
};

use aya::maps::{
    Array, DevMap, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, RingBuf, XskMap, lpm_trie::Key,
    xdp::XdpMapError,
};
use filter_common::{
    Address, Counters, FlowKey, FlowState,
    block::Block,
    bridge,
    challenge::{ChallengeState, Proof},
    flood::{SourceRates, Totals},
    lists::Lists,
    map,
    ports::Ports,
    queue::InterfaceQueues,
    service::{Service, ServiceKey},
    settings::Settings,
    source::Source,
};
use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};

/// Values of entries of the allow list: whose they are. To the XDP program all are alike.
const ALLOWED_BY_CONFIGURATION: u32 = 1;
const ALLOWED_BY_OPERATOR: u32 = 2;
/// An update that makes a new entry or none (`BPF_NOEXIST`).
const NO_EXIST: u64 = 1;

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the maps.
///
/// # Panics
///
/// If the system has no monotonic clock.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has CLOCK_MONOTONIC");
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
}

/// Why a map could not be used.
#[derive(Debug, thiserror::Error)]
#[error("map {name}: {source}")]
pub struct TableError {
    /// Name of the map, or its path.
    pub name: String,
    /// What went wrong.
    pub source: MapError,
}

impl TableError {
    /// Whether the entry, or the map, does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match &self.source {
            MapError::KeyNotFound => true,
            MapError::SyscallError(error) => error.io_error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether the map has no room for another entry.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match &self.source {
            // A hash says the one, a trie the other.
            MapError::SyscallError(error) => {
                matches!(error.io_error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC))
            }
            _ => false,
        }
    }
}

fn failed(name: &str) -> impl FnOnce(MapError) -> TableError {
    move |source| TableError {
        name: name.to_owned(),
        source,
    }
}

/// A CIDR prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Network address.
    pub address: IpAddr,
    /// Bits that count.
    pub length: u8,
}

impl From<Prefix> for IpNet {
    fn from(prefix: Prefix) -> Self {
        Self::new_assert(prefix.address, prefix.length)
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// What a block is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A single source.
    Source(Address),
    /// An entry of the block list.
    Prefix(Prefix),
}

/// The maps of one pin directory. Cheap to open; each thread has its own.
pub struct Tables {
    pin_dir: PathBuf,
    /// Flow verdicts.
    pub flows: HashMap<MapData, FlowKey, FlowState>,
    /// Expiring blocks of single sources. What is not put there by [`Tables::block_source`] may be in force a tick later.
    pub source_blocks: HashMap<MapData, Address, Block>,
    /// What the XDP program knows of sources.
    pub sources: HashMap<MapData, Address, Source>,
    /// Token buckets of sources.
    pub rates: HashMap<MapData, Address, SourceRates>,
    /// When the buckets of all sources together are full again.
    pub totals: Array<MapData, Totals>,
    /// Whether sources of SYNs are challenged.
    pub challenge: Array<MapData, ChallengeState>,
    /// Sources that have answered a challenge.
    pub proven: HashMap<MapData, Address, Proof>,
    /// Inspected services.
    pub services: HashMap<MapData, ServiceKey, Service>,
    ports: Array<MapData, Ports>,
    settings: Array<MapData, Settings>,
    counters: PerCpuArray<MapData, Counters>,
    lists: Array<MapData, Lists>,
    allow: List<u32>,
    block: List<Block>,
    watch: List<u32>,
}

impl Tables {
    /// Opens the maps pinned in `pin_dir`.
    ///
    /// # Errors
    ///
    /// When one is missing or of another type.
    pub fn open(pin_dir: &Path) -> Result<Self, TableError> {
        Ok(Self {
            pin_dir: pin_dir.to_owned(),
            flows: open(pin_dir, map::FLOWS, Map::LruHashMap)?,
            source_blocks: open(pin_dir, map::SOURCE_BLOCKS, Map::HashMap)?,
            sources: open(pin_dir, map::SOURCES, Map::LruHashMap)?,
            rates: open(pin_dir, map::RATES, Map::LruHashMap)?,
            totals: open(pin_dir, map::TOTALS, Map::Array)?,
            challenge: open(pin_dir, map::CHALLENGE, Map::Array)?,
            proven: open(pin_dir, map::PROVEN, Map::LruHashMap)?,
            services: open(pin_dir, map::SERVICES, Map::HashMap)?,
            ports: open(pin_dir, map::PORTS, Map::Array)?,
            settings: open(pin_dir, map::SETTINGS, Map::Array)?,
            counters: open(pin_dir, map::COUNTERS, Map::PerCpuArray)?,
            lists: open(pin_dir, map::LISTS, Map::Array)?,
            allow: List::open(pin_dir, map::ALLOW_V4, map::ALLOW_V6)?,
            block: List::open(pin_dir, map::BLOCK_V4, map::BLOCK_V6)?,
            watch: List::open(pin_dir, map::WATCH_V4, map::WATCH_V6)?,
        })
    }

    /// Where the maps are pinned.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// The map of sockets.
    ///
    /// # Errors
    ///
    /// When it is missing.
    pub fn sockets(&self) -> Result<XskMap<MapData>, TableError> {
        open(&self.pin_dir, map::SOCKETS, Map::XskMap)
    }

    /// Says which two interfaces a bridge has, by their indexes.
    ///
    /// # Errors
    ///
    /// When the map is missing or the kernel refuses.
    pub fn set_bridge(&self, clients: u32, servers: u32) -> Result<(), TableError> {
        let mut map: DevMap<MapData> = open(&self.pin_dir, map::BRIDGE, Map::DevMap)?;
        for (side, interface) in [(bridge::CLIENTS, clients), (bridge::SERVERS, servers)] {
            map.set(side, interface, None, 0).map_err(|error| TableError {
                name: map::BRIDGE.to_owned(),
                source: match error {
                    XdpMapError::MapError(source) => source,
                    error @ XdpMapError::ChainedProgramNotSupported => {
                        MapError::IoError(std::io::Error::other(error))
                    }
                },
            })?;
        }
        Ok(())
    }

    /// Says which queues are those of each interface, by the interfaces' indexes; of others there are none. Nothing may be redirected
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// When the map is missing or the kernel refuses.
    pub fn set_interfaces(&self, interfaces: &[(u32, InterfaceQueues)]) -> Result<(), TableError> {
        let mut map: HashMap<MapData, u32, InterfaceQueues> =
            open(&self.pin_dir, map::INTERFACES, Map::HashMap)?;
        let stale: Vec<_> = map
            .keys()
            .flatten()
            .filter(|index| interfaces.iter().all(|(wanted, _)| wanted != index))
            .collect();
        for index in stale {
            map.remove(&index).map_err(failed(map::INTERFACES))?;
        }
        interfaces
            .iter()
            .try_for_each(|(index, queues)| map.insert(index, queues, 0).map_err(failed(map::INTERFACES)))
    }

    /// The ring buffer of sampled drops.
    ///
    /// # Errors
    ///
    /// When it is missing.
    pub fn events(&self) -> Result<RingBuf<MapData>, TableError> {
        open(&self.pin_dir, map::EVENTS, Map::RingBuf)
    }

    /// The map of queue states, to be mapped into memory.
    ///
    /// # Errors
    ///
    /// When it is missing.
    pub fn queues(&self) -> Result<MapData, TableError> {
        MapData::from_pin(self.pin_dir.join(map::QUEUES)).map_err(failed(map::QUEUES))
    }

    /// The XDP program's settings.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn settings(&self) -> Result<Settings, TableError> {
        self.settings.get(&0, 0).map_err(failed(map::SETTINGS))
    }

    /// Replaces the XDP program's settings, at once for all packets that follow.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn set_settings(&mut self, settings: &Settings) -> Result<(), TableError> {
        self.settings.set(0, settings, 0).map_err(failed(map::SETTINGS))?;
        // The mask of sources is one of them.
        self.note_change()
    }

    /// The packet counters, summed over all CPUs.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn counters(&self) -> Result<Counters, TableError> {
        let values = self.counters.get(&0, 0).map_err(failed(map::COUNTERS))?;
        let mut sum = Counters::default();
        for value in values.iter() {
            sum.add(value);
        }
        Ok(sum)
    }

    /// Adds services, after what their ports say of them: on a port that says nothing there is none.
    ///
    /// # Errors
    ///
    /// Those of the maps; `E2BIG` if there are more than there is room for.
    pub fn serve(&mut self, services: &[(ServiceKey, Service)]) -> Result<(), TableError> {
        self.change_ports(|ports| {
            for (key, service) in services {
                ports.serve(key, *service);
            }
        })?;
        for (key, service) in services {
            self.services
                .insert(key, service, 0)
                .map_err(failed(map::SERVICES))?;
        }
        Ok(())
    }

    /// Notes that there may be flows to this port: the XDP program looks for flows to no others.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn note_flows(&mut self, port: u16) -> Result<(), TableError> {
        self.change_ports(|ports| ports.note_flows(port))
    }

    fn change_ports(&mut self, change: impl FnOnce(&mut Ports)) -> Result<(), TableError> {
        let mut ports = Box::new(self.ports.get(&0, 0).map_err(failed(map::PORTS))?);
        change(&mut ports);
        self.ports.set(0, *ports, 0).map_err(failed(map::PORTS))
    }

    /// Replaces all services.
    ///
    /// # Errors
    ///
    /// Those of the map; `E2BIG` if there are more than it has room for.
    pub fn set_services(&mut self, services: &[(ServiceKey, Service)]) -> Result<(), TableError> {
        self.serve(services)?;
        let stale: Vec<_> = self
            .services
            .keys()
            .flatten()
            .filter(|key| !services.iter().any(|(kept, _)| kept == key))
            .collect();
        for key in stale {
            ignore_missing(self.services.remove(&key)).map_err(failed(map::SERVICES))?;
        }
        self.change_ports(|ports| {
            ports.clear();
            for (key, service) in services {
                ports.serve(key, *service);
            }
        })
    }

    /// Lets every packet from `prefix` pass, as an operator wants it.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn allow(&mut self, prefix: Prefix) -> Result<(), TableError> {
        self.allow
            .insert(prefix, ALLOWED_BY_OPERATOR)
            .map_err(failed(map::ALLOW_V4))?;
        self.note_change()
    }

    /// Brings what the configuration allows up to date. What operators have put there, or somebody by hand, stays as it is.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn set_allowed_by_configuration(&mut self, prefixes: &HashSet<Prefix>) -> Result<(), TableError> {
        let failed = || failed(map::ALLOW_V4);
        let there: collections::HashMap<_, _> = self.allow.entries().collect();
        for (prefix, by) in &there {
            if *by == ALLOWED_BY_CONFIGURATION && !prefixes.contains(prefix) {
                self.allow.remove(*prefix).map_err(failed())?;
            }
        }
        for prefix in prefixes.iter().filter(|prefix| !there.contains_key(prefix)) {
            self.allow
                .insert(*prefix, ALLOWED_BY_CONFIGURATION)
                .map_err(failed())?;
        }
        self.note_change()
    }

    /// Takes `prefix` off the allow list. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn disallow(&mut self, prefix: Prefix) -> Result<bool, TableError> {
        let was_there = self.allow.remove(prefix).map_err(failed(map::ALLOW_V4))?;
        self.note_change()?;
        Ok(was_there)
    }

    /// The allow list.
    #[must_use]
    pub fn allowed(&self) -> Vec<Prefix> {
        self.allow.entries().map(|(prefix, _)| prefix).collect()
    }

    /// What operators have put on the allow list.
    #[must_use]
    pub fn allowed_by_operators(&self) -> Vec<Prefix> {
        let theirs = |(prefix, by)| (by == ALLOWED_BY_OPERATOR).then_some(prefix);
        self.allow.entries().filter_map(theirs).collect()
    }

    /// Drops every packet from `source` while the block holds. Returns whether it was not blocked before.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn block_source(&mut self, source: Address, block: Block) -> Result<bool, TableError> {
        let failed = failed(map::SOURCE_BLOCKS);
        let is_new = match self.source_blocks.insert(source, block, NO_EXIST) {
            Ok(()) => true,
            Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::AlreadyExists => {
                self.source_blocks.insert(source, block, 0).map_err(failed)?;
                false
            }
            Err(error) => return Err(failed(error)),
        };
        self.note_change()?;
        Ok(is_new)
    }

    /// Ends the block of `source`. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn unblock_source(&mut self, source: &Address) -> Result<bool, TableError> {
        ignore_missing(self.source_blocks.remove(source)).map_err(failed(map::SOURCE_BLOCKS))
    }

    /// Drops every packet from `prefix` while the block holds.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn block(&mut self, prefix: Prefix, block: Block) -> Result<(), TableError> {
        self.block.insert(prefix, block).map_err(failed(map::BLOCK_V4))?;
        self.note_change()
    }

    /// The block of `prefix`, or if it has none, that of the longest prefix around it.
    #[must_use]
    pub fn block_of(&self, prefix: Prefix) -> Option<Block> {
        self.block.get(prefix)
    }

    /// Takes `prefix` off the block list. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn unblock(&mut self, prefix: Prefix) -> Result<bool, TableError> {
        let was_there = self.block.remove(prefix).map_err(failed(map::BLOCK_V4))?;
        // Where the block had ended, that of a shorter prefix takes its place.
        self.note_change()?;
        Ok(was_there)
    }

    /// Has the XDP program forget what it knows of sources. After each change that may make it untrue: what is looked up in between is
    /// forgotten, too.
    fn note_change(&mut self) -> Result<(), TableError> {
        let lists = Lists {
            changed_ns: monotonic_ns(),
        };
        self.lists.set(0, lists, 0).map_err(failed(map::LISTS))
    }

    /// The block list.
    pub fn blocked(&self) -> impl Iterator<Item = (Prefix, Block)> + '_ {
        self.block.entries()
    }

    /// The kernel's identities of the maps of single sources, and of IPv4 and IPv6 prefixes: those of other maps are others, until
    /// the next boot.
    ///
    /// # Errors
    ///
    /// When one is missing.
    pub fn block_maps(&self) -> Result<[u32; 3], TableError> {
        Ok([
            self.id_of(map::SOURCE_BLOCKS)?,
            self.id_of(map::BLOCK_V4)?,
            self.id_of(map::BLOCK_V6)?,
        ])
    }

    /// The same of the maps of the allow list: IPv4 and IPv6.
    ///
    /// # Errors
    ///
    /// Those of the maps.
    pub fn allow_maps(&self) -> Result<[u32; 2], TableError> {
        Ok([self.id_of(map::ALLOW_V4)?, self.id_of(map::ALLOW_V6)?])
    }

    fn id_of(&self, name: &str) -> Result<u32, TableError> {
        let map = MapData::from_pin(self.pin_dir.join(name)).map_err(failed(name))?;
        Ok(map.info().map_err(failed(name))?.id())
    }

    /// Ends the block of `target`. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn end(&mut self, target: Target) -> Result<bool, TableError> {
        match target {
            Target::Source(source) => self.unblock_source(&source),
            Target::Prefix(prefix) => self.unblock(prefix),
        }
    }

    /// Ends the block of `target` if its time is over. Returns whether it was.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn end_if_over(&mut self, target: Target, now_ns: u64) -> Result<bool, TableError> {
        let block = match target {
            Target::Source(source) => self.source_blocks.get(&source, 0).ok(),
            Target::Prefix(prefix) => self.block.get(prefix),
        };
        Ok(block.is_some_and(|block| !block.holds(now_ns)) && self.end(target)?)
    }

    /// Inspects every flow from `prefix` on `suspicious` services.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn watch(&mut self, prefix: Prefix) -> Result<(), TableError> {
        self.watch.insert(prefix, 1).map_err(failed(map::WATCH_V4))
    }

    /// Takes `prefix` off the watch list. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// Those of the map.
    pub fn unwatch(&mut self, prefix: Prefix) -> Result<bool, TableError> {
        self.watch.remove(prefix).map_err(failed(map::WATCH_V4))
    }

    /// The watch list.
    #[must_use]
    pub fn watched(&self) -> Vec<Prefix> {
        self.watch.entries().map(|(prefix, _)| prefix).collect()
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables")
            .field("pin_dir", &self.pin_dir)
            .finish_non_exhaustive()
    }
}

/// A list of prefixes in two tries.
struct List<V: aya::Pod> {
    v4: LpmTrie<MapData, [u8; 4], V>,
    v6: LpmTrie<MapData, [u8; 16], V>,
}

impl<V: aya::Pod> List<V> {
    fn open(pin_dir: &Path, v4: &str, v6: &str) -> Result<Self, TableError> {
        Ok(Self {
            v4: open(pin_dir, v4, Map::LpmTrie)?,
            v6: open(pin_dir, v6, Map::LpmTrie)?,
        })
    }

    fn insert(&mut self, prefix: Prefix, value: V) -> Result<(), MapError> {
        match prefix.address {
            IpAddr::V4(address) => {
                self.v4
                    .insert(&Key::new(prefix.length.into(), address.octets()), value, 0)
            }
            IpAddr::V6(address) => {
                self.v6
                    .insert(&Key::new(prefix.length.into(), address.octets()), value, 0)
            }
        }
    }

    /// The value of `prefix`, or if it has none, that of the longest one around it.
    fn get(&self, prefix: Prefix) -> Option<V> {
        match prefix.address {
            IpAddr::V4(address) => self.v4.get(&Key::new(prefix.length.into(), address.octets()), 0),
            IpAddr::V6(address) => self.v6.get(&Key::new(prefix.length.into(), address.octets()), 0),
        }
        .ok()
    }

    fn remove(&mut self, prefix: Prefix) -> Result<bool, MapError> {
        ignore_missing(match prefix.address {
            IpAddr::V4(address) => self.v4.remove(&Key::new(prefix.length.into(), address.octets())),
            IpAddr::V6(address) => self.v6.remove(&Key::new(prefix.length.into(), address.octets())),
        })
    }

    fn entries(&self) -> impl Iterator<Item = (Prefix, V)> + '_ {
        let v4 = self
            .v4
            .iter()
            .flatten()
            .map(|(key, value)| (prefix(key.data(), key.prefix_len()), value));
        let v6 = self
            .v6
            .iter()
            .flatten()
            .map(|(key, value)| (prefix(key.data(), key.prefix_len()), value));
        v4.chain(v6)
    }
}

fn prefix(octets: impl Into<IpAddr>, length: u32) -> Prefix {
    Prefix {
        address: octets.into(),
        length: length as u8,
    }
}

fn open<T>(pin_dir: &Path, name: &str, wrap: fn(MapData) -> Map) -> Result<T, TableError>
where
    T: TryFrom<Map, Error = MapError>,
{
    MapData::from_pin(pin_dir.join(name))
        .map(wrap)
        .and_then(T::try_from)
        .map_err(failed(name))
}

fn ignore_missing(result: Result<(), MapError>) -> Result<bool, MapError> {
    match result {
        Ok(()) => Ok(true),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
