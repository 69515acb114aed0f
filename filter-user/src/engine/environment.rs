//! What the loop needs of the world.

use std::{io, os::fd::BorrowedFd, time::Duration};

use filter_common::{FlowKey, FlowState, metadata::Metadata};

/// Frames in and out.
pub trait Rings {
    /// An owned frame. It has to be given back by `forward`, `transmit` or `release`.
    type Frame: AsRef<[u8]> + AsMut<[u8]>;

    /// Moves received frames to `batch`; returns how many. The bound is the implementation's.
    fn receive(&mut self, batch: &mut Vec<Self::Frame>) -> usize;

    /// Whether the packet in a received frame goes on in the next one.
    fn continues(&self, frame: &Self::Frame) -> bool;

    /// What the XDP program noted about a received packet, once; it is with the first of its frames.
    fn take_metadata(&mut self, frame: &Self::Frame) -> Option<Metadata>;

    /// A frame holding `bytes`, or `None` if there is none free or they do not fit.
    fn allocate(&mut self, bytes: &[u8]) -> Option<Self::Frame>;

    /// Sends a frame on towards the server, at the next flush.
    fn forward(&mut self, frame: Self::Frame);

    /// Sends a frame back towards the client, at the next flush.
    fn transmit(&mut self, frame: Self::Frame);

    /// Gives a frame back.
    fn release(&mut self, frame: Self::Frame);

    /// Submits what is to be sent, takes back what has been.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    fn flush(&mut self) -> io::Result<()>;

    /// Packets that the kernel redirected here and could not deliver, since the last call. Rings in memory lose none.
    fn lost(&mut self) -> u64 {
        0
    }

    /// Stays awake for a moment, well below a microsecond, or until a frame is there. Rings in memory need not.
    fn linger(&mut self) {}

    /// Sleeps until a frame arrives or the time is over.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    fn wait(&mut self, timeout: Duration) -> io::Result<()>;

    /// Sleeps until a frame arrives, one of `bells` becomes readable or the time is over. Rings in memory do not sleep.
    ///
    /// # Errors
    ///
    /// When a device has gone.
    fn wait_or(&mut self, timeout: Duration, bells: [Option<BorrowedFd<'_>>; 2]) -> io::Result<()> {
        let _ = bells;
        self.wait(timeout)
    }
}

/// The maps shared with the XDP program. Calls may cost a system call each, so none is made for every packet
/// except [`KernelMaps::consumed`], which writes to mapped memory.
pub trait KernelMaps {
    /// The flow's entry: what was observed of the server's replies.
    fn flow(&mut self, key: &FlowKey) -> Option<FlowState>;

    /// Drops every further packet of the flow until `until_ns`.
    fn block_flow(&mut self, key: &FlowKey, until_ns: u64);

    /// Has every further packet of the flow redirected, unless it is blocked.
    fn inspect_flow(&mut self, key: &FlowKey);

    /// Removes the flow's entry, unless it is a block: that holds until its time is over.
    fn forget_flow(&mut self, key: &FlowKey);

    /// Says that the flow, which came in by another queue, is this loop's from now on. Nothing is known of it afterwards if its entry
    /// has gone.
    fn own_flow(&mut self, key: &FlowKey);

    /// Says that the loop is alive: every few milliseconds, as the XDP program reads it for every packet.
    fn beat(&mut self, now_ns: u64);

    /// Says that `count` more frames were taken from the ring.
    fn consumed(&mut self, count: u64);

    /// Called now and then, at least some ten milliseconds apart, when the ring is empty: gives up on frames that were
    /// redirected before the last call and never came.
    fn settle(&mut self);
}

/// The time.
pub trait Clock {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    fn now(&mut self) -> u64;
}
