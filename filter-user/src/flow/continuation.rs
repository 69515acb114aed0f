//! A stream on its way to another engine.

use serde::{Deserialize, Serialize};

use super::opening::Reopening;
use super::pending::Continuity;
use super::stream::{Deferral, Phase};
use super::{Evidence, Reassembly, Seq, Stream};

/// All that another engine has to know of a stream, between any two segments. Held segments stay behind: the server has not seen
/// them, so that the client sends them again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Continuation {
    phase: Phase,
    continuity: Continuity,
    fin: bool,
    reset: bool,
    blocked: bool,
    reopening: Option<Reopening>,
    isn: Option<Seq>,
    next: Seq,
    acked: Seq,
    evidence_from: Seq,
    evidence: Vec<u8>,
}

impl Stream {
    /// Ends the stream here, and says how to go on with it elsewhere; `frames` gets every frame it still holds.
    ///
    /// A segment that was put off is scored again when it comes again: where its bytes were part of a longer request, as bytes after
    /// a gap.
    pub fn suspend<F>(self, shared: &mut Reassembly<F>, frames: impl FnMut(F)) -> Continuation {
        let continuity = match self.deferral {
            Deferral::None => self.continuity,
            Deferral::Waiting(_) | Deferral::Over(_) => Continuity::AfterGap,
        };
        let continuation = Continuation {
            phase: self.phase,
            continuity,
            fin: self.fin,
            reset: self.reset,
            blocked: self.blocked,
            reopening: self.reopening,
            isn: self.isn,
            next: self.next,
            acked: self.acked,
            evidence_from: self.evidence.start(),
            evidence: self.evidence.copy(&shared.evidence),
        };
        self.release(shared, frames);
        continuation
    }

    /// Goes on with a stream, for the flow that the evidence pool is to know as `owner`. Evidence for which there is no room is lost,
    /// and what is sent again of it is then seen as unverifiable.
    pub fn continuing<F>(continuation: &Continuation, shared: &mut Reassembly<F>, owner: u32) -> Self {
        let mut evidence = Evidence::new(continuation.evidence_from);
        let end = continuation.evidence_from + continuation.evidence.len() as u32;
        let is_sound = !end.after(continuation.next);
        if !(is_sound && evidence.record(&mut shared.evidence, owner, &continuation.evidence)) {
            evidence = Evidence::new(continuation.next);
        }
        Self {
            phase: continuation.phase,
            continuity: continuation.continuity,
            fin: continuation.fin,
            reset: continuation.reset,
            blocked: continuation.blocked,
            reopening: continuation.reopening,
            isn: continuation.isn,
            next: continuation.next,
            acked: continuation.acked,
            ask_at: continuation.next,
            evidence,
            ..Self::new(owner)
        }
    }
}
