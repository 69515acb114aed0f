//! Who waits for a verdict, and until when.

/// No slot.
const NONE: u32 = u32::MAX;

/// Names an open entry; one that is closed is never named again by the same ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    slot: u32,
    generation: u32,
}

/// Entries in the order of their deadlines. Fixed capacity; every operation takes constant time.
#[derive(Debug)]
pub struct Book<T> {
    slots: Box<[Slot<T>]>,
    free: u32,
    oldest: u32,
    newest: u32,
    open: usize,
}

#[derive(Debug)]
struct Slot<T> {
    entry: Option<(u64, T)>,
    generation: u32,
    older: u32,
    /// The next newer open entry, or the next free slot.
    newer: u32,
}

impl<T> Book<T> {
    /// Room for `capacity` entries; allocates here and never again.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        let slot = |index| Slot {
            entry: None,
            generation: 0,
            older: NONE,
            newer: if index + 1 < capacity { index + 1 } else { NONE },
        };
        Self {
            slots: (0..capacity).map(slot).collect(),
            free: if capacity > 0 { 0 } else { NONE },
            oldest: NONE,
            newest: NONE,
            open: 0,
        }
    }

    /// A ticket for nothing.
    pub(super) const fn no_ticket() -> Ticket {
        Ticket {
            slot: NONE,
            generation: 0,
        }
    }

    /// Open entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Opens an entry; gives the value back if there is no room. Deadlines come in order: all entries wait
    /// equally long.
    pub fn open(&mut self, deadline_ns: u64, value: T) -> Result<Ticket, T> {
        let index = self.free;
        let newest = self.newest;
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Err(value);
        };
        self.free = slot.newer;
        slot.entry = Some((deadline_ns, value));
        (slot.older, slot.newer) = (newest, NONE);
        let generation = slot.generation;
        match self.slots.get_mut(newest as usize) {
            Some(before) => before.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
        self.open += 1;
        Ok(Ticket {
            slot: index,
            generation,
        })
    }

    /// Closes an entry, if it is still open.
    pub fn close(&mut self, ticket: Ticket) -> Option<T> {
        let slot = self.slots.get_mut(ticket.slot as usize)?;
        if slot.generation != ticket.generation {
            return None;
        }
        let (_, value) = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        let (older, newer) = (slot.older, slot.newer);
        slot.newer = self.free;
        self.free = ticket.slot;
        match self.slots.get_mut(older as usize) {
            Some(before) => before.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(behind) => behind.older = older,
            None => self.newest = older,
        }
        self.open -= 1;
        Some(value)
    }

    /// When the first entry is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let slot = self.slots.get(self.oldest as usize)?;
        slot.entry.as_ref().map(|(deadline, _)| *deadline)
    }

    /// Closes the first entry if it is due.
    pub fn close_due(&mut self, now_ns: u64) -> Option<(Ticket, T)> {
        if self.next_deadline()? > now_ns {
            return None;
        }
        let ticket = Ticket {
            slot: self.oldest,
            generation: self.slots[self.oldest as usize].generation,
        };
        Some((ticket, self.close(ticket)?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn at_the_bound_the_value_comes_back() {
        let mut book = Book::new(2);
        let first = book.open(1, "a").expect("room");
        book.open(1, "b").expect("room");
        assert_eq!(book.open(2, "c"), Err("c"));
        assert_eq!(book.close(first), Some("a"));
        assert_eq!(book.close(first), None, "a ticket is good once");
        let again = book.open(2, "c").expect("room again");
        assert_eq!(book.close(first), None, "and not for the next in its place");
        assert_eq!(book.close(again), Some("c"));
        assert!(Book::new(0).open(0, ()).is_err());
    }

    proptest! {
        #[test]
        fn does_what_a_list_does(steps in prop::collection::vec((0..4u8, 0..8usize, 0..3u64), 0..200)) {
            let mut book = Book::new(5);
            let mut list: VecDeque<(u64, Ticket, usize)> = VecDeque::new();
            let mut closed = Vec::new();
            let mut now = 0;
            for (number, (step, which, pause)) in steps.into_iter().enumerate() {
                now += pause;
                match step {
                    0 | 1 => match book.open(now + 4, number) {
                        Ok(ticket) => list.push_back((now + 4, ticket, number)),
                        Err(value) => prop_assert_eq!((value, list.len()), (number, 5)),
                    },
                    2 => {
                        if let Some((_, ticket, value)) = list.remove(which) {
                            prop_assert_eq!(book.close(ticket), Some(value));
                            closed.push(ticket);
                        }
                    }
                    _ => {
                        let due = list.front().is_some_and(|(deadline, ..)| *deadline <= now);
                        let expected = if due { list.pop_front() } else { None };
                        let expected = expected.map(|(_, ticket, value)| (ticket, value));
                        prop_assert_eq!(book.close_due(now), expected);
                        closed.extend(expected.map(|(ticket, _)| ticket));
                    }
                }
                prop_assert_eq!(book.len(), list.len());
                prop_assert_eq!(book.next_deadline(), list.front().map(|(deadline, ..)| *deadline));
                for ticket in &closed {
                    prop_assert_eq!(book.close(*ticket), None);
                }
            }
        }
    }
}
