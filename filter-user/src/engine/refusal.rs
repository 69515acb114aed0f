//! What happens to a flow that is refused: it is marked in the map, and both ends are told.

use filter_common::{FlowState, packet::tcp_flag};

use super::{
    Clock, KernelMaps, Rings, Worker,
    handover::What,
    inspect::{Inspected, inspect},
    page::Answer,
    respond::{self, Reply, SEGMENT_BYTES, Towards},
};
use crate::{
    config::Respond,
    flow::{FlowHandle, Seq},
};

/// Why a flow is refused, and with that what its client gets.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    /// An attack, or a request of a blocked client, with this request id: what the configuration says.
    Attack(u64),
    /// A request beyond a limit, with this request id: a 429 where an attack gets a page, and the seconds until another one
    /// would be let in.
    TooMany(u64, u32),
    /// The failure policy: a reset, so that the client can try anew at once.
    Failure,
}

impl<R: Rings, M: KernelMaps, C: Clock> Worker<R, M, C> {
    /// Refuses the flow that `frame` belongs to. The frame itself is not sent on; the answers take its headers for
    /// their model.
    pub(super) fn refuse(&mut self, handle: FlowHandle, frame: &mut R::Frame, refusal: Refusal) {
        // A frame that waited for those before it is not the one that is being handled: its own headers count.
        let Ok(from) = inspect(frame.as_mut()) else { return };
        let replies = self.maps.flow(&from.key);
        let now = self.clock.now();
        self.maps.block_flow(&from.key, now + self.config.flow_block_ns);
        let mut next = from.segment.seq;
        if let Some(flow) = self.table.get_mut(handle) {
            self.judge.release(&mut flow.requests);
            next = flow.stream.next().unwrap_or(next);
        }
        let seen = replies.filter(|state| state.server_flags & FlowState::SERVER_SEEN != 0);
        let acknowledged = from.acknowledgement;
        let server_next = seen.map_or(acknowledged, |state| Seq(state.server_next).max(acknowledged));
        let ack = from.segment.end();
        match (refusal, self.config.respond) {
            (Refusal::Attack(_) | Refusal::TooMany(..), Respond::Drop) => return,
            (Refusal::Attack(request_id), Respond::Forbidden) => {
                self.send_page(&from, frame, Answer::Forbidden, request_id, server_next, ack);
            }
            (Refusal::TooMany(request_id, retry_after_s), Respond::Forbidden) => {
                let answer = Answer::TooMany { retry_after_s };
                self.send_page(&from, frame, answer, request_id, server_next, ack);
            }
            _ => {
                self.inject(&from, frame, &reset(Towards::Client, server_next, ack));
            }
        }
        if self.inject(&from, frame, &reset(Towards::Server, next, acknowledged)) {
            self.maps
                .block_flow(&from.key, now + self.config.told_flow_block_ns);
        }
    }

    /// The page in as many segments as it takes, the last one with a FIN. The client gets no reset: it could erase
    /// the page before it is read (RFC 9112 §9.6).
    fn send_page(
        &mut self,
        from: &Inspected,
        frame: &R::Frame,
        answer: Answer,
        request_id: u64,
        mut seq: Seq,
        ack: Seq,
    ) {
        let mut page = std::mem::take(&mut self.page);
        self.config
            .page
            .render(answer, &format!("{request_id:016x}"), &mut page);
        let mut chunks = page.chunks(SEGMENT_BYTES).peekable();
        while let Some(payload) = chunks.next() {
            let fin = if chunks.peek().is_none() { tcp_flag::FIN } else { 0 };
            let flags = tcp_flag::ACK | tcp_flag::PSH | fin;
            self.inject(
                from,
                frame,
                &Reply {
                    towards: Towards::Client,
                    seq,
                    ack,
                    flags,
                    payload,
                },
            );
            seq += payload.len() as u32;
        }
        self.page = page;
    }

    /// Sends a segment that answers a packet, or goes on from it. Returns whether there was room for it.
    fn inject(&mut self, from: &Inspected, frame: &R::Frame, reply: &Reply<'_>) -> bool {
        respond::build(frame.as_ref(), from, reply, &mut self.scratch);
        if let Some(mailbox) = &self.mailbox {
            match reply.towards {
                Towards::Server => mailbox.readdress(&mut self.scratch),
                Towards::Client => {
                    if let Some(queue) = mailbox.other_interface(&self.scratch[6..12]) {
                        // It is counted where it is sent.
                        let sent = mailbox.send(queue, &self.scratch, What::Answer);
                        self.counters.not_injected += u64::from(!sent);
                        return sent;
                    }
                }
            }
        }
        let Some(made) = self.rings.allocate(&self.scratch) else {
            self.counters.not_injected += 1;
            return false;
        };
        self.counters.injected += 1;
        match reply.towards {
            Towards::Client => self.rings.transmit(made),
            Towards::Server => self.rings.forward(made),
        }
        true
    }

    /// Sends what another thread has made for a client that is behind this one's interface.
    pub(super) fn send_back(&mut self, bytes: &[u8]) {
        match self.rings.allocate(bytes) {
            Some(made) => {
                self.counters.injected += 1;
                self.rings.transmit(made);
            }
            None => self.counters.not_injected += 1,
        }
    }
}

fn reset(towards: Towards, seq: Seq, ack: Seq) -> Reply<'static> {
    Reply {
        towards,
        seq,
        ack,
        flags: tcp_flag::RST | tcp_flag::ACK,
        payload: b"",
    }
}
