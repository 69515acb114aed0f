//! How what passes goes on: into this host's stack, or out of the interface on the other side of the bridge.

use aya_ebpf::bindings::xdp_action;
use filter_common::{Reason, bridge, settings::Settings};

use crate::{
    count,
    maps::{BRIDGE, SETTINGS},
};

/// Passes a packet of a client and counts it. Asks the settings again: the filter's stack frame has no room to remember them.
#[inline(always)]
pub(crate) fn pass(reason: Reason) -> u32 {
    if SETTINGS
        .get(0)
        .is_some_and(|settings| settings.forward == Settings::FORWARD_BRIDGE)
    {
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
