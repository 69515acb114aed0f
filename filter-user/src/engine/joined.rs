//! A packet that comes in parts, put back together.

use super::{EngineDrop, arrival::Arrival};

/// The largest packet there is: 65,535 bytes behind an IPv6 header and a link header with two VLAN tags.
const LARGEST: usize = 14 + 8 + 40 + 65_535;

/// Room for one packet.
#[derive(Debug, Default)]
pub(super) struct Joined {
    bytes: Vec<u8>,
    /// Of the packet that is being put together.
    arrival: Option<Arrival>,
    too_large: bool,
}

impl Joined {
    /// Takes all the memory it will use.
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(LARGEST),
            ..Self::default()
        }
    }

    /// Whether parts are still to come.
    pub(super) fn is_open(&self) -> bool {
        self.arrival.is_some()
    }

    /// Begins a packet. Parts of one that has not ended are forgotten.
    pub(super) fn begin(&mut self, arrival: Arrival) {
        self.bytes.clear();
        self.too_large = false;
        self.arrival = Some(arrival);
    }

    /// Adds the next part.
    pub(super) fn add(&mut self, part: &[u8]) {
        self.too_large |= self.bytes.len() + part.len() > LARGEST;
        if !self.too_large {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Ends the packet.
    pub(super) fn end(&mut self) -> (Arrival, Result<&mut [u8], EngineDrop>) {
        let bytes = if self.too_large {
            Err(EngineDrop::TooLarge)
        } else {
            Ok(&mut self.bytes[..])
        };
        (self.arrival.take().unwrap_or_default(), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_a_packet_in_the_memory_taken_at_first() {
        let mut joined = Joined::new();
        let place = joined.bytes.as_ptr();
        for time_ns in 1..4 {
            let arrival = Arrival {
                time_ns,
                ..Arrival::default()
            };
            joined.begin(arrival);
            for part in [&b"one"[..], b"", b"two"] {
                assert!(joined.is_open());
                joined.add(part);
            }
            let (came, bytes) = joined.end();
            assert_eq!(came, arrival);
            assert_eq!(bytes.expect("it fits"), b"onetwo");
            assert!(!joined.is_open());
        }
        assert_eq!(joined.bytes.as_ptr(), place);
    }

    #[test]
    fn what_is_larger_than_any_packet_is_given_up_whole_and_the_next_is_not() {
        let mut joined = Joined::new();
        let place = joined.bytes.as_ptr();
        joined.begin(Arrival::default());
        joined.add(&vec![0; LARGEST]);
        joined.add(b"");
        assert_eq!(joined.end().1.map(|bytes| bytes.len()), Ok(LARGEST));

        joined.begin(Arrival::default());
        joined.add(&vec![0; LARGEST]);
        for _ in 0..100 {
            joined.add(&[0; 2000]);
        }
        joined.add(b"");
        assert_eq!(joined.end().1, Err(EngineDrop::TooLarge));

        joined.begin(Arrival::default());
        joined.add(b"next");
        assert_eq!(joined.end().1.expect("it fits"), b"next");
        assert_eq!(joined.bytes.as_ptr(), place);
    }

    #[test]
    fn parts_of_a_packet_that_never_ended_are_in_no_other() {
        let mut joined = Joined::new();
        joined.begin(Arrival::default());
        joined.add(b"lost");
        joined.begin(Arrival::default());
        joined.add(b"next");
        assert_eq!(joined.end().1.expect("it fits"), b"next");
    }
}
