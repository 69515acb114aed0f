//! A stream with its pools, as an engine would drive it, and a book of where every frame is.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use filter_user::flow::{
    Action, Continuity, DropReason, EvidencePool, Flags, HoldPool, Reassembly, Segment, Seq, Stream,
    StreamLimits, Unobserved,
};

use crate::receiver::{Connection, Overlap, Receiver};

/// Bytes before the payload, so that offsets matter.
const HEADER: usize = 3;

/// A payload with this byte is rejected.
pub(crate) const BAD: u8 = 0xee;

/// A frame that is counted while it exists.
pub(crate) struct Frame {
    bytes: Vec<u8>,
    pub(crate) segment: Segment,
    pub(crate) epoch: usize,
    /// It goes on but never arrives.
    pub(crate) lost: bool,
    alive: Rc<Cell<usize>>,
}

impl Frame {
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

pub(crate) struct Engine {
    stream: Option<Stream>,
    pub(crate) shared: Reassembly<Frame>,
    pub(crate) receiver: Receiver,
    observed: bool,
    /// Forwarded, and not yet at the receiver.
    pub(crate) wire: VecDeque<Frame>,
    /// What was scored as good, for each connection.
    pub(crate) scored: Vec<Connection>,
    /// Where each scored connection's next byte is.
    next: Seq,
    alive: Rc<Cell<usize>>,
    offered: usize,
    forwarded: usize,
    dropped: usize,
    pub(crate) last_drop: Option<DropReason>,
}

pub(crate) struct Setup {
    pub(crate) limits: StreamLimits,
    pub(crate) chunks: usize,
    pub(crate) chunk: usize,
    pub(crate) share: u32,
    pub(crate) overlap: Overlap,
    pub(crate) observed: bool,
}

impl Engine {
    pub(crate) fn new(setup: &Setup) -> Self {
        let evidence = EvidencePool::new(setup.chunks, setup.chunk, setup.share);
        Self {
            stream: Some(Stream::new(7)),
            shared: Reassembly::new(setup.limits, evidence, HoldPool::new(16, 4096)),
            receiver: Receiver::new(setup.overlap),
            observed: setup.observed,
            wire: VecDeque::new(),
            scored: Vec::new(),
            next: Seq(0),
            alive: Rc::default(),
            offered: 0,
            forwarded: 0,
            dropped: 0,
            last_drop: None,
        }
    }

    pub(crate) fn send(&mut self, seq: Seq, flags: Flags, payload: &[u8], lost: bool) {
        let bytes: Vec<u8> = [0xaa; HEADER]
            .into_iter()
            .chain(payload.iter().copied())
            .collect();
        let segment = Segment {
            seq,
            flags,
            offset: HEADER as u16,
            len: payload.len() as u16,
        };
        self.alive.set(self.alive.get() + 1);
        let frame = Frame {
            bytes,
            segment,
            epoch: self.receiver.epoch,
            lost,
            alive: self.alive.clone(),
        };
        self.offered += 1;
        self.last_drop = None;
        let mut stream = self.stream.take().expect("the stream is there until the end");
        let mut unobserved = Unobserved;
        let action = if self.observed {
            stream.offer(&mut self.shared, segment, frame, &mut self.receiver)
        } else {
            stream.offer(&mut self.shared, segment, frame, &mut unobserved)
        };
        let mut book = Book {
            wire: &mut self.wire,
            scored: &mut self.scored,
            next: &mut self.next,
            forwarded: &mut self.forwarded,
            dropped: &mut self.dropped,
            last_drop: &mut self.last_drop,
        };
        book.enter(action);
        while let Some(action) = stream.next_held(&mut self.shared) {
            assert!(!matches!(action, Action::Hold));
            book.enter(action);
        }
        self.stream = Some(stream);
        self.audit();
    }

    /// Another engine takes over: what it knows of the stream is what can be written down.
    pub(crate) fn hand_over(&mut self) {
        let stream = self.stream.take().expect("the stream is there until the end");
        let dropped = &mut self.dropped;
        let continuation = stream.suspend(&mut self.shared, |_frame| *dropped += 1);
        assert_eq!(self.shared.evidence.free_chunks(), self.shared.evidence.chunks());
        let bytes = postcard::to_stdvec(&continuation).expect("it can be written");
        let continuation = postcard::from_bytes(&bytes).expect("and read again");
        self.stream = Some(Stream::continuing(&continuation, &mut self.shared, 7));
        self.audit();
    }

    /// The first `count` frames on the wire arrive.
    pub(crate) fn arrive(&mut self, count: usize) {
        for frame in self.wire.drain(..count.min(self.wire.len())) {
            if !frame.lost {
                self.receiver.receive(&frame);
            }
        }
        self.audit();
    }

    /// Every frame is in exactly one place.
    fn audit(&self) {
        let held = self.shared.hold.segments();
        assert_eq!(
            self.offered,
            self.forwarded + self.dropped + held,
            "a frame was lost or doubled"
        );
        assert_eq!(
            self.alive.get(),
            self.wire.len() + held,
            "a frame was destroyed or kept in secret"
        );
        assert_eq!(self.shared.drops.total(), self.dropped as u64 - self.rejected());
    }

    fn rejected(&self) -> u64 {
        self.dropped as u64 - self.shared.drops.total()
    }

    /// Ends the flow: nothing may stay in the pools.
    pub(crate) fn finish(&mut self) {
        let stream = self.stream.take().expect("the stream is there until the end");
        let dropped = &mut self.dropped;
        stream.release(&mut self.shared, |_frame| *dropped += 1);
        self.audit();
        assert_eq!((self.shared.hold.segments(), self.shared.hold.bytes()), (0, 0));
        assert_eq!(self.shared.evidence.free_chunks(), self.shared.evidence.chunks());
    }

    /// What the receiver has of each connection must be the beginning of what was scored of it, and it may see an
    /// end only where the scored stream ended. Each connection has its own scored one, in the same order.
    pub(crate) fn assert_receiver_saw_only_scored_bytes(&self) {
        let mut scored = self.scored.iter();
        for received in &self.receiver.connections {
            let explains = |scored: &Connection| {
                scored.isn == received.isn
                    && scored.bytes.starts_with(&received.bytes)
                    && (!received.ended || received == scored)
            };
            let nothing = received.bytes.is_empty() && !received.ended;
            assert!(
                nothing || scored.any(explains),
                "{received:?} was not scored so: {:?}",
                self.scored
            );
        }
    }
}

/// Where frames and scored bytes are entered.
struct Book<'a> {
    wire: &'a mut VecDeque<Frame>,
    scored: &'a mut Vec<Connection>,
    next: &'a mut Seq,
    forwarded: &'a mut usize,
    dropped: &'a mut usize,
    last_drop: &'a mut Option<DropReason>,
}

impl Book<'_> {
    fn enter(&mut self, action: Action<'_, Frame>) {
        match action {
            Action::Score(pending) if pending.payload().contains(&BAD) => {
                drop(pending.reject());
                *self.dropped += 1;
            }
            Action::Score(pending) => {
                if pending.continuity() == Continuity::Next {
                    assert_eq!(pending.seq(), *self.next, "delivered out of order");
                } else {
                    let isn = pending.seq() - 1;
                    self.scored.push(Connection {
                        isn,
                        bytes: Vec::new(),
                        ended: false,
                    });
                }
                let connection = self
                    .scored
                    .last_mut()
                    .expect("a connection starts before it goes on");
                connection.bytes.extend(pending.payload());
                connection.ended = pending.is_last();
                *self.next = pending.seq() + pending.payload().len() as u32 + u32::from(pending.is_last());
                self.wire.push_back(pending.accept());
                *self.forwarded += 1;
            }
            Action::Forward(frame) => {
                self.wire.push_back(frame);
                *self.forwarded += 1;
            }
            Action::Hold => {}
            Action::Drop(_, reason) => {
                *self.dropped += 1;
                *self.last_drop = Some(reason);
            }
        }
    }
}
