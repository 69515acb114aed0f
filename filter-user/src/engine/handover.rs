//! Packets of a flow that come in by another queue than the flow did: the number of queues was changed, or the NIC spreads packets
//! otherwise since. What is known of the flow stays with the thread that knows it; the packets go there, as copies.
//!
//! Each thread has a bounded, lock-free inbox; the buffers are made at start and go round. A packet for which there is none, or
//! no room in the inbox, is dropped and counted: TCP sends it again.
//!
//! With several interfaces the packets may come in by another one. A frame is for the hardware address of the interface that it came
//! in by, which tells the thread that knows the flow what to do: what goes on into the stack by this thread's own device gets the
//! address that the stack expects there, and what goes back to the client takes the same way to the other thread, which sends it.

use std::{io, sync::Arc};

use crossbeam_queue::ArrayQueue;
use filter_common::FlowState;

use super::{Clock, EngineDrop, KernelMaps, Rings, Worker, arrival::Arrival, inspect::Inspected};
use crate::{
    deep::{Bell, Sleeper},
    flow::Flags,
};

/// Packets that may be on their way to one thread.
const PARCELS: usize = 256;
/// Packets from other threads that are handled in one round.
const BATCH: usize = 64;

/// A frame on its way.
#[derive(Debug)]
struct Parcel {
    bytes: Vec<u8>,
    what: What,
}

/// What a frame is to the thread that gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A packet of a flow that it knows.
    Packet(Arrival),
    /// Made for a client that is behind its interface.
    Answer,
}

/// A hardware address.
type Address = [u8; 6];

#[derive(Debug)]
struct Inbox {
    parcels: ArrayQueue<Parcel>,
    bell: Bell,
}

/// The inboxes of all threads of an engine.
#[derive(Debug)]
pub struct Handover {
    inboxes: Vec<Inbox>,
    buffers: ArrayQueue<Vec<u8>>,
    /// Those of the queues' interfaces; empty if there is but one interface.
    addresses: Vec<Address>,
}

impl Handover {
    /// Inboxes for the threads of so many queues, and buffers of so many bytes for the packets.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub fn new(queues: u32, bytes: usize) -> io::Result<Arc<Self>> {
        Self::between(&vec![Address::default(); queues as usize], bytes)
    }

    /// The same for queues of several interfaces, each with the hardware address of its interface.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub fn between(addresses: &[Address], bytes: usize) -> io::Result<Arc<Self>> {
        let inboxes = addresses.iter().map(|_| {
            Ok(Inbox {
                parcels: ArrayQueue::new(PARCELS),
                bell: Bell::new()?,
            })
        });
        let buffers = ArrayQueue::new(PARCELS);
        while buffers.push(Vec::with_capacity(bytes)).is_ok() {}
        let is_one = addresses.windows(2).all(|pair| pair[0] == pair[1]);
        Ok(Arc::new(Self {
            addresses: if is_one { Vec::new() } else { addresses.to_vec() },
            inboxes: inboxes.collect::<io::Result<_>>()?,
            buffers,
        }))
    }

    /// The inbox of a queue's thread, from which it also sends to the others.
    #[must_use]
    pub fn inbox(self: &Arc<Self>, queue: u32) -> Mailbox {
        Mailbox {
            handover: Arc::clone(self),
            queue: queue as usize,
        }
    }
}

/// One thread's part of it.
#[derive(Debug)]
pub struct Mailbox {
    handover: Arc<Handover>,
    queue: usize,
}

impl Mailbox {
    /// Whether another thread reads this queue.
    pub(super) fn is_other(&self, queue: u16) -> bool {
        let queue = usize::from(queue);
        queue != self.queue && queue < self.handover.inboxes.len()
    }

    /// A queue of the interface with this hardware address, if that is another one than this thread's.
    pub(super) fn other_interface(&self, address: &[u8]) -> Option<u16> {
        let addresses = &self.handover.addresses;
        if *addresses.get(self.queue)? == *address {
            return None;
        }
        let queue = addresses.iter().position(|other| *other == *address)?;
        u16::try_from(queue).ok()
    }

    /// Makes a frame that came in by another interface one for this thread's own: the stack takes no other from its device.
    pub(super) fn readdress(&self, frame: &mut [u8]) {
        let Some(own) = self.handover.addresses.get(self.queue) else {
            return;
        };
        if let Some(destination) = frame.first_chunk_mut::<6>()
            && destination != own
            && self.handover.addresses.contains(destination)
        {
            *destination = *own;
        }
    }

    /// Sends a copy of a frame to the thread of `queue`. False if there is no room.
    pub(super) fn send(&self, queue: u16, frame: &[u8], what: What) -> bool {
        let Some(inbox) = self.handover.inboxes.get(usize::from(queue)) else {
            return false;
        };
        let Some(mut bytes) = self.handover.buffers.pop() else {
            return false;
        };
        bytes.clear();
        if frame.len() > bytes.capacity() {
            self.give_back(bytes);
            return false;
        }
        bytes.extend_from_slice(frame);
        match inbox.parcels.push(Parcel { bytes, what }) {
            Ok(()) => {
                inbox.bell.ring();
                true
            }
            Err(parcel) => {
                self.give_back(parcel.bytes);
                false
            }
        }
    }

    /// The next frame for this thread; its buffer has to be [given back](Self::give_back).
    pub(super) fn next(&self) -> Option<(Vec<u8>, What)> {
        let parcel = self.inbox().parcels.pop()?;
        Some((parcel.bytes, parcel.what))
    }

    pub(super) fn give_back(&self, bytes: Vec<u8>) {
        let returned = self.handover.buffers.push(bytes);
        debug_assert!(returned.is_ok(), "there are as many places as buffers");
    }

    /// The thread is about to sleep, and wants to be woken by a packet; `None` if there is one.
    pub(super) fn sleeper(&self) -> Option<Sleeper<'_>> {
        let sleeper = self.inbox().bell.announce();
        self.inbox().parcels.is_empty().then_some(sleeper)
    }

    fn inbox(&self) -> &Inbox {
        &self.handover.inboxes[self.queue]
    }
}

impl<R: Rings, M: KernelMaps, C: Clock> Worker<R, M, C> {
    /// The queue whose thread knows the flow of a packet, if that is another one. The map has it from the flow's first packet.
    pub(super) fn other_owner(&mut self, inspected: &Inspected) -> Option<u16> {
        let mailbox = self.mailbox.as_ref()?;
        if self.takes_over || inspected.segment.flags.has(Flags::SYN) {
            return None;
        }
        let state = self.maps.flow(&inspected.key)?;
        (state.path == FlowState::PATH_INSPECT && mailbox.is_other(state.queue)).then_some(state.queue)
    }

    pub(super) fn hand_over(&mut self, owner: u16, frame: R::Frame, arrival: Arrival) {
        let mailbox = self.mailbox.as_ref();
        if mailbox.is_none_or(|mailbox| !mailbox.send(owner, frame.as_ref(), What::Packet(arrival))) {
            return self.discard(frame, EngineDrop::HandoverFull);
        }
        self.counters.received -= 1;
        self.counters.handed_over += 1;
        self.rings.release(frame);
    }

    /// Handles what other threads have handed over. Returns whether there was anything.
    pub(super) fn take_handed_over(&mut self) -> bool {
        let mut any = false;
        for _ in 0..BATCH {
            let Some((mut bytes, what)) = self.mailbox.as_ref().and_then(Mailbox::next) else {
                break;
            };
            any = true;
            match what {
                What::Answer => self.send_back(&bytes),
                What::Packet(arrival) => {
                    let now = self.clock.now();
                    if self.is_stale(arrival, now) {
                        self.lose(EngineDrop::Stale);
                    } else {
                        // The flow is this thread's, whatever the map says meanwhile.
                        self.takes_over = true;
                        self.handle_whole(&mut bytes, arrival, now);
                        self.takes_over = false;
                    }
                }
            }
            if let Some(mailbox) = &self.mailbox {
                mailbox.give_back(bytes);
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival() -> What {
        What::Packet(Arrival::new(None, 7))
    }

    #[test]
    fn packets_arrive_in_order_and_buffers_go_round() {
        let handover = Handover::new(2, 100).expect("eventfds");
        let (one, other) = (handover.inbox(0), handover.inbox(1));
        for round in 0..3 * PARCELS {
            assert!(one.send(1, &[round as u8; 100], arrival()));
            assert!(one.send(1, &[1], arrival()));
            for expected in [&[round as u8; 100][..], &[1]] {
                let (bytes, came) = other.next().expect("it was sent");
                assert_eq!((&bytes[..], came), (expected, arrival()));
                other.give_back(bytes);
            }
        }
        assert!(other.next().is_none() && one.next().is_none());
    }

    #[test]
    fn at_the_bounds_packets_are_refused() {
        let handover = Handover::new(2, 10).expect("eventfds");
        let (one, other) = (handover.inbox(0), handover.inbox(1));
        assert!(!one.send(1, &[0; 11], arrival()), "larger than a buffer");
        assert!(!one.send(2, &[0; 10], arrival()), "no such queue");
        for _ in 0..PARCELS {
            assert!(one.send(1, &[0; 10], arrival()));
        }
        assert!(!one.send(1, &[0; 10], arrival()), "no buffer");
        other.give_back(other.next().expect("it was sent").0);
        assert!(one.send(1, &[0; 10], arrival()));
        assert!(one.is_other(1) && !one.is_other(0) && !one.is_other(2));
    }

    #[test]
    fn frames_know_their_interface_where_there_are_several() {
        let [one, two, foreign] = [1, 2, 3].map(|last| [2, 0, 0, 0, 0, last]);
        let handover = Handover::between(&[one, one, two], 10).expect("eventfds");
        let (first, last) = (handover.inbox(0), handover.inbox(2));
        assert_eq!(first.other_interface(&two), Some(2));
        assert_eq!(last.other_interface(&one), Some(0));
        for address in [one, foreign] {
            assert_eq!(first.other_interface(&address), None);
        }
        for (came, goes) in [(one, one), (two, one), (foreign, foreign)] {
            let mut frame = [&came[..], b"rest"].concat();
            first.readdress(&mut frame);
            assert_eq!(frame, [&goes[..], b"rest"].concat());
        }
        first.readdress(&mut two[..5].to_vec());
        let alone = Handover::between(&[one, one], 10).expect("eventfds").inbox(0);
        assert_eq!(alone.other_interface(&two), None);
        let mut frame = two;
        alone.readdress(&mut frame);
        assert_eq!(frame, two);
    }

    #[test]
    fn nobody_sleeps_while_there_is_a_packet() {
        let handover = Handover::new(2, 10).expect("eventfds");
        let (one, other) = (handover.inbox(0), handover.inbox(1));
        assert!(other.sleeper().is_some());
        assert!(one.send(1, &[0], arrival()));
        assert!(other.sleeper().is_none());
    }
}
