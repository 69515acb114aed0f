//! Open-addressing index from hashes to slots.

/// A hash index of slot numbers: linear probing, deletion by shifting back, at most half full.
///
/// Each place is a `u32`. Its low bits are a slot number plus one (0 is empty), the high bits, which the number
/// does not need, repeat bits of the hash, so that a probe rarely has to look at a slot that is not the one.
pub(super) struct Index {
    places: Box<[u32]>,
    slot_mask: u32,
}

impl Index {
    /// An index for the slots `0..capacity`, `capacity` at most 2³⁰.
    pub(super) fn new(capacity: u32) -> Self {
        let places = (capacity.max(1) as usize * 2).next_power_of_two();
        Self {
            places: vec![0; places].into_boxed_slice(),
            slot_mask: u32::MAX >> capacity.leading_zeros().min(31),
        }
    }

    /// Bytes the index takes for each slot at full capacity.
    pub(super) fn bytes(&self) -> usize {
        self.places.len() * size_of::<u32>()
    }

    /// The slot for which `is_it` says so, among those with this hash.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut place = self.home(hash);
        loop {
            let entry = self.places[place];
            if entry == 0 {
                return None;
            }
            let slot = (entry & self.slot_mask) - 1;
            if entry & !self.slot_mask == self.tag(hash) && is_it(slot) {
                return Some(slot);
            }
            place = self.after(place);
        }
    }

    /// Adds a slot that is not in the index.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        let mut place = self.home(hash);
        while self.places[place] != 0 {
            place = self.after(place);
        }
        self.places[place] = self.tag(hash) | (slot + 1);
    }

    /// Takes a slot out; `hash_of` gives the hash of any slot in the index. Does nothing when it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let wanted = self.tag(hash) | (slot + 1);
        let mut gap = self.home(hash);
        while self.places[gap] != wanted {
            if self.places[gap] == 0 {
                return;
            }
            gap = self.after(gap);
        }
        // Whatever may not stay behind the gap moves into it, so that no probe ends early.
        let mut place = self.after(gap);
        while self.places[place] != 0 {
            let home = self.home(hash_of((self.places[place] & self.slot_mask) - 1));
            let mask = self.places.len() - 1;
            if place.wrapping_sub(home) & mask >= place.wrapping_sub(gap) & mask {
                self.places[gap] = self.places[place];
                gap = place;
            }
            place = self.after(place);
        }
        self.places[gap] = 0;
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.places.len() - 1)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    fn tag(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !self.slot_mask
    }
}
