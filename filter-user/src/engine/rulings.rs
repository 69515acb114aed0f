//! The loop and the second tier: how it listens for rulings, and what they do to the flows that wait.

use std::{io, time::Duration};

use filter_score::SecondLook;

use super::{
    Clock, KernelMaps, Rings, Undecided, Worker,
    arrival::Arrival,
    verdict::{Origin, Ruled},
};
use crate::deep::{Port, Sleeper};

impl<R: Rings, M: KernelMaps, C: Clock> Worker<R, M, C> {
    /// Asks the second tier through `port`: its pool has to know the same rules and policy.
    #[must_use]
    pub fn with_second_tier(mut self, port: Port<Undecided>) -> Self {
        self.judge.connect(port);
        self
    }

    /// Takes the second look in the loop itself, where its time does not matter. Only for a policy that blocks nothing.
    #[must_use]
    pub fn with_second_look(mut self, look: SecondLook) -> Self {
        self.judge.look_at_once(look);
        self
    }

    /// Sleeps until there is something to do, at most `timeout`.
    pub(super) fn sleep(&mut self, now: u64, timeout: Duration) -> io::Result<()> {
        let for_packets = match &self.mailbox {
            None => None,
            Some(mailbox) => match mailbox.sleeper() {
                None => return Ok(()),
                sleeper => sleeper,
            },
        };
        if !self.judge.awaits() {
            return match for_packets {
                None => self.rings.wait(timeout),
                Some(sleeper) => self.rings.wait_or(timeout, [Some(sleeper.fd()), None]),
            };
        }
        let Some(for_answers) = self.judge.sleeper() else {
            return Ok(());
        };
        let deadline = self
            .judge
            .next_deadline()
            .map_or(u64::MAX, |deadline| deadline.saturating_sub(now));
        let bells = [Some(for_answers.fd()), for_packets.as_ref().map(Sleeper::fd)];
        self.rings
            .wait_or(timeout.min(Duration::from_nanos(deadline)), bells)
    }

    /// What the second tier has said meanwhile, and the deadlines that are over. Returns whether there was anything.
    pub(super) fn carry_out_rulings(&mut self) -> bool {
        let now = self.clock.now();
        let mut any = false;
        while let Some(ruled) = self.judge.next_ruled(now, &mut self.counters) {
            any = true;
            let Ruled {
                handle,
                flow: key,
                ticket,
                ruling,
                since_ns,
            } = ruled;
            let Some(flow) = self.table.get_mut(handle) else {
                continue;
            };
            if flow.requests.asked != Some(ticket) {
                continue;
            }
            flow.requests.asked = None;
            if !flow.stream.resume() {
                continue;
            }
            flow.requests.ruling = ruling;
            let arrival = Arrival {
                time_ns: since_ns,
                reason: None,
                // What is held was cut already.
                server_mss: 0,
            };
            let origin = Origin {
                handle,
                flow: key,
                now,
            };
            while let Some(due) = self.next_held(origin) {
                self.carry_out(handle, due, arrival);
            }
            if let Some(flow) = self.table.get_mut(handle) {
                let class = flow.class();
                self.table.touch(handle, class, now);
            }
        }
        any
    }
}
