//! Packets that do not come in one frame: whole first, then cut into segments that do.

use std::mem::take;

use filter_common::{Packet, Reason};

use super::{Clock, EngineDrop, KernelMaps, Rings, Worker, arrival::Arrival, cut::Cut, joined::Joined};

impl<R: Rings, M: KernelMaps, C: Clock> Worker<R, M, C> {
    /// A packet that came in parts, or in a frame that is too large.
    pub(super) fn handle_joined(&mut self, joined: &mut Joined, dequeued: u64) {
        let (arrival, bytes) = joined.end();
        self.counters.read += 1;
        self.counters.joined += 1;
        let stale = self.is_stale(arrival, dequeued);
        match bytes {
            _ if stale => self.lose(EngineDrop::Stale),
            Ok(bytes) => self.handle_whole(bytes, arrival, dequeued),
            Err(reason) => self.lose(reason),
        }
    }

    /// A fragment, and its packet with it if it was the last one missing.
    pub(super) fn handle_fragment(&mut self, frame: R::Frame, arrival: Arrival, dequeued: u64) {
        // It is received again, as a part of its packet or as lost.
        self.counters.received -= 1;
        self.counters.fragments += 1;
        let mut fragments = take(&mut self.fragments);
        if let Ok(Some(packet)) = Packet::parse(frame.as_ref())
            && let Some(bytes) = fragments.take(frame.as_ref(), &packet, dequeued)
        {
            self.handle_whole(bytes, arrival, dequeued);
        }
        self.rings.release(frame);
        self.fragments = fragments;
        self.count_fragments_given_up();
    }

    /// Gives up fragments whose packet has not become complete in time.
    pub(super) fn expire_fragments(&mut self, now: u64) {
        self.fragments.expire(now);
        self.count_fragments_given_up();
    }

    fn count_fragments_given_up(&mut self) {
        for _ in 0..self.fragments.given_up() {
            self.lose(EngineDrop::Fragment);
        }
    }

    /// A packet that is not in a frame any more: its segments get frames of their own.
    pub(super) fn handle_whole(&mut self, bytes: &mut [u8], arrival: Arrival, dequeued: u64) {
        let mut cut = match Cut::new(bytes, &self.limits(arrival)) {
            Ok(cut) => cut,
            Err(reason) => return self.lose(reason),
        };
        // Of a fragment the XDP program knows the address alone.
        let inspected = arrival.reason != Some(Reason::FragmentInspect) || self.judge.inspects(cut.packet());
        while let Some(segment) = cut.next_segment() {
            self.counters.received += 1;
            match self.rings.allocate(segment) {
                Some(frame) if inspected => self.handle(frame, arrival, dequeued),
                Some(frame) => self.send_on(frame, arrival),
                None => self.counters.drop(EngineDrop::NoFrame),
            }
        }
    }

    pub(super) fn lose(&mut self, reason: EngineDrop) {
        self.counters.received += 1;
        self.counters.drop(reason);
    }
}
