//! What makes a flow of a `suspicious` service go to the engine.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::XdpContext};
use filter_common::{
    Address, FlowKey, FlowState, Reason, packet::tcp_flag, settings::Settings, source::Source,
};

use crate::{
    frame::Frame,
    list::List,
    maps::{FLOWS, SOURCES, WATCH_V4, WATCH_V6},
    policy::source_key,
    prescreen,
};

const ONE_SECOND_NS: u64 = 1_000_000_000;

/// What is asked about a packet, beside its flow.
#[derive(Clone, Copy)]
pub(crate) struct Gist {
    /// Where the payload starts, and where the packet ends.
    pub(crate) payload: u16,
    pub(crate) end: u32,
    pub(crate) tcp_flags: u8,
    pub(crate) odd: bool,
    pub(crate) is_v4: bool,
}

/// Decides about a packet of a flow that no verdict stands for.
///
/// A function of its own, with a stack frame of its own.
///
/// With the pre-screen on, every segment with payload is judged, and a flow may change over to the engine at
/// any of them. Without it, the flow's first packet decides, for good.
#[inline(never)]
pub(crate) fn judge(ctx: &XdpContext, packet: &Gist, settings: &Settings, key: &FlowKey) -> Reason {
    let opens = packet.tcp_flags & tcp_flag::SYN != 0;
    let has_payload = u32::from(packet.payload) < packet.end;
    if !opens && !has_payload {
        return Reason::NotSuspicious;
    }
    let on = |trigger: u32| settings.triggers & trigger != 0;
    let watched = List {
        v4: &WATCH_V4,
        v6: &WATCH_V6,
    };
    if on(Settings::TRIGGER_WATCH) && watched.find(&key.source, packet.is_v4).is_some() {
        return Reason::SuspectWatch;
    }
    if on(Settings::TRIGGER_ODD) && packet.odd {
        return Reason::SuspectOdd;
    }
    if settings.triggers
        & (Settings::TRIGGER_NEW | Settings::TRIGGER_REPUTATION | Settings::TRIGGER_SOFT_LIMIT)
        != 0
        && let Some(reason) = by_source(
            source_key(&key.source, packet.is_v4, settings),
            settings,
            has_payload,
        )
    {
        return reason;
    }
    if !on(Settings::TRIGGER_PRESCREEN) {
        let _ = FLOWS.insert(key, FlowState::on(FlowState::PATH_PASS, 0), 0);
        return Reason::NotSuspicious;
    }
    if has_payload && !prescreen::passes(Frame::linear(ctx), packet.payload, packet.end) {
        return Reason::SuspectPrescreen;
    }
    Reason::NotSuspicious
}

/// Counts a request of a source that is new, on a flow that is inspected for that: such flows are not judged again.
#[inline(always)]
pub(crate) fn count_request(key: Address) {
    if let Some(source) = SOURCES.get_ptr_mut(key) {
        // SAFETY: the map returned a valid entry; CPUs race on the count, which is documented as approximate.
        unsafe { (*source).requests = (*source).requests.saturating_add(1) };
    }
}

#[inline(always)]
fn by_source(key: Address, settings: &Settings, is_request: bool) -> Option<Reason> {
    let Some(source) = SOURCES.get_ptr_mut(key) else {
        let requests = u32::from(is_request);
        let fresh = Source {
            window_ns: 0,
            window_requests: requests,
            requests,
            reputation: 0,
            reserved: 0,
        };
        let _ = SOURCES.insert(key, fresh, 0);
        let new = settings.triggers & Settings::TRIGGER_NEW != 0 && settings.new_source_requests > 0;
        return new.then_some(Reason::SuspectNew);
    };
    // SAFETY: the map returned a valid entry; CPUs race on the counts, which are documented as approximate.
    let source = unsafe { &mut *source };
    if is_request {
        source.requests = source.requests.saturating_add(1);
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        if now - source.window_ns >= ONE_SECOND_NS {
            source.window_ns = now;
            source.window_requests = 0;
        }
        source.window_requests = source.window_requests.saturating_add(1);
    }
    // A SYN is judged for the request that follows it.
    let request = source.requests.saturating_add(u32::from(!is_request));
    let on = |trigger: u32| settings.triggers & trigger != 0;
    if on(Settings::TRIGGER_REPUTATION) && source.reputation > 0 {
        Some(Reason::SuspectReputation)
    } else if on(Settings::TRIGGER_NEW) && request <= settings.new_source_requests {
        Some(Reason::SuspectNew)
    } else if on(Settings::TRIGGER_SOFT_LIMIT) && source.window_requests > settings.soft_limit {
        Some(Reason::SuspectSoftLimit)
    } else {
        None
    }
}
