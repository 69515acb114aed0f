//! Hands packets to the engine, or applies the failure policy where there is none to take them.

use aya_ebpf::{
    bindings::xdp_action,
    helpers::{bpf_ktime_get_ns, bpf_xdp_adjust_meta, generated::bpf_xdp_get_buff_len},
    programs::XdpContext,
};
use filter_common::{
    FlowKey, FlowState, Reason,
    metadata::Metadata,
    queue::{self, QueueState},
    settings::Settings,
};

use crate::{
    count, forward, limits,
    maps::{FLOWS, INTERFACES, QUEUES, SOCKETS},
    policy::Decision,
};

/// Bytes of metadata, as the helper counts them.
const STAMP: i32 = 16;
const _: () = assert!(STAMP as usize == Metadata::SIZE);

/// What is the number of no queue.
const NO_QUEUE: u32 = u32::MAX;

/// Redirects the packet to the socket of its RX queue.
#[inline(always)]
pub(crate) fn to_engine(ctx: &XdpContext, settings: &Settings, decision: &Decision) -> u32 {
    let engine = match present(ctx, settings) {
        Ok(engine) => engine,
        Err(failure) => return fail(settings, failure),
    };
    // Not before it is of use: reading the clock costs as much as a look-up.
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let frames = match ready(ctx, settings, &engine, now) {
        Ok(frames) => frames,
        Err(failure) => return fail(settings, failure),
    };
    let Present { queue, state, .. } = engine;
    let stamped = stamp(ctx, decision, now);
    let fallback = if settings.on_failure == Settings::FAIL_PASS {
        xdp_action::XDP_PASS
    } else {
        xdp_action::XDP_DROP
    };
    if let Ok(action) = SOCKETS.redirect(queue, u64::from(fallback)) {
        // Not before: where the engine takes nothing, flows that are passed are in no map, and all of their segments strays.
        if decision.stray != 0 && limits::too_many_strays() {
            count::packet(Reason::Strays);
            return xdp_action::XDP_DROP;
        }
        // SAFETY: a valid array entry, and this CPU is the only writer of the field.
        unsafe { (*state).redirected = (*state).redirected.wrapping_add(u64::from(frames)) };
        if decision.is_new != 0 {
            remember(
                &decision.flow,
                queue,
                matches!(decision.reason, Reason::SuspectNew),
            );
        }
        count::packet(decision.reason);
        return action;
    }
    if stamped {
        // Passed packets that differ in metadata would not be merged by GRO.
        // SAFETY: takes back what `stamp` added.
        unsafe { bpf_xdp_adjust_meta(ctx.ctx, STAMP) };
    }
    fail(settings, Failure::Absent)
}

/// Passes a packet of an inspected flow that the engine need not see, as long as there is one: a connection must not
/// live longer with the failure policy than without it.
#[inline(always)]
pub(crate) fn past_engine(ctx: &XdpContext, settings: &Settings, decision: &Decision) -> u32 {
    match present(ctx, settings) {
        // To the kernel's tick, which is all that a heartbeat needs.
        Ok(engine) if engine.hangs(settings, decision.acknowledged_ns) => fail(settings, Failure::Hung),
        Ok(_) => forward::pass(settings, decision.reason),
        Err(failure) => fail(settings, failure),
    }
}

/// A queue's engine that has given a sign of life.
struct Present {
    queue: u32,
    state: *mut QueueState,
    heartbeat_ns: u64,
}

impl Present {
    /// Whether that was too long ago at the time `now`.
    #[inline(always)]
    fn hangs(&self, settings: &Settings, now: u64) -> bool {
        now > self.heartbeat_ns && now - self.heartbeat_ns > settings.heartbeat_timeout_ns
    }
}

/// The engine of the packet's queue, if there is one.
#[inline(always)]
fn present(ctx: &XdpContext, settings: &Settings) -> Result<Present, Failure> {
    let queue = number(settings, ctx.ingress_ifindex() as u32, ctx.rx_queue_index());
    let Some(state) = QUEUES.get_ptr_mut(queue) else {
        return Err(Failure::Absent);
    };
    // SAFETY: a valid array entry, which the engine writes at any time.
    let heartbeat_ns = unsafe { (&raw const (*state).heartbeat_ns).read_volatile() };
    if heartbeat_ns == 0 {
        return Err(Failure::Absent);
    }
    Ok(Present {
        queue,
        state,
        heartbeat_ns,
    })
}

/// How many frames of the queue's ring the packet takes, if its engine can take it at the time `now`.
///
/// A hung engine and a full ring do not show in the redirect's result, so both are known beforehand: from the
/// heartbeat and from the credits in the queue's state.
#[inline(always)]
fn ready(ctx: &XdpContext, settings: &Settings, engine: &Present, now: u64) -> Result<u32, Failure> {
    if engine.hangs(settings, now) {
        return Err(Failure::Hung);
    }
    let state = engine.state;
    // SAFETY: a valid array entry. The engine writes its half at any time, hence the volatile read; the
    // kernel's half is only written by the one CPU that serves this queue.
    let in_flight = unsafe {
        let consumed = (&raw const (*state).consumed).read_volatile();
        // Signed: an engine that has counted too many must not seem to be behind by nearly 2^64.
        (*state).redirected.wrapping_sub(consumed).cast_signed()
    };
    let frames = if settings.frame_bytes == 0 {
        1
    } else {
        // SAFETY: a helper on the program's own context.
        queue::frames(
            unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32,
            settings.frame_bytes,
        )
    };
    if in_flight + i64::from(frames) > i64::from(settings.credits) {
        return Err(Failure::RingFull);
    }
    Ok(frames)
}

/// The engine's number of an RX queue, or [`NO_QUEUE`]: with one interface they are the same, with several they are numbered
/// through.
#[inline(always)]
fn number(settings: &Settings, interface: u32, queue: u32) -> u32 {
    if settings.forward == Settings::FORWARD_SEVERAL {
        number_of(interface, queue)
    } else {
        queue
    }
}

/// A function of its own, with a stack frame of its own.
#[inline(never)]
fn number_of(interface: u32, queue: u32) -> u32 {
    // SAFETY: written by userspace only, while nothing is redirected.
    match unsafe { INTERFACES.get(interface) } {
        Some(queues) if queue < queues.count => queues.first.wrapping_add(queue),
        _ => NO_QUEUE,
    }
}

/// A function of its own, with a stack frame of its own.
#[inline(never)]
fn remember(key: &FlowKey, queue: u32, new_source: bool) {
    let mut flow = FlowState::inspect(queue);
    flow.new_source = u8::from(new_source);
    // The map is an LRU: there is always room.
    let _ = FLOWS.insert(key, flow, 0);
}

/// Writes the metadata in front of the packet. Drivers without room for it do without.
#[inline(always)]
fn stamp(ctx: &XdpContext, decision: &Decision, now: u64) -> bool {
    // SAFETY: a helper on the program's own context. Packet pointers are invalid after it; none is used.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -STAMP) } != 0 {
        return false;
    }
    let (start, end) = (ctx.metadata(), ctx.data());
    if start + Metadata::SIZE > end {
        return false;
    }
    // SAFETY: the area lies between `data_meta` and `data`, checked right above.
    unsafe {
        *(start as *mut Metadata) = Metadata {
            time_ns: now,
            magic: Metadata::MAGIC,
            reason: decision.reason as u16,
            server_mss: decision.server_mss,
        }
    };
    true
}

enum Failure {
    Absent,
    Hung,
    RingFull,
}

#[inline(always)]
fn fail(settings: &Settings, failure: Failure) -> u32 {
    let pass = settings.on_failure == Settings::FAIL_PASS;
    let reason = match (failure, pass) {
        (Failure::Absent, true) => Reason::CrashPass,
        (Failure::Hung, true) => Reason::HangPass,
        (Failure::RingFull, true) => Reason::RingFullPass,
        (Failure::Absent, false) => Reason::CrashDrop,
        (Failure::Hung, false) => Reason::HangDrop,
        (Failure::RingFull, false) => Reason::RingFullDrop,
    };
    if pass {
        return forward::pass(settings, reason);
    }
    count::packet(reason);
    xdp_action::XDP_DROP
}
