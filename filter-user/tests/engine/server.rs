//! The receiving end: what a server makes of the forwarded frames, and what the egress observer notes of it.

use filter_common::{Address, FlowKey, FlowState};
use xtask::lab::frame::{Checksum, Frame, flag};

use crate::client::SERVER_ISN;

/// One connection as its server sees it.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// The sequence number of the first byte, once there is a connection.
    first: Option<u32>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) finished: bool,
    /// The sequence number of a reset in order.
    pub(crate) reset: Option<u32>,
}

impl Server {
    /// Takes a forwarded frame.
    pub(crate) fn receive(&mut self, frame: &Frame) {
        assert_eq!(frame.checksum, Checksum::Valid, "what goes on is a whole packet");
        let tcp = frame.tcp().expect("only TCP comes to the engine");
        if tcp.has(flag::SYN) {
            *self = Self {
                first: Some(tcp.sequence.wrapping_add(1)),
                ..Self::default()
            };
            return;
        }
        // In mid-stream, where the first segment is.
        let first = *self.first.get_or_insert(tcp.sequence);
        let at = tcp.sequence.wrapping_sub(first) as usize;
        if tcp.has(flag::RST) {
            self.reset = (at == self.received()).then_some(tcp.sequence);
            return;
        }
        assert!(
            at <= self.received(),
            "frames go on in order: {at} of {}",
            self.received()
        );
        let old = tcp.payload.len().min(self.bytes.len() - at.min(self.bytes.len()));
        assert_eq!(
            tcp.payload[..old],
            self.bytes[at.min(self.bytes.len())..][..old],
            "a retransmission that went on says something else"
        );
        assert!(!self.finished || old == tcp.payload.len(), "data behind the end");
        self.bytes.extend(&tcp.payload[old..]);
        if tcp.has(flag::FIN) {
            assert_eq!(
                at + tcp.payload.len(),
                self.bytes.len(),
                "an end where there is none"
            );
            self.finished = true;
        }
    }

    /// Sequence numbers used up, the one of the end included.
    fn received(&self) -> usize {
        self.bytes.len() + usize::from(self.finished)
    }

    /// What the observer has written when the server's latest segment is out.
    pub(crate) fn observed(&self, flow: &mut FlowState) {
        let Some(first) = self.first else { return };
        flow.server_flags |= FlowState::SERVER_SEEN | FlowState::SERVER_OPENED;
        flow.server_ack = first.wrapping_add(self.received() as u32);
        flow.server_next = SERVER_ISN.wrapping_add(1);
        flow.server_isn = SERVER_ISN;
        flow.server_opened = first;
    }
}

pub(crate) fn key_of(frame: &Frame) -> FlowKey {
    let tcp = frame.tcp().expect("only TCP comes to the engine");
    FlowKey::tcp(
        Address::from(frame.source),
        tcp.source_port,
        Address::from(frame.destination),
        tcp.destination_port,
    )
}
