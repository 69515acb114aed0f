//! The flow table: fixed capacity, four timeouts, no allocation after construction.
//!
//! Entries lie in a slab; an open-addressing [index](super::index) finds them by a keyed hash (the seed is
//! random, so that no one can choose keys that collide), and one list for each [`TimeoutClass`] orders them by their last
//! activity, so that the next entry to expire or to evict is always at a list's head.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::RandomState;

use super::index::Index;

const NONE: u32 = u32::MAX;
/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// Which timeout an entry is under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum TimeoutClass {
    /// The handshake is not finished.
    HalfOpen,
    /// Finished, reset or blocked.
    Closing,
    /// The client is in the middle of a request.
    Requesting,
    /// In use.
    Established,
}

impl TimeoutClass {
    /// All classes, in the order in which they are evicted.
    pub const ALL: [Self; 4] = [Self::HalfOpen, Self::Closing, Self::Requesting, Self::Established];
}

/// How entries of one class end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassLimits {
    /// Idle time after which an entry expires, in nanoseconds.
    pub timeout: u64,
    /// Whether the class's longest idle entry may be evicted before its time when the table is full.
    pub evictable: bool,
}

/// Capacity and timeouts of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableLimits {
    /// Number of entries, at most 2²⁸.
    pub capacity: u32,
    /// Activity closer than this to the last recorded one is not recorded, in nanoseconds: a busy flow is not moved
    /// to its list's end for each packet. Entries may expire this much later than their timeout, never earlier.
    pub resolution: u64,
    /// Unfinished handshakes.
    pub half_open: ClassLimits,
    /// Finished, reset or blocked flows.
    pub closing: ClassLimits,
    /// Flows in the middle of a request.
    pub requesting: ClassLimits,
    /// Flows in use.
    pub established: ClassLimits,
}

impl TableLimits {
    /// Usual timeouts: 30 s half-open, 10 s closing, 300 s requesting and established; only half-open entries may be evicted.
    #[must_use]
    pub const fn with_capacity(capacity: u32) -> Self {
        Self {
            capacity,
            resolution: SECOND,
            half_open: ClassLimits {
                timeout: 30 * SECOND,
                evictable: true,
            },
            closing: ClassLimits {
                timeout: 10 * SECOND,
                evictable: false,
            },
            requesting: ClassLimits {
                timeout: 300 * SECOND,
                evictable: false,
            },
            established: ClassLimits {
                timeout: 300 * SECOND,
                evictable: false,
            },
        }
    }

    /// The limits of one class.
    #[must_use]
    pub const fn class(&self, class: TimeoutClass) -> ClassLimits {
        match class {
            TimeoutClass::HalfOpen => self.half_open,
            TimeoutClass::Closing => self.closing,
            TimeoutClass::Requesting => self.requesting,
            TimeoutClass::Established => self.established,
        }
    }
}

/// Names an entry. It is detected when the entry has gone, even if another one has taken its slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowHandle {
    slot: u32,
    generation: u32,
}

impl FlowHandle {
    /// The entry's slot, below the table's capacity: unique among the entries that exist at one time.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.slot
    }
}

/// Why an entry could not be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InsertError {
    /// The key has an entry already.
    #[error("the flow is in the table already")]
    Exists(FlowHandle),
    /// No entry is free, due or evictable.
    #[error("the flow table is full")]
    Full,
}

/// Why an entry left the table by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// It was idle for its timeout.
    Expired,
    /// It made room for a new one.
    Evicted,
}

/// A flow table for keys `K` with values `V`.
pub struct FlowTable<K, V, S = RandomState> {
    entries: Box<[Entry<K, V>]>,
    index: Index,
    hasher: S,
    limits: TableLimits,
    lists: [List; TimeoutClass::ALL.len()],
    free: u32,
    len: usize,
    /// The latest time seen; time never runs backwards here.
    now: u64,
}

#[derive(Clone, Copy)]
struct List {
    oldest: u32,
    newest: u32,
    len: u32,
}

struct Entry<K, V> {
    content: Option<(K, V)>,
    hash: u64,
    last: u64,
    generation: u32,
    older: u32,
    /// In the free list: the next free slot.
    newer: u32,
    class: TimeoutClass,
}

/// Bytes of an entry beside its key and value, index included, at most.
const OVERHEAD: usize = size_of::<Entry<(), ()>>() + 4 * size_of::<u32>();

impl<K: Copy + Eq + Hash, V> FlowTable<K, V> {
    /// An empty table with a random hash seed. Takes all its memory here.
    ///
    /// # Panics
    /// When the capacity is above 2²⁸.
    #[must_use]
    pub fn new(limits: TableLimits) -> Self {
        Self::with_hasher(limits, RandomState::default())
    }
}

impl<K: Copy + Eq + Hash, V, S: BuildHasher> FlowTable<K, V, S> {
    /// An empty table with a given hash function, for runs that must repeat exactly.
    ///
    /// # Panics
    /// When the capacity is above 2²⁸.
    #[must_use]
    pub fn with_hasher(limits: TableLimits, hasher: S) -> Self {
        assert!(
            limits.capacity <= 1 << 28,
            "a flow table has at most 2^28 entries"
        );
        let entry = |slot: u32| Entry {
            content: None,
            hash: 0,
            last: 0,
            generation: 0,
            older: NONE,
            newer: if slot + 1 < limits.capacity {
                slot + 1
            } else {
                NONE
            },
            class: TimeoutClass::HalfOpen,
        };
        Self {
            entries: (0..limits.capacity).map(entry).collect(),
            index: Index::new(limits.capacity),
            hasher,
            limits,
            lists: [List {
                oldest: NONE,
                newest: NONE,
                len: 0,
            }; TimeoutClass::ALL.len()],
            free: if limits.capacity > 0 { 0 } else { NONE },
            len: 0,
            now: 0,
        }
    }

    /// Bytes one entry takes at most, its share of the index included. Meant for a constant assertion.
    #[must_use]
    pub const fn bytes_per_entry() -> usize {
        size_of::<Entry<K, V>>() + OVERHEAD - size_of::<Entry<(), ()>>()
    }

    /// Bytes the table has taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + self.index.bytes()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Largest number of entries.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Number of entries in one class.
    #[must_use]
    pub fn len_of(&self, class: TimeoutClass) -> usize {
        self.lists[class as usize].len as usize
    }

    /// Finds the entry of a key.
    #[must_use]
    pub fn find(&self, key: &K) -> Option<FlowHandle> {
        let slot = self.slot_of(self.hasher.hash_one(key), key)?;
        Some(FlowHandle {
            slot,
            generation: self.entries[slot as usize].generation,
        })
    }

    /// The value of an entry, unless the entry has gone.
    #[must_use]
    pub fn get(&self, handle: FlowHandle) -> Option<&V> {
        let content = self.live(handle)?.content.as_ref();
        content.map(|(_, value)| value)
    }

    /// The value of an entry, unless the entry has gone.
    #[must_use]
    pub fn get_mut(&mut self, handle: FlowHandle) -> Option<&mut V> {
        self.live(handle)?;
        let content = self.entries[handle.slot as usize].content.as_mut();
        content.map(|(_, value)| value)
    }

    /// The value in a slot, such as the owner that an evidence pool names.
    #[must_use]
    pub fn at_slot(&mut self, slot: u32) -> Option<(&K, &mut V)> {
        let content = self.entries.get_mut(slot as usize)?.content.as_mut();
        content.map(|(key, value)| (&*key, value))
    }

    /// Adds an entry that counts as active `now`. When the table is full, an entry that is due makes room, else
    /// the longest idle one of an evictable class; `removed` gets it. `make` is called only when there is room.
    pub fn insert(
        &mut self,
        key: K,
        class: TimeoutClass,
        now: u64,
        make: impl FnOnce(FlowHandle) -> V,
        removed: impl FnMut(K, V, Removal),
    ) -> Result<FlowHandle, InsertError> {
        let hash = self.hasher.hash_one(key);
        if let Some(slot) = self.slot_of(hash, &key) {
            return Err(InsertError::Exists(FlowHandle {
                slot,
                generation: self.entries[slot as usize].generation,
            }));
        }
        let now = self.advance(now);
        if self.free == NONE {
            self.make_room(now, removed);
        }
        let slot = self.free;
        let Some(entry) = self.entries.get_mut(slot as usize) else {
            return Err(InsertError::Full);
        };
        let handle = FlowHandle {
            slot,
            generation: entry.generation,
        };
        self.free = entry.newer;
        entry.content = Some((key, make(handle)));
        entry.hash = hash;
        entry.last = now;
        entry.class = class;
        self.index.insert(hash, slot);
        self.link(slot);
        self.len += 1;
        Ok(handle)
    }

    /// Records activity of an entry and the class it is in now. Does nothing when the entry has gone.
    pub fn touch(&mut self, handle: FlowHandle, class: TimeoutClass, now: u64) {
        let now = self.advance(now);
        let Some(entry) = self.live(handle) else { return };
        if entry.class == class && now - entry.last < self.limits.resolution {
            return;
        }
        self.unlink(handle.slot);
        let entry = &mut self.entries[handle.slot as usize];
        entry.last = now;
        entry.class = class;
        self.link(handle.slot);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, handle: FlowHandle) -> Option<(K, V)> {
        self.live(handle)?;
        self.take(handle.slot)
    }

    /// An entry whose time is up, if there is one, the longest idle of a class first: its handle, key and class, and when
    /// activity was last recorded. The caller takes it out with [`FlowTable::remove`], or puts it off with
    /// [`FlowTable::touch`] if it knows of activity which the table was not told of. Costs constant time.
    pub fn due_entry(&mut self, now: u64) -> Option<(FlowHandle, K, TimeoutClass, u64)> {
        let now = self.advance(now);
        let slot = TimeoutClass::ALL
            .into_iter()
            .find_map(|class| self.due(class, now))?;
        let entry = self.entries.get(slot as usize)?;
        let (key, _) = entry.content.as_ref()?;
        let handle = FlowHandle {
            slot,
            generation: entry.generation,
        };
        Some((handle, *key, entry.class, entry.last))
    }

    /// When the next entry may expire, in nanoseconds, if there is one.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        TimeoutClass::ALL
            .into_iter()
            .filter_map(|class| self.expiry(class))
            .min()
    }

    /// The entries in the slots from `slot` on, each with its class and the time of its last recorded activity.
    /// A status reader can go through a large table in steps, from the slot after the last handle it got.
    pub fn iter_from(&self, slot: u32) -> impl Iterator<Item = (FlowHandle, &K, &V, TimeoutClass, u64)> {
        let entries = self.entries.iter().enumerate().skip(slot as usize);
        entries.filter_map(|(slot, entry)| {
            let (key, value) = entry.content.as_ref()?;
            let handle = FlowHandle {
                slot: slot as u32,
                generation: entry.generation,
            };
            Some((handle, key, value, entry.class, entry.last))
        })
    }

    /// Takes out all entries.
    pub fn drain(&mut self, mut removed: impl FnMut(K, V)) {
        for slot in 0..self.entries.len() as u32 {
            if let Some((key, value)) = self.take(slot) {
                removed(key, value);
            }
        }
    }

    fn advance(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.now
    }

    fn slot_of(&self, hash: u64, key: &K) -> Option<u32> {
        let is_it = |slot: u32| {
            let content = self.entries[slot as usize].content.as_ref();
            content.is_some_and(|(present, _)| present == key)
        };
        self.index.find(hash, is_it)
    }

    fn live(&self, handle: FlowHandle) -> Option<&Entry<K, V>> {
        let entry = self.entries.get(handle.slot as usize)?;
        (entry.generation == handle.generation && entry.content.is_some()).then_some(entry)
    }

    fn make_room(&mut self, now: u64, mut removed: impl FnMut(K, V, Removal)) {
        let due = TimeoutClass::ALL
            .into_iter()
            .find_map(|class| self.due(class, now));
        let (slot, removal) = match due {
            Some(slot) => (slot, Removal::Expired),
            None => (self.evictable(), Removal::Evicted),
        };
        if let Some((key, value)) = self.take(slot) {
            removed(key, value, removal);
        }
    }

    /// The longest idle entry of the first class that may be evicted, or `NONE`.
    fn evictable(&self) -> u32 {
        let mut classes = TimeoutClass::ALL
            .into_iter()
            .filter(|&class| self.limits.class(class).evictable);
        let oldest =
            classes.find_map(|class| Some(self.lists[class as usize].oldest).filter(|&slot| slot != NONE));
        oldest.unwrap_or(NONE)
    }

    fn expiry(&self, class: TimeoutClass) -> Option<u64> {
        let oldest = self.entries.get(self.lists[class as usize].oldest as usize)?;
        Some(
            oldest
                .last
                .saturating_add(self.limits.class(class).timeout)
                .saturating_add(self.limits.resolution),
        )
    }

    fn due(&self, class: TimeoutClass, now: u64) -> Option<u32> {
        let due = self.expiry(class)? <= now;
        due.then_some(self.lists[class as usize].oldest)
    }

    fn take(&mut self, slot: u32) -> Option<(K, V)> {
        let content = self.entries.get_mut(slot as usize)?.content.take()?;
        self.unlink(slot);
        let entries = &self.entries;
        self.index.remove(entries[slot as usize].hash, slot, |slot| {
            entries[slot as usize].hash
        });
        let entry = &mut self.entries[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.newer = self.free;
        self.free = slot;
        self.len -= 1;
        Some(content)
    }

    fn link(&mut self, slot: u32) {
        let class = self.entries[slot as usize].class as usize;
        let older = self.lists[class].newest;
        self.entries[slot as usize].older = older;
        self.entries[slot as usize].newer = NONE;
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = slot,
            None => self.lists[class].oldest = slot,
        }
        self.lists[class].newest = slot;
        self.lists[class].len += 1;
    }

    fn unlink(&mut self, slot: u32) {
        let Entry {
            older, newer, class, ..
        } = self.entries[slot as usize];
        let list = class as usize;
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.lists[list].oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.lists[list].newest = older,
        }
        self.lists[list].len -= 1;
    }
}
