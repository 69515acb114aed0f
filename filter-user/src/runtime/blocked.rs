//! Blocks for the queues: clients behind proxies, whom the XDP program does not see.

use std::sync::{Arc, atomic::Ordering};

use filter_common::block::Block;
use ipnet::IpNet;

use super::state::State;
use crate::{
    bpf::{Tables, Target},
    client::{BlockedClients, Clients},
    engine::Command,
};

impl State {
    /// Blocks or the allow list have changed: the queues are told at the next [`State::publish_blocks`].
    pub(super) fn blocks_changed(&self) {
        self.unpublished.store(true, Ordering::Relaxed);
    }

    /// Tells the queues which clients are blocked, if that has changed. Without proxies nobody asks.
    pub(super) fn publish_blocks(&self, tables: &Tables) {
        if self.clients().trusted.is_empty() || !self.unpublished.swap(false, Ordering::Relaxed) {
            return;
        }
        let blocked = {
            let allowed = tables.allowed().into_iter().map(IpNet::from);
            Arc::new(BlockedClients::new(self.blocks_in(tables), allowed))
        };
        for queue in &self.queue_set().queues {
            if !queue.tell(Command::Blocked(Arc::clone(&blocked))) {
                // It is told the next time.
                self.blocks_changed();
            }
        }
    }

    /// Lifts the blocks that their reputation has brought upon addresses that are trusted proxies now.
    pub(super) fn lift_blocks_of(&self, clients: &Clients) {
        if clients.trusted.is_empty() {
            return;
        }
        let mut tables = self.tables();
        let of_proxies: Vec<_> = tables
            .source_blocks
            .iter()
            .flatten()
            .filter(|(_, block)| block.reason == Block::REASON_REPUTATION)
            .map(|(address, _)| address)
            .filter(|address| clients.trusted.overlaps(&self.source_net((*address).into())))
            .collect();
        for address in of_proxies {
            if self
                .end(&mut tables, Target::Source(address))
                .is_ok_and(|is_gone| is_gone)
            {
                tracing::info!("the block of {address} is lifted: it holds a trusted proxy");
            }
        }
    }
}
