//! The kernel side of Portcullis: the XDP program that passes, drops or redirects every packet, the observer on
//! the interface's egress hook that notes what servers acknowledge, and what takes its place on a bridge.
//!
//! `unsafe` here is packet access (checked against `data_end`, which the verifier enforces), map values
//! (checked for null) and helper calls; each block says which.
#![feature(asm_experimental_arch)]
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "packet memory, map values and kernel helpers are only reachable through pointers"
)]
#![expect(
    clippy::inline_always,
    reason = "packet pointers have to stay within one function for the verifier to follow their bounds"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the entry points' signatures, and the functions made of them, are those of aya's macros"
)]

mod challenge;
mod count;
mod due;
mod forward;
mod frame;
mod key;
mod known;
mod limits;
mod list;
mod maps;
mod observe;
mod policy;
mod prescreen;
mod redirect;
mod suspicion;

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use filter_common::{Action, Reason};

use crate::{frame::Frame, maps::SETTINGS};

/// Tells the kernel that programs after this one see the packet, too; alone, it means "pass".
const TCX_NEXT: i32 = -1;

/// Decides about one received packet. It may be in several buffers ("frags"): larger than a page, or joined.
#[xdp(frags)]
fn portcullis(ctx: XdpContext) -> u32 {
    let Some(settings) = SETTINGS.get(0) else {
        count::packet(Reason::NotConfigured);
        return xdp_action::XDP_PASS;
    };
    let mut decision = MaybeUninit::uninit();
    let decision = policy::decide(&ctx, settings, &mut decision);
    match decision.reason.action() {
        Action::Pass if matches!(decision.reason, Reason::Acknowledgement) => {
            redirect::past_engine(&ctx, settings, decision)
        }
        Action::Pass => forward::pass(settings, decision.reason),
        Action::Drop => {
            count::packet(decision.reason);
            count::sample(&ctx, decision);
            xdp_action::XDP_DROP
        }
        Action::Redirect => redirect::to_engine(&ctx, settings, decision),
        Action::Answer => challenge::answer(&ctx, decision),
    }
}

/// Observes one packet on its way out. Changes nothing.
#[classifier]
fn portcullis_out(ctx: TcContext) -> i32 {
    observe::reply(&Frame::sent(&ctx), None);
    TCX_NEXT
}

/// Observes one packet that a bridge received from the servers' side, and sends it to the clients.
#[xdp(frags)]
fn portcullis_back(ctx: XdpContext) -> u32 {
    observe::reply(&Frame::received(&ctx), None);
    forward::back()
}

/// What `portcullis_back` does, in generic mode. The kernel has taken the outermost VLAN tag out of the packet, and puts it back
/// on the way out.
#[classifier]
fn portcullis_in(ctx: TcContext) -> i32 {
    // SAFETY: the program's own context.
    let skb = unsafe { &*ctx.skb.skb };
    let tag = (skb.vlan_present != 0).then_some(skb.vlan_tci as u16);
    observe::reply(&Frame::sent(&ctx), tag);
    forward::back_from_ingress()
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No reachable panic: the verifier rejects a program that could loop.
    loop {}
}

/// Helpers that are "GPL only" are available to compatible licences.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
