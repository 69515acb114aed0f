//! Segments that wait for the bytes before them.

use super::{Segment, Seq};

const NONE: u32 = u32::MAX;

/// Room for the held segments of all flows of one thread. It owns the frames: they are moved in when a segment
/// is held and moved out again when it is delivered, dropped or released.
pub struct HoldPool<F> {
    slots: Box<[Slot<F>]>,
    free: u32,
    held: usize,
    bytes: usize,
    max_bytes: usize,
}

struct Slot<F> {
    frame: Option<F>,
    segment: Segment,
    next: u32,
}

/// The held segments of one flow, by sequence number.
///
/// All of them agree on the bytes they share: [`compare`](Self::compare) comes before [`insert`](Self::insert).
#[derive(Debug)]
pub(super) struct HoldList {
    head: u32,
    tail: u32,
    /// After the last sequence number that any held segment occupies.
    end: Seq,
    /// Whether the last sequence number before `end` is a FIN's.
    fin: bool,
    segments: u16,
    bytes: u32,
}

/// How the data of a segment relate to those of the held ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overlap {
    /// Something in it is new, and the rest is identical.
    New,
    /// All of it is held already, and identical.
    Covered,
    /// A byte or the end of the stream differs.
    Conflict,
}

impl<F> HoldPool<F> {
    /// Room for `segments` segments with together at most `bytes` bytes of payload. Allocates here and never again.
    ///
    /// # Panics
    /// When `segments` is not below 2³² − 1.
    #[must_use]
    pub fn new(segments: usize, bytes: usize) -> Self {
        let count = u32::try_from(segments).ok().filter(|&count| count < NONE);
        let count = count.expect("fewer than 2^32 - 1 held segments");
        let slot = |index: u32| Slot {
            frame: None,
            segment: Segment::EMPTY,
            next: if index + 1 < count { index + 1 } else { NONE },
        };
        Self {
            slots: (0..count).map(slot).collect(),
            free: if count > 0 { 0 } else { NONE },
            held: 0,
            bytes: 0,
            max_bytes: bytes,
        }
    }

    /// Segments held by all flows together.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.held
    }

    /// Payload bytes held by all flows together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a segment with `len` bytes of payload still fits.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        self.free != NONE && self.bytes + len <= self.max_bytes
    }

    /// The slot `index`, unless its segment begins at or behind `end`.
    fn slot_before(&self, index: u32, end: Seq) -> Option<&Slot<F>> {
        self.slots
            .get(index as usize)
            .filter(|slot| slot.segment.seq.before(end))
    }

    fn take(&mut self, segment: Segment, frame: F, next: u32) -> u32 {
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        self.free = slot.next;
        *slot = Slot {
            frame: Some(frame),
            segment,
            next,
        };
        self.held += 1;
        self.bytes += usize::from(segment.len);
        index
    }

    fn give_back(&mut self, index: u32) -> Option<(F, Segment, u32)> {
        let slot = self.slots.get_mut(index as usize)?;
        let frame = slot.frame.take()?;
        let (segment, next) = (slot.segment, slot.next);
        slot.next = self.free;
        self.free = index;
        self.held -= 1;
        self.bytes -= usize::from(segment.len);
        Some((frame, segment, next))
    }
}

impl HoldList {
    pub(super) const fn new() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            end: Seq(0),
            fin: false,
            segments: 0,
            bytes: 0,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub(super) const fn segments(&self) -> u16 {
        self.segments
    }

    pub(super) const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Compares the part of `segment` from `from` on with all that is held. Every byte is compared at
    /// most once, whatever the number of segments that hold it, because those agree already.
    pub(super) fn compare<F: AsRef<[u8]>>(
        &self,
        pool: &HoldPool<F>,
        segment: &Segment,
        payload: &[u8],
        from: Seq,
    ) -> Overlap {
        if self.is_empty() {
            return Overlap::New;
        }
        // Only one place can be the stream's end, and no data lie behind it.
        let held_data_end = self.end - u32::from(self.fin);
        let end_differs = (self.fin && segment.data_end().after(held_data_end))
            || (segment.fin() && held_data_end.after(segment.data_end()));
        if end_differs {
            return Overlap::Conflict;
        }
        let mut overlap = if segment.fin() && !self.fin {
            Overlap::New
        } else {
            Overlap::Covered
        };
        let mut position = from;
        let mut index = self.head;
        while position.before(segment.data_end()) {
            let Some(slot) = pool.slot_before(index, segment.data_end()) else {
                return Overlap::New;
            };
            index = slot.next;
            let first = position.max(slot.segment.seq);
            let last = segment.data_end().min(slot.segment.data_end());
            let count = first.until(last);
            if count == 0 {
                continue;
            }
            if position.before(first) {
                overlap = Overlap::New;
            }
            let held = slot
                .frame
                .as_ref()
                .and_then(|frame| slot.segment.payload(frame.as_ref()));
            let held = held.map(|bytes| &bytes[slot.segment.seq.until(first)..][..count]);
            if held != Some(&payload[segment.seq.until(first)..][..count]) {
                return Overlap::Conflict;
            }
            position = last;
        }
        overlap
    }

    /// Takes the segment in. The caller has asked [`HoldPool::has_room`].
    pub(super) fn insert<F>(&mut self, pool: &mut HoldPool<F>, segment: Segment, frame: F) {
        if self.is_empty() || segment.end().after(self.end) {
            self.end = segment.end();
            self.fin = segment.fin();
        } else if segment.end() == self.end {
            self.fin |= segment.fin();
        }
        self.segments += 1;
        self.bytes += u32::from(segment.len);
        let after = self.last_not_after(pool, segment.seq);
        let next = match pool.slots.get(after as usize) {
            Some(slot) => slot.next,
            None => self.head,
        };
        let index = pool.take(segment, frame, next);
        match pool.slots.get_mut(after as usize) {
            Some(slot) => slot.next = index,
            None => self.head = index,
        }
        if next == NONE {
            self.tail = index;
        }
    }

    /// The last held segment that does not begin after `seq`, or `NONE`.
    fn last_not_after<F>(&self, pool: &HoldPool<F>, seq: Seq) -> u32 {
        let begins_after = |index: u32| {
            pool.slots
                .get(index as usize)
                .is_none_or(|slot| slot.segment.seq.after(seq))
        };
        // Behind a loss, segments mostly arrive in order.
        if !begins_after(self.tail) {
            return self.tail;
        }
        let (mut before, mut index) = (NONE, self.head);
        while !begins_after(index) {
            before = index;
            index = pool.slots[index as usize].next;
        }
        before
    }

    /// Puts all of `other` behind what is here, and leaves `other` empty.
    pub(super) fn append<F>(&mut self, pool: &mut HoldPool<F>, other: &mut Self) {
        let other = std::mem::replace(other, Self::new());
        if other.is_empty() {
            return;
        }
        match pool.slots.get_mut(self.tail as usize) {
            Some(slot) => slot.next = other.head,
            None => self.head = other.head,
        }
        self.tail = other.tail;
        self.segments += other.segments;
        self.bytes += other.bytes;
    }

    /// Moves the first segment out if it begins at or before `next`.
    pub(super) fn pop<F>(&mut self, pool: &mut HoldPool<F>, next: Seq) -> Option<(F, Segment)> {
        let first = pool.slots.get(self.head as usize)?;
        if first.segment.seq.after(next) {
            None
        } else {
            self.pop_any(pool)
        }
    }

    /// Moves the first segment out.
    pub(super) fn pop_any<F>(&mut self, pool: &mut HoldPool<F>) -> Option<(F, Segment)> {
        let (frame, segment, next) = pool.give_back(self.head)?;
        self.head = next;
        self.segments -= 1;
        self.bytes -= u32::from(segment.len);
        if next == NONE {
            *self = Self::new();
        }
        Some((frame, segment))
    }
}
