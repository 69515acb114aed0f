//! The queues of an engine: those of all its interfaces, numbered through.

use anyhow::ensure;
use filter_common::{MAX_QUEUES, queue::InterfaceQueues};

/// A queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its number in the engine.
    pub(super) number: u32,
    /// Its interface: the first, second and so on.
    pub(super) interface: usize,
    /// Its number there.
    pub(super) rx_queue: u32,
}

/// All queues, interface by interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    of_each: Vec<u32>,
}

impl Slots {
    /// So many queues of each interface.
    ///
    /// # Errors
    ///
    /// When they are more than the maps have room for.
    pub(super) fn new(of_each: Vec<u32>) -> anyhow::Result<Self> {
        let total = of_each
            .iter()
            .fold(0, |total: u32, count| total.saturating_add(*count));
        ensure!(
            total <= MAX_QUEUES,
            "{total} RX queues, more than the {MAX_QUEUES} that are supported; set engine.queues"
        );
        Ok(Self { of_each })
    }

    /// How many there are.
    pub(super) fn total(&self) -> u32 {
        self.of_each.iter().sum()
    }

    /// How many each interface has.
    pub(super) fn of_each(&self) -> &[u32] {
        &self.of_each
    }

    /// Which of them each interface has.
    pub(super) fn ranges(&self) -> impl Iterator<Item = InterfaceQueues> {
        self.of_each.iter().scan(0, |next, &count| {
            let first = *next;
            *next += count;
            Some(InterfaceQueues { first, count })
        })
    }

    /// All of them by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.ranges().enumerate().flat_map(|(interface, range)| {
            (0..range.count).map(move |rx_queue| Slot {
                number: range.first + rx_queue,
                interface,
                rx_queue,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_numbered_through() {
        let slots = Slots::new(vec![2, 1, 3]).expect("few");
        let places: Vec<_> = slots.iter().map(|slot| (slot.interface, slot.rx_queue)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)]);
        assert!(slots.iter().map(|slot| slot.number).eq(0..slots.total()));
        assert!(slots.ranges().map(|range| range.first).eq([0, 2, 3]));
    }

    #[test]
    fn there_are_no_more_than_the_maps_have_room_for() {
        assert_eq!(
            Slots::new(vec![MAX_QUEUES - 1, 1]).expect("all").total(),
            MAX_QUEUES
        );
        for of_each in [vec![MAX_QUEUES, 1], vec![u32::MAX, u32::MAX]] {
            let error = Slots::new(of_each).expect_err("too many").to_string();
            assert!(error.contains("engine.queues"), "{error}");
        }
    }
}
