//! A small TCP receiver: what a server would hand to its application from the frames that reach it.

use std::collections::{HashMap, HashSet};

use filter_user::flow::{Flags, Replies, Reply, Seq, SynAck};

use crate::harness::Frame;

/// Which bytes a receiver keeps when two segments ahead of a gap differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overlap {
    First,
    Last,
}

/// What one connection delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Connection {
    pub(crate) isn: Seq,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ended: bool,
}

pub(crate) struct Receiver {
    overlap: Overlap,
    pub(crate) connections: Vec<Connection>,
    open: bool,
    pub(crate) next: Seq,
    queue: HashMap<Seq, u8>,
    ends: HashSet<Seq>,
    /// Connections accepted: a client knows the server's sequence numbers only of those it saw accepted.
    pub(crate) epoch: usize,
}

const WINDOW: i32 = 1 << 20;

impl Receiver {
    pub(crate) fn new(overlap: Overlap) -> Self {
        Self {
            overlap,
            connections: Vec::new(),
            open: false,
            next: Seq(0),
            queue: HashMap::new(),
            ends: HashSet::new(),
            epoch: 0,
        }
    }

    pub(crate) fn receive(&mut self, frame: &Frame) {
        let segment = frame.segment;
        if segment.flags.has(Flags::SYN) {
            return self.receive_syn(segment.seq);
        }
        if frame.epoch != self.epoch || !self.open {
            return;
        }
        if segment.flags.has(Flags::RST) {
            self.open &= segment.seq != self.next;
            return;
        }
        let ended = self.connections.last().is_some_and(|connection| connection.ended);
        let beyond = segment.end().since(self.next);
        if !segment.flags.has(Flags::ACK) || ended || beyond <= 0 || beyond > WINDOW {
            return;
        }
        for (seq, &byte) in (0..).map(|n| segment.seq + n).zip(frame.payload()) {
            match self.overlap {
                _ if seq.before(self.next) => {}
                Overlap::First => _ = self.queue.entry(seq).or_insert(byte),
                Overlap::Last => _ = self.queue.insert(seq, byte),
            }
        }
        if segment.fin() && !segment.data_end().before(self.next) {
            self.ends.insert(segment.data_end());
        }
        self.deliver();
    }

    /// A connection that is over may be opened again on the same ports; a live one only answers.
    pub(crate) fn receive_syn(&mut self, isn: Seq) {
        if self.open
            && self
                .connections
                .last()
                .is_some_and(|connection| !connection.ended)
        {
            return;
        }
        self.connections.push(Connection {
            isn,
            bytes: Vec::new(),
            ended: false,
        });
        self.open = true;
        self.next = isn + 1;
        self.queue.clear();
        self.ends.clear();
        self.epoch += 1;
    }

    fn deliver(&mut self) {
        let connection = self
            .connections
            .last_mut()
            .expect("an open receiver has a connection");
        loop {
            if self.ends.contains(&self.next) {
                connection.ended = true;
                self.next += 1;
                return;
            }
            let Some(byte) = self.queue.remove(&self.next) else {
                return;
            };
            connection.bytes.push(byte);
            self.next += 1;
        }
    }
}

impl Replies for Receiver {
    fn look(&mut self) -> Option<Reply> {
        let connection = self.connections.last()?;
        let syn_ack = SynAck {
            seq: Seq(self.epoch as u32),
            acknowledged: connection.isn + 1,
        };
        Some(Reply {
            acknowledged: self.next,
            syn_ack: Some(syn_ack),
        })
    }
}
