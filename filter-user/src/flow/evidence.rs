//! The bytes that went on but that the server has not acknowledged yet.
//!
//! Until it has, a retransmission may still reach the server first, so it must be compared byte by byte, however
//! it is cut this time. Each flow keeps the bytes as a list of fixed chunks from one pool that is allocated at
//! the start. When the pool runs low, [`EvidencePool::oldest`] names the flow whose chunk has been
//! out the longest, so that the caller can look up what the server of that flow acknowledged and release it.

use super::Seq;

const NONE: u32 = u32::MAX;

/// The chunks of one thread, shared by its flows.
pub struct EvidencePool {
    bytes: Box<[u8]>,
    links: Box<[Link]>,
    chunk: usize,
    share: u32,
    free: u32,
    free_count: u32,
    /// Chunks in use, by the time they were taken.
    oldest: u32,
    newest: u32,
}

#[derive(Clone, Copy)]
struct Link {
    /// The next chunk of the same flow, or of the free list.
    next: u32,
    older: u32,
    newer: u32,
    owner: u32,
}

/// The evidence of one flow: the bytes from [`start`](Self::start) to [`end`](Self::end), without holes.
#[derive(Debug)]
pub struct Evidence {
    head: u32,
    tail: u32,
    start: Seq,
    len: u32,
    /// Bytes at the beginning of the head chunk that are released already.
    skip: u32,
}

impl EvidencePool {
    /// A pool of `chunks` chunks of `chunk` bytes, of which one flow may fill at most `share` bytes.
    ///
    /// Memory: `chunks × (chunk + 16)` bytes, all of it taken here.
    ///
    /// # Panics
    /// When `chunk` is zero, or `chunks` is not below 2³² − 1.
    #[must_use]
    pub fn new(chunks: usize, chunk: usize, share: u32) -> Self {
        assert!(chunk > 0, "an evidence chunk holds at least one byte");
        let count = u32::try_from(chunks).ok().filter(|&count| count < NONE);
        let free_count = count.expect("fewer than 2^32 - 1 evidence chunks");
        let link = |index: u32| Link {
            next: if index + 1 < free_count { index + 1 } else { NONE },
            older: NONE,
            newer: NONE,
            owner: NONE,
        };
        Self {
            bytes: vec![0; chunks * chunk].into_boxed_slice(),
            links: (0..free_count).map(link).collect(),
            chunk,
            share,
            free: if free_count > 0 { 0 } else { NONE },
            free_count,
            oldest: NONE,
            newest: NONE,
        }
    }

    /// Chunks that no flow uses.
    #[must_use]
    pub fn free_chunks(&self) -> usize {
        self.free_count as usize
    }

    /// All chunks.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.links.len()
    }

    /// The owner of the chunk that has been in use the longest.
    #[must_use]
    pub fn oldest(&self) -> Option<u32> {
        self.links.get(self.oldest as usize).map(|link| link.owner)
    }

    /// Puts the oldest chunk behind all others: its owner was asked and could not release it.
    pub fn defer_oldest(&mut self) {
        let index = self.oldest;
        if index != NONE {
            self.unlink_age(index);
            self.link_newest(index);
        }
    }

    fn take(&mut self, owner: u32) -> u32 {
        let index = self.free;
        self.free = self.links[index as usize].next;
        self.free_count -= 1;
        self.links[index as usize].next = NONE;
        self.links[index as usize].owner = owner;
        self.link_newest(index);
        index
    }

    fn give_back(&mut self, index: u32) {
        self.unlink_age(index);
        self.links[index as usize].next = self.free;
        self.free = index;
        self.free_count += 1;
    }

    fn link_newest(&mut self, index: u32) {
        let older = self.newest;
        self.links[index as usize].older = older;
        self.links[index as usize].newer = NONE;
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
    }

    fn unlink_age(&mut self, index: u32) {
        let Link { older, newer, .. } = self.links[index as usize];
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
        match self.links.get_mut(newer as usize) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
    }

    fn data(&self, index: u32) -> &[u8] {
        let start = index as usize * self.chunk;
        &self.bytes[start..start + self.chunk]
    }

    fn data_mut(&mut self, index: u32) -> &mut [u8] {
        let start = index as usize * self.chunk;
        &mut self.bytes[start..start + self.chunk]
    }
}

impl Evidence {
    /// No evidence yet; the first byte that can be recorded has the sequence number `start`.
    #[must_use]
    pub const fn new(start: Seq) -> Self {
        Self {
            head: NONE,
            tail: NONE,
            start,
            len: 0,
            skip: 0,
        }
    }

    /// Sequence number of the first recorded byte.
    #[must_use]
    pub const fn start(&self) -> Seq {
        self.start
    }

    /// Sequence number after the last recorded byte.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.start + self.len
    }

    /// Number of recorded bytes.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is recorded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `count` more bytes fit, in the pool and in the share of one flow.
    #[must_use]
    pub fn has_room(&self, pool: &EvidencePool, count: usize) -> bool {
        let used = self.len as usize + count;
        let chunks = |bytes: usize| bytes.div_ceil(pool.chunk);
        let begin = self.skip as usize;
        used <= pool.share as usize
            && chunks(begin + used) - chunks(begin + self.len as usize) <= pool.free_count as usize
    }

    /// Records `bytes` from [`end`](Self::end) on, for the flow that the caller knows as `owner`. Returns false,
    /// and records nothing, when there is no room.
    #[must_use]
    pub fn record(&mut self, pool: &mut EvidencePool, owner: u32, mut bytes: &[u8]) -> bool {
        if !self.has_room(pool, bytes.len()) {
            return false;
        }
        while !bytes.is_empty() {
            let filled = (self.skip + self.len) as usize % pool.chunk;
            if filled == 0 {
                let index = pool.take(owner);
                match pool.links.get_mut(self.tail as usize) {
                    Some(link) => link.next = index,
                    None => self.head = index,
                }
                self.tail = index;
            }
            let (now, later) = bytes.split_at(bytes.len().min(pool.chunk - filled));
            pool.data_mut(self.tail)[filled..filled + now.len()].copy_from_slice(now);
            self.len += now.len() as u32;
            bytes = later;
        }
        true
    }

    /// Whether `bytes` are what was recorded from `from` on. False when any of them is not on record.
    #[must_use]
    pub fn matches(&self, pool: &EvidencePool, from: Seq, mut bytes: &[u8]) -> bool {
        if from.before(self.start) || self.start.until(from) + bytes.len() > self.len as usize {
            return false;
        }
        let mut position = self.skip as usize + self.start.until(from);
        let mut index = self.head;
        while position >= pool.chunk && !bytes.is_empty() {
            position -= pool.chunk;
            index = pool.links[index as usize].next;
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(pool.chunk - position));
            if pool.data(index)[position..position + now.len()] != *now {
                return false;
            }
            position = 0;
            index = pool.links[index as usize].next;
            bytes = later;
        }
        true
    }

    /// A copy of what is recorded.
    #[must_use]
    pub fn copy(&self, pool: &EvidencePool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len as usize);
        let (mut position, mut index) = (self.skip as usize, self.head);
        while bytes.len() < self.len as usize {
            let left = self.len as usize - bytes.len();
            let end = pool.chunk.min(position + left);
            bytes.extend_from_slice(&pool.data(index)[position..end]);
            position = 0;
            index = pool.links[index as usize].next;
        }
        bytes
    }

    /// Forgets the bytes before `upto`.
    pub fn release(&mut self, pool: &mut EvidencePool, upto: Seq) {
        let count = self.start.until(upto).min(self.len as usize) as u32;
        self.start += count;
        self.len -= count;
        self.skip += count;
        while self.head != NONE && (self.len == 0 || self.skip as usize >= pool.chunk) {
            let next = pool.links[self.head as usize].next;
            pool.give_back(self.head);
            self.head = next;
            self.skip = self.skip.saturating_sub(pool.chunk as u32);
        }
        if self.head == NONE {
            self.tail = NONE;
            self.skip = 0;
        }
    }

    /// Forgets everything and begins anew at `start`.
    pub fn restart(&mut self, pool: &mut EvidencePool, start: Seq) {
        self.release(pool, self.end());
        self.start = start;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Evidence, EvidencePool, Seq};

    const START: Seq = Seq(u32::MAX - 5);

    fn numbered(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    #[test]
    fn compares_across_chunks_and_the_sequence_wrap() {
        let mut pool = EvidencePool::new(8, 4, 100);
        let mut evidence = Evidence::new(START);
        let bytes = numbered(14);
        assert!(evidence.record(&mut pool, 1, &bytes[..3]) && evidence.record(&mut pool, 1, &bytes[3..]));
        assert_eq!((evidence.end(), pool.free_chunks()), (START + 14, 4));
        for from in 0..14 {
            for to in from..=14 {
                assert!(evidence.matches(&pool, START + from as u32, &bytes[from..to]));
                assert_eq!(evidence.copy(&pool), bytes);
                for wrong in from..to {
                    let mut other = bytes[from..to].to_vec();
                    other[wrong - from] ^= 1;
                    assert!(!evidence.matches(&pool, START + from as u32, &other));
                }
            }
        }
        assert!(!evidence.matches(&pool, START - 1, &bytes[..1]));
        assert!(!evidence.matches(&pool, START + 13, &bytes[..2]));
    }

    #[test]
    fn a_full_pool_records_nothing_and_heals_after_a_release() {
        let mut pool = EvidencePool::new(2, 4, 100);
        let (mut one, mut two) = (Evidence::new(Seq(0)), Evidence::new(Seq(0)));
        assert!(one.record(&mut pool, 1, b"abcde"));
        assert!(one.record(&mut pool, 1, b"fgh"));
        assert!(!two.record(&mut pool, 2, b"x") && two.is_empty());
        assert!(!one.record(&mut pool, 1, b"i"));
        one.release(&mut pool, Seq(4));
        assert!(two.record(&mut pool, 2, b"x"));
        assert!(one.matches(&pool, Seq(4), b"efgh") && two.matches(&pool, Seq(0), b"x"));
    }

    #[test]
    fn one_flow_gets_its_share_and_no_more() {
        let mut pool = EvidencePool::new(100, 4, 6);
        let mut evidence = Evidence::new(Seq(0));
        assert!(!evidence.record(&mut pool, 1, b"1234567"));
        assert!(evidence.record(&mut pool, 1, b"123456"));
        assert!(!evidence.has_room(&pool, 1));
        evidence.release(&mut pool, Seq(1));
        assert!(evidence.has_room(&pool, 1));
    }

    #[test]
    fn the_oldest_chunk_names_its_owner() {
        let mut pool = EvidencePool::new(4, 4, 100);
        let (mut one, mut two) = (Evidence::new(Seq(0)), Evidence::new(Seq(0)));
        assert_eq!(pool.oldest(), None);
        assert!(one.record(&mut pool, 1, b"abcd") && two.record(&mut pool, 2, b"abcd"));
        assert!(one.record(&mut pool, 1, b"efgh"));
        assert_eq!(pool.oldest(), Some(1));
        pool.defer_oldest();
        assert_eq!(pool.oldest(), Some(2));
        two.release(&mut pool, Seq(4));
        assert_eq!(pool.oldest(), Some(1));
        one.release(&mut pool, Seq(8));
        assert_eq!((pool.oldest(), pool.free_chunks()), (None, 4));
    }

    proptest! {
        /// Any sequence of records and releases keeps exactly the bytes between, and leaks no chunk.
        #[test]
        fn behaves_as_a_queue_of_bytes(
            chunk in 1_usize..20,
            steps in prop::collection::vec((any::<bool>(), 0_u32..40), 1..60),
        ) {
            let mut pool = EvidencePool::new(16, chunk, 64);
            let mut evidence = Evidence::new(START);
            let mut model: Vec<u8> = Vec::new();
            let source = numbered(4096);
            let mut sent = 0;
            for (record, count) in steps {
                if record {
                    let bytes = &source[sent..sent + count as usize];
                    let room = evidence.has_room(&pool, bytes.len());
                    prop_assert_eq!(evidence.record(&mut pool, 0, bytes), room);
                    if room {
                        model.extend(bytes);
                        sent += bytes.len();
                    } else {
                        prop_assert!(model.len() + bytes.len() > 64 || model.len() + bytes.len() + chunk > 16 * chunk);
                    }
                } else {
                    evidence.release(&mut pool, evidence.start() + count);
                    model.drain(..(count as usize).min(model.len()));
                }
                prop_assert_eq!(evidence.len() as usize, model.len());
                prop_assert!(evidence.matches(&pool, evidence.start(), &model));
                prop_assert!(16 - pool.free_chunks() <= model.len().div_ceil(chunk) + 1);
            }
            evidence.release(&mut pool, evidence.end());
            prop_assert_eq!(pool.free_chunks(), 16);
        }
    }
}
