//! Rings, maps and a clock in memory: the loop without a kernel, for tests, fuzzing and capture files.

use std::{
    collections::{HashMap, VecDeque},
    io,
    time::Duration,
};

use filter_common::{FlowKey, FlowState, metadata::Metadata};

use super::{Clock, KernelMaps, Rings};

/// A frame of the in-memory rings.
#[derive(Debug)]
pub struct MemoryFrame {
    bytes: Vec<u8>,
    metadata: Option<Metadata>,
    continues: bool,
}

impl AsRef<[u8]> for MemoryFrame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for MemoryFrame {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// Rings that are queues of byte vectors.
#[derive(Debug, Default)]
pub struct MemoryRings {
    incoming: VecDeque<MemoryFrame>,
    /// What was forwarded, in order.
    pub forwarded: Vec<Vec<u8>>,
    /// What was transmitted back, in order.
    pub transmitted: Vec<Vec<u8>>,
    /// How many frames were released.
    pub released: u64,
    /// How many were made.
    pub made: u64,
    /// Frames that may be made at once; `None` for any number.
    pub allocatable: Option<usize>,
}

impl MemoryRings {
    /// Puts a frame into the receive ring.
    pub fn push(&mut self, bytes: Vec<u8>, metadata: Option<Metadata>) {
        self.incoming.push_back(MemoryFrame {
            bytes,
            metadata,
            continues: false,
        });
    }

    /// Frames in the receive ring.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.incoming.len()
    }

    /// Puts a packet that takes several frames into the receive ring.
    pub fn push_parts(&mut self, parts: &[&[u8]], mut metadata: Option<Metadata>) {
        for (left, part) in (0..parts.len()).rev().zip(parts) {
            self.incoming.push_back(MemoryFrame {
                bytes: part.to_vec(),
                metadata: metadata.take(),
                continues: left > 0,
            });
        }
    }
}

impl Rings for MemoryRings {
    type Frame = MemoryFrame;

    fn receive(&mut self, batch: &mut Vec<MemoryFrame>) -> usize {
        let count = self.incoming.len().min(64);
        batch.extend(self.incoming.drain(..count));
        count
    }

    fn continues(&self, frame: &MemoryFrame) -> bool {
        frame.continues
    }

    fn take_metadata(&mut self, frame: &MemoryFrame) -> Option<Metadata> {
        frame.metadata
    }

    fn allocate(&mut self, bytes: &[u8]) -> Option<MemoryFrame> {
        if let Some(left) = &mut self.allocatable {
            *left = left.checked_sub(1)?;
        }
        self.made += 1;
        Some(MemoryFrame {
            bytes: bytes.to_vec(),
            metadata: None,
            continues: false,
        })
    }

    fn forward(&mut self, frame: MemoryFrame) {
        self.forwarded.push(frame.bytes);
    }

    fn transmit(&mut self, frame: MemoryFrame) {
        self.transmitted.push(frame.bytes);
    }

    fn release(&mut self, _frame: MemoryFrame) {
        self.released += 1;
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, _timeout: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// Maps that are hash tables.
#[derive(Debug, Default)]
pub struct MemoryMaps {
    /// The flow entries.
    pub flows: HashMap<FlowKey, FlowState>,
    /// Frames reported as consumed.
    pub consumed: u64,
    /// The queue, for flows that are taken over.
    pub queue: u16,
    /// The last heartbeat.
    pub heartbeat: u64,
}

impl KernelMaps for MemoryMaps {
    fn flow(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.flows.get(key).copied()
    }

    fn block_flow(&mut self, key: &FlowKey, until_ns: u64) {
        let state = self.flows.entry(*key).or_default();
        state.path = FlowState::PATH_BLOCK;
        state.until_ns = until_ns;
    }

    fn inspect_flow(&mut self, key: &FlowKey) {
        let state = self.flows.entry(*key).or_insert_with(|| FlowState::inspect(0));
        if state.path == FlowState::PATH_PASS {
            state.path = FlowState::PATH_INSPECT;
        }
    }

    fn forget_flow(&mut self, key: &FlowKey) {
        if self
            .flows
            .get(key)
            .is_some_and(|state| state.path == FlowState::PATH_INSPECT)
        {
            self.flows.remove(key);
        }
    }

    fn own_flow(&mut self, key: &FlowKey) {
        if let Some(state) = self.flows.get_mut(key) {
            state.queue = self.queue;
        }
    }

    fn beat(&mut self, now_ns: u64) {
        self.heartbeat = now_ns;
    }

    fn consumed(&mut self, count: u64) {
        self.consumed += count;
    }

    fn settle(&mut self) {}
}

/// A clock that is set by hand.
#[derive(Clone, Debug, Default)]
pub struct MemoryClock(std::rc::Rc<std::cell::Cell<u64>>);

impl MemoryClock {
    /// Sets the time.
    pub fn set(&self, now_ns: u64) {
        self.0.set(now_ns);
    }
}

impl Clock for MemoryClock {
    fn now(&mut self) -> u64 {
        self.0.get()
    }
}
