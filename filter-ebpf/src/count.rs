//! Counters and sampled drop events.

use aya_ebpf::{
    helpers::{bpf_get_prandom_u32, bpf_ktime_get_ns},
    programs::XdpContext,
};
use aya_log_ebpf::debug;
use filter_common::{Counters, Reason, event::DropEvent};

use crate::{
    maps::{COUNTERS, EVENTS},
    policy::Decision,
};

const _: () = assert!(size_of::<Counters>() == Reason::ALL.len() * 8);

/// Userspace reads in batches and need not be woken for each event.
const BPF_RB_NO_WAKEUP: u64 = 1;

/// Counts a packet under its reason.
#[inline(always)]
pub(crate) fn packet(reason: Reason) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: `Counters` is an array of `u64` in the order of the reasons (asserted beside it), the
        // reason is one of them, and the value is this CPU's own.
        unsafe { *counters.cast::<u64>().add(reason as usize) += 1 };
    }
}

/// Tells userspace of some of the drops.
#[inline(always)]
pub(crate) fn sample(ctx: &XdpContext, decision: &Decision) {
    debug!(
        ctx,
        "drop: reason {} length {}",
        decision.reason as u32,
        ctx.data_end() - ctx.data()
    );
    if decision.sample_mask == u32::MAX {
        return;
    }
    // SAFETY: a helper without arguments.
    if unsafe { bpf_get_prandom_u32() } & decision.sample_mask != 0 {
        return;
    }
    if let Some(mut entry) = EVENTS.reserve(0) {
        entry.write(DropEvent {
            // SAFETY: a helper without arguments.
            time_ns: unsafe { bpf_ktime_get_ns() },
            flow: decision.flow,
            reason: decision.reason as u32,
            length: (ctx.data_end() - ctx.data()) as u32,
            queue: ctx.rx_queue_index(),
            reserved: 0,
        });
        entry.submit(BPF_RB_NO_WAKEUP);
    }
}
