//! The traits of [`super::environment`] on the real thing.

use std::{io, os::fd::BorrowedFd, time::Duration};

use filter_common::{FlowKey, FlowState, metadata::Metadata};

use super::{Clock, KernelMaps, Rings};
use crate::{
    bpf::{Tables, monotonic_ns},
    ring::{Frame, QueueHandle, QueueRings},
};

impl Rings for QueueRings {
    type Frame = Frame;

    fn receive(&mut self, batch: &mut Vec<Frame>) -> usize {
        Self::receive(self, batch)
    }

    fn continues(&self, frame: &Frame) -> bool {
        frame.continues()
    }

    fn take_metadata(&mut self, frame: &Frame) -> Option<Metadata> {
        Self::take_metadata(self, frame)
    }

    fn allocate(&mut self, bytes: &[u8]) -> Option<Frame> {
        Self::allocate(self, bytes)
    }

    fn forward(&mut self, frame: Frame) {
        Self::forward(self, frame);
    }

    fn transmit(&mut self, frame: Frame) {
        Self::transmit(self, frame);
    }

    fn release(&mut self, frame: Frame) {
        Self::release(self, frame);
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self)
    }

    fn lost(&mut self) -> u64 {
        Self::lost(self)
    }

    fn linger(&mut self) {
        Self::linger(self);
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        Self::wait(self, timeout).map(|_ready| ())
    }

    fn wait_or(&mut self, timeout: Duration, bells: [Option<BorrowedFd<'_>>; 2]) -> io::Result<()> {
        Self::wait_or(self, timeout, bells)
    }
}

/// An update that makes no new entry (`BPF_EXIST`).
const EXIST: u64 = 2;

/// The pinned maps and the mapped state of one queue.
#[derive(Debug)]
pub struct LiveMaps {
    tables: Tables,
    queue: QueueHandle,
    redirected_before: u64,
}

impl LiveMaps {
    /// The maps of one queue. Packets redirected before now count as consumed, and none is redirected until the
    /// first beat: a predecessor's may be recent enough to be taken for this one's.
    #[must_use]
    pub fn new(tables: Tables, queue: QueueHandle) -> Self {
        queue.set_heartbeat(0);
        let redirected = queue.redirected();
        queue.set_consumed(redirected);
        Self {
            tables,
            queue,
            redirected_before: redirected,
        }
    }
}

impl KernelMaps for LiveMaps {
    fn flow(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.tables.flows.get(key, 0).ok()
    }

    fn block_flow(&mut self, key: &FlowKey, until_ns: u64) {
        let mut state = self.tables.flows.get(key, 0).unwrap_or_default();
        state.path = FlowState::PATH_BLOCK;
        state.until_ns = until_ns;
        if let Err(error) = self.tables.flows.insert(key, state, 0) {
            // The engine itself still drops the flow's packets.
            tracing::debug!("cannot mark a flow as blocked: {error}");
        }
    }

    fn inspect_flow(&mut self, key: &FlowKey) {
        let state = match self.tables.flows.get(key, 0) {
            Ok(state) if state.path != FlowState::PATH_PASS => return,
            Ok(state) => FlowState {
                path: FlowState::PATH_INSPECT,
                ..state
            },
            Err(_) => FlowState::inspect(self.queue.number()),
        };
        if let Err(error) = self.tables.flows.insert(key, state, 0) {
            tracing::debug!("cannot mark a flow as inspected: {error}");
        }
    }

    fn forget_flow(&mut self, key: &FlowKey) {
        // A blocked flow stays in the map until its block is over; the map is an LRU.
        if self
            .tables
            .flows
            .get(key, 0)
            .is_ok_and(|state| state.path == FlowState::PATH_INSPECT)
        {
            // Gone already is as good.
            let _ = self.tables.flows.remove(key);
        }
    }

    fn own_flow(&mut self, key: &FlowKey) {
        // What the observer writes meanwhile is lost, as it may be at any time: it only ever trails the truth.
        if let Ok(mut state) = self.tables.flows.get(key, 0) {
            state.queue = self.queue.number() as u16;
            if let Err(error) = self.tables.flows.insert(key, state, EXIST) {
                tracing::debug!("cannot take over a flow: {error}");
            }
        }
    }

    fn beat(&mut self, now_ns: u64) {
        self.queue.set_heartbeat(now_ns);
    }

    fn consumed(&mut self, count: u64) {
        self.queue.set_consumed(self.queue.consumed().wrapping_add(count));
    }

    fn settle(&mut self) {
        let (redirected, before) = (self.queue.redirected(), self.redirected_before);
        // The ring is empty: what was redirected so long ago and is still open was lost on the way. Nothing is open at
        // all if nothing has been redirected since, however much was counted.
        let is_open = before.wrapping_sub(self.queue.consumed()).cast_signed() > 0;
        if is_open || redirected == before {
            self.queue.set_consumed(before);
        }
        self.redirected_before = redirected;
    }
}

/// `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&mut self) -> u64 {
        monotonic_ns()
    }
}
