//! How what passes goes on: into this host's stack, or out of the interface on the other side of the bridge.
//!
//! In generic mode what comes from the servers may be joined packets, larger than the MTU, which a device map refuses
//! (`xdp_ok_fwd_dev` in net/core/filter.c). They are sent on from the ingress hook, as the stack sends its own: cut, if need be, and
//! with their checksums.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action},
    helpers::bpf_redirect,
};
use filter_common::{Reason, bridge, settings::Settings};

use crate::{
    count,
    maps::{BRIDGE, SETTINGS},
};

/// Passes a packet of a client and counts it.
#[inline(always)]
pub(crate) fn pass(settings: &Settings, reason: Reason) -> u32 {
    if settings.forward == Settings::FORWARD_BRIDGE {
        return across(bridge::SERVERS, reason);
    }
    count::packet(reason);
    xdp_action::XDP_PASS
}

/// Passes a packet of a server to the clients.
#[inline(always)]
pub(crate) fn back() -> u32 {
    across(bridge::CLIENTS, Reason::Reply)
}

/// The same from the ingress hook.
#[inline(always)]
pub(crate) fn back_from_ingress() -> i32 {
    let interface = SETTINGS.get(0).map_or(0, |settings| settings.clients);
    if interface == 0 {
        count::packet(Reason::NoBridge);
        return TC_ACT_SHOT;
    }
    count::packet(Reason::Reply);
    // SAFETY: a helper that takes numbers.
    unsafe { bpf_redirect(interface, 0) as i32 }
}

#[inline(always)]
fn across(side: u32, reason: Reason) -> u32 {
    match BRIDGE.redirect(side, u64::from(xdp_action::XDP_DROP)) {
        Ok(action) => {
            count::packet(reason);
            action
        }
        Err(action) => {
            count::packet(Reason::NoBridge);
            action
        }
    }
}
