//! A segment between scoring and verdict.

use serde::{Deserialize, Serialize};

use super::stream::{Deferral, Phase};
use super::{Evidence, Reassembly, Segment, Seq, Stream};

/// How a segment's new bytes relate to the bytes delivered before them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Continuity {
    /// The first bytes of a connection: parsing begins anew.
    Start,
    /// They follow directly.
    Next,
    /// Bytes before them were never seen: parsing resumes at the next request line.
    AfterGap,
}

/// A segment whose new bytes are next in order. It keeps its stream borrowed, so nothing else happens to the stream
/// until the segment is accepted or rejected.
#[must_use = "accept or reject it; dropping it loses the frame"]
pub struct Pending<'a, F> {
    stream: &'a mut Stream,
    shared: &'a mut Reassembly<F>,
    segment: Segment,
    frame: F,
}

impl<'a, F: AsRef<[u8]>> Pending<'a, F> {
    /// `segment` lies inside `frame`, begins at or before the stream's next sequence number and ends after it.
    pub(super) fn new(
        stream: &'a mut Stream,
        shared: &'a mut Reassembly<F>,
        segment: Segment,
        frame: F,
    ) -> Self {
        Self {
            stream,
            shared,
            segment,
            frame,
        }
    }

    /// The new bytes, without any that were delivered before. Empty when only a FIN is new.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let seen = self.segment.seq.until(self.stream.next);
        self.segment
            .payload(self.frame.as_ref())
            .and_then(|payload| payload.get(seen..))
            .unwrap_or_default()
    }

    /// Sequence number of the first new byte.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.stream.next
    }

    /// Whether the client's data end with these bytes.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.segment.fin()
    }

    /// How the bytes follow those before.
    #[must_use]
    pub fn continuity(&self) -> Continuity {
        self.stream.continuity
    }

    /// How many of the new bytes were scored before the segment was put off; `None` if it was not.
    #[must_use]
    pub fn scored(&self) -> Option<usize> {
        match self.stream.deferral {
            Deferral::Over(to) => Some(self.stream.next.until(to).min(self.payload().len())),
            _ => None,
        }
    }

    /// Whether there is room to put the segment off.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        self.shared.hold.has_room(self.segment.len.into())
    }

    /// `scored` of the new bytes are scored and their verdict is not known yet: the segment, and all behind it, waits for
    /// [`Stream::resume`]. The caller has asked [`can_wait`](Self::can_wait).
    pub fn put_off(self, scored: usize) {
        let Self {
            stream,
            shared,
            segment,
            frame,
        } = self;
        stream.deferral = Deferral::Waiting(stream.next + scored as u32);
        stream.held.insert(&mut shared.hold, segment, frame);
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &F {
        &self.frame
    }

    /// The bytes are good: the stream moves on behind them, they are kept as evidence, and the frame is to be
    /// forwarded.
    #[must_use = "the frame is to be forwarded"]
    pub fn accept(self) -> F {
        let Self {
            stream,
            shared,
            segment,
            frame,
        } = self;
        let seen = segment.seq.until(stream.next);
        let bytes = segment
            .payload(frame.as_ref())
            .and_then(|payload| payload.get(seen..))
            .unwrap_or_default();
        if stream.evidence.is_empty() {
            stream.evidence = Evidence::new(stream.next);
        }
        if stream.evidence.end() == stream.next {
            // Without room nothing is recorded; the missing range is then seen as unverifiable.
            let _recorded = stream.evidence.record(&mut shared.evidence, stream.owner, bytes);
        }
        stream.next = segment.end();
        stream.fin = segment.fin();
        stream.phase = Phase::Open;
        stream.reset = false;
        stream.continuity = Continuity::Next;
        if let Deferral::Over(scored) = stream.deferral
            && !scored.after(stream.next)
        {
            stream.deferral = Deferral::None;
        }
        frame
    }

    /// The bytes are bad: the stream is blocked, every later segment of it is dropped, and so is to be the frame.
    #[must_use = "the frame is to be dropped"]
    pub fn reject(self) -> F {
        self.stream.blocked = true;
        self.frame
    }
}
