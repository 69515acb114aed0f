//! Who sends requests and whether they are let in: what the caller knows and the scorer asks.

use std::net::IpAddr;

use crate::subject::Subject;
use crate::verdict::Decision;

/// What a stream asks of its [`Reception`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Who sent a request, by its head. Nothing of a request is scored before its head is complete then: what is found
    /// may be excepted for some clients.
    pub client: bool,
    /// Whether a request is let in. For limits by method and path, [`Policies::noting_heads`](crate::Policies::noting_heads).
    pub admission: bool,
}

/// What the caller has to say about requests.
pub trait Reception {
    /// The address that a request is from. `head` is its request line and its field lines with their line ends, and the
    /// empty line; `None` leaves it at what the stream says.
    fn client(&mut self, head: &[u8]) -> Option<IpAddr> {
        let _ = head;
        None
    }

    /// Whether a request is let in: asked once, when its head is complete and no attack. One that is refused is not decided.
    fn admits(&mut self, request: &RequestHead<'_>) -> bool {
        let _ = request;
        true
    }

    /// A request is decided.
    fn decided(&mut self, decision: &Decision<'_>);
}

/// A reception that only listens.
pub(crate) struct OnDecision<F>(pub(crate) F);

impl<F: FnMut(&Decision<'_>)> Reception for OnDecision<F> {
    fn decided(&mut self, decision: &Decision<'_>) {
        (self.0)(decision);
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Who sent it.
    pub source: Option<IpAddr>,
    /// The method, at most 32 bytes of it.
    pub method: &'a [u8],
    /// The path, decoded and normalised; `None` if there is none, or none that all targets would read alike.
    pub path: Option<&'a [u8]>,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn new(source: Option<IpAddr>, subject: &'a mut Subject) -> Self {
        let (method, path) = subject.method_and_path();
        Self { source, method, path }
    }
}
