//! One stream, one segment at a time.

use filter_user::flow::{
    Action, Continuity, DropReason, EvidencePool, FailurePolicy, Flags, HoldPool, Reassembly, Replies, Reply,
    Segment, Seq, Stream, StreamLimits, SynAck, TimeoutClass,
};

pub(crate) const ISN: Seq = Seq(u32::MAX - 3);
pub(crate) const FIRST: Seq = Seq(u32::MAX - 2);
pub(crate) const SERVER: Seq = Seq(5000);

/// What became of a frame, with its whole payload (what was scored: only the new part).
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Scored(&'static str),
    Forwarded(&'static str),
    Held,
    Dropped(&'static str, DropReason),
}

pub(crate) use Fate::{Dropped, Forwarded, Held, Scored};

/// What the server said last, and how often somebody looked.
pub(crate) struct Server {
    pub(crate) reply: Option<Reply>,
    pub(crate) observed: bool,
    pub(crate) looks: usize,
}

impl Replies for Server {
    fn observed(&self) -> bool {
        self.observed
    }

    fn look(&mut self) -> Option<Reply> {
        self.looks += 1;
        self.reply
    }
}

pub(crate) struct Case {
    pub(crate) stream: Stream,
    pub(crate) shared: Reassembly<&'static [u8]>,
    pub(crate) server: Server,
    pub(crate) continuity: Option<Continuity>,
}

pub(crate) fn limits() -> StreamLimits {
    StreamLimits {
        held_segments: 3,
        held_bytes: 20,
        window: 1000,
        ask_after: 100,
        unverifiable: FailurePolicy::Drop,
    }
}

pub(crate) fn text(bytes: &'static [u8]) -> &'static str {
    std::str::from_utf8(bytes).expect("the tests send text")
}

impl Case {
    pub(crate) fn unseen(limits: StreamLimits) -> Self {
        Self {
            stream: Stream::new(0),
            shared: Reassembly::new(limits, EvidencePool::new(8, 16, 64), HoldPool::new(4, 40)),
            server: Server {
                reply: None,
                observed: true,
                looks: 0,
            },
            continuity: None,
        }
    }

    /// After a handshake; nothing acknowledged but the SYN.
    pub(crate) fn opened_with(limits: StreamLimits) -> Self {
        let mut case = Self::unseen(limits);
        assert_eq!(case.send(ISN, Flags::SYN, ""), [Forwarded("")]);
        assert_eq!(case.stream.class(), TimeoutClass::HalfOpen);
        case.server_opens(SERVER, FIRST);
        assert_eq!(case.send(FIRST, Flags::ACK, ""), [Forwarded("")]);
        assert_eq!(case.stream.class(), TimeoutClass::Established);
        case.server.looks = 0;
        case
    }

    pub(crate) fn opened() -> Self {
        Self::opened_with(limits())
    }

    pub(crate) fn passing() -> StreamLimits {
        StreamLimits {
            unverifiable: FailurePolicy::Pass,
            ..limits()
        }
    }

    pub(crate) fn server_opens(&mut self, seq: Seq, acknowledged: Seq) {
        self.server.reply = Some(Reply {
            acknowledged,
            syn_ack: Some(SynAck { seq, acknowledged }),
        });
    }

    pub(crate) fn server_acknowledges(&mut self, acknowledged: Seq) {
        let syn_ack = self.server.reply.and_then(|reply| reply.syn_ack);
        self.server.reply = Some(Reply {
            acknowledged,
            syn_ack,
        });
    }

    pub(crate) fn send(&mut self, seq: Seq, flags: Flags, payload: &'static str) -> Vec<Fate> {
        let segment = Segment {
            seq,
            flags,
            offset: 0,
            len: payload.len() as u16,
        };
        let mut fates = Vec::new();
        let mut action =
            Some(
                self.stream
                    .offer(&mut self.shared, segment, payload.as_bytes(), &mut self.server),
            );
        while let Some(next) = action {
            fates.push(match next {
                Action::Score(pending) => {
                    self.continuity = Some(pending.continuity());
                    let new = pending.payload().len();
                    let bad = pending.payload().contains(&b'!');
                    if bad {
                        Dropped(text(pending.reject()), DropReason::Blocked)
                    } else {
                        let frame = pending.accept();
                        Scored(text(&frame[frame.len() - new..]))
                    }
                }
                Action::Forward(frame) => Forwarded(text(frame)),
                Action::Hold => Held,
                Action::Drop(frame, reason) => Dropped(text(frame), reason),
            });
            action = self.stream.next_held(&mut self.shared);
        }
        fates
    }

    pub(crate) fn data(&mut self, at: u32, payload: &'static str) -> Vec<Fate> {
        self.send(FIRST + at, Flags::ACK, payload)
    }

    pub(crate) fn fin(&mut self, at: u32, payload: &'static str) -> Vec<Fate> {
        self.send(FIRST + at, Flags::ACK.with(Flags::FIN), payload)
    }
}
