//! The order of the checks, which is their meaning: allow list, block list, source blocks, challenge, flow verdict,
//! limits, service policy.
//!
//! The limits ask what the packet is going to be, so that one look-up of its source serves all of them: of a packet whose
//! path is known they are checked last. Only on the way to the suspicion, which itself remembers flows and sources, they are
//! checked before, and those of inspection after it.

use core::{hint::black_box, mem::MaybeUninit};

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, generated::bpf_ktime_get_coarse_ns},
    programs::XdpContext,
};
use filter_common::{
    Action, Address, Bytes, FlowKey, FlowState, Malformed, Packet, Reason,
    block::Block,
    flood::Class,
    lists::Known,
    packet::{protocol, tcp_flag},
    ports::Port,
    service::Service,
    settings::Settings,
};

use crate::{
    challenge,
    frame::Frame,
    key,
    known::Memory,
    limits,
    list::List,
    maps::{ALLOW_V4, ALLOW_V6, BLOCK_V4, BLOCK_V6, FLOWS, PORTS, SERVICES, SOURCE_BLOCKS},
    suspicion,
};

/// Where the transport header starts at the latest, as the parser has it, for the verifier.
const MAX_TRANSPORT: usize = 512;

/// What shall become of a packet. The order and the padding let whole words be cleared.
#[repr(C)]
pub(crate) struct Decision {
    /// Which flow; zero if the headers did not parse.
    pub(crate) flow: FlowKey,
    /// When a bare acknowledgement came, to the kernel's tick; of others 0.
    pub(crate) acknowledged_ns: u64,
    /// Why, and with that what.
    pub(crate) reason: Reason,
    /// How drops are sampled.
    pub(crate) sample_mask: u32,
    /// The sequence number, of a segment that is to be answered.
    pub(crate) sequence: u32,
    /// The largest segment the flow's server takes; 0 if that is not known.
    pub(crate) server_mss: u16,
    /// Where the IP header starts.
    pub(crate) network: u16,
    /// Not zero if it is one of IPv4.
    pub(crate) is_v4: u8,
    /// Not zero if a redirect has to enter the flow into the map.
    pub(crate) is_new: u8,
    /// Not zero if it belongs to no known flow of a service that is inspected whole, and opens none.
    pub(crate) stray: u8,
    /// Always zero.
    padding: u8,
}

impl Decision {
    /// About a packet of which nothing more is known.
    #[inline(always)]
    fn new(reason: Reason, sample_mask: u32, flow: FlowKey) -> Self {
        // A zero that neither the compiler nor the verifier sees through: the one would clear byte by byte, the other tell apart what is
        // zero here and what is not.
        let zero = black_box(0_u64);
        Self {
            flow,
            acknowledged_ns: zero,
            reason,
            sample_mask,
            sequence: zero as u32,
            server_mss: zero as u16,
            network: zero as u16,
            is_v4: zero as u8,
            is_new: zero as u8,
            stray: zero as u8,
            padding: zero as u8,
        }
    }

    /// About one whose flow is not known.
    #[inline(always)]
    fn without_flow(reason: Reason, sample_mask: u32) -> Self {
        Self::new(reason, sample_mask, key::flow_of(black_box(0)))
    }
}

/// Decides about a packet, without side effects but the hit counts of blocks and sources and the tokens it takes.
///
/// Writes the decision where it stays: a copy would read in words what was written in pieces a moment before.
#[inline(always)]
pub(crate) fn decide<'a>(
    ctx: &XdpContext,
    settings: &Settings,
    decision: &'a mut MaybeUninit<Decision>,
) -> &'a Decision {
    if settings.generation == 0 {
        return decision.write(Decision::without_flow(Reason::NotConfigured, u32::MAX));
    }
    let mut packet = MaybeUninit::uninit();
    if let Some(reason) = parse(ctx, &mut packet) {
        return decision.write(Decision::without_flow(reason, settings.sample_mask));
    }
    // SAFETY: written, as there is no reason against it.
    let packet: &Packet = unsafe { packet.assume_init_ref() };
    let vlan = if packet.vlan_tags > 0 {
        vlan(&Frame::linear(ctx), packet)
    } else {
        [0; 3]
    };
    let flow = key::flow(
        (&packet.source, packet.source_port),
        (&packet.destination, packet.destination_port),
        packet.protocol,
        vlan,
    );
    let decision = decision.write(Decision::new(Reason::NotConfigured, settings.sample_mask, flow));
    decision.network = packet.network;
    decision.is_v4 = u8::from(packet.is_v4);
    decision.reason = reason(ctx, packet, settings, decision);
    decision
}

/// A function of its own, with a stack frame of its own.
#[inline(never)]
fn reason(ctx: &XdpContext, packet: &Packet, settings: &Settings, decision: &mut Decision) -> Reason {
    let Some(memory) = Memory::of(&packet.source) else {
        return Reason::NotConfigured;
    };
    if memory.known != Known::CLEAN
        && let Some(reason) = by_address(&packet.source, packet.is_v4, settings, &memory)
    {
        return reason;
    }
    by_flow(ctx, packet, settings, decision)
}

/// Parses a packet into `packet`, unless there is a reason why not. A function of its own, with a stack frame of its own.
#[inline(never)]
fn parse(ctx: &XdpContext, packet: &mut MaybeUninit<Packet>) -> Option<Reason> {
    match Packet::parse(&Frame::received(ctx)) {
        Err(Malformed(reason)) => Some(reason),
        Ok(None) => Some(Reason::NotIp),
        Ok(Some(parsed)) => {
            let packet = packet.write(parsed);
            key::store_whole(&mut packet.source);
            key::store_whole(&mut packet.destination);
            None
        }
    }
}

/// A function of its own: what it returns is anything to the verifier, which then need not tell tagged packets apart.
#[inline(never)]
pub(crate) fn vlan(frame: &Frame, packet: &Packet) -> [u8; 3] {
    packet.vlan(frame)
}

/// What the lists say of a source. A function of its own, with a stack frame of its own.
#[inline(never)]
fn by_address(source: &Address, is_v4: bool, settings: &Settings, memory: &Memory) -> Option<Reason> {
    if memory.known == Known::ALLOWED {
        return Some(Reason::AllowList);
    }
    if memory.known == Known::NOTHING {
        let allowed = List {
            v4: &ALLOW_V4,
            v6: &ALLOW_V6,
        };
        if allowed.find(source, is_v4).is_some() {
            memory.keep(source, Known::ALLOWED);
            return Some(Reason::AllowList);
        }
    }
    if memory.known != Known::ON_NO_LIST {
        let blocked = List {
            v4: &BLOCK_V4,
            v6: &BLOCK_V6,
        };
        if hit(blocked.find(source, is_v4)) {
            memory.keep(source, Known::NOT_ALLOWED);
            return Some(Reason::BlockList);
        }
    }
    // Not by `source_key`, which would copy it.
    let block = if is_v4 {
        SOURCE_BLOCKS.get_ptr_mut(source)
    } else {
        SOURCE_BLOCKS.get_ptr_mut(key::masked(source, &settings.source_mask))
    };
    if hit(block) {
        memory.keep(source, Known::ON_NO_LIST);
        return Some(Reason::SourceBlock);
    }
    memory.keep(source, Known::CLEAN);
    None
}

/// Whether a block holds; counts the hit.
#[inline(always)]
fn hit(block: Option<*mut Block>) -> bool {
    let Some(block) = block else { return false };
    // SAFETY: the map returned a valid entry, which the kernel keeps until the program ends. CPUs race on
    // `hits`, which is documented as approximate.
    unsafe {
        if (*block).until_ns != 0 && bpf_ktime_get_ns() >= (*block).until_ns {
            return false;
        }
        (*block).hits += 1;
    }
    true
}

/// The source as sources are keyed: IPv4 whole, IPv6 by its configured prefix.
#[inline(always)]
pub(crate) fn source_key(source: &Address, is_v4: bool, settings: &Settings) -> Address {
    if is_v4 {
        *source
    } else {
        key::masked(source, &settings.source_mask)
    }
}

/// The flow's verdict or the service's policy, if the packet is within the limits.
#[inline(always)]
fn by_flow(ctx: &XdpContext, packet: &Packet, settings: &Settings, decision: &mut Decision) -> Reason {
    let port = if packet.protocol == protocol::TCP {
        port(packet.destination_port)
    } else {
        Port::default()
    };
    let asks = packet.tcp_flags & (tcp_flag::SYN | tcp_flag::RST) != 0 && settings.challenge.is_on();
    if !port.is_unused() && asks {
        let challenged = challenged(ctx, packet, settings, decision, port);
        if let Some(reason) = challenged {
            return reason;
        }
    }
    let mut classes = limits::classes(&Frame::linear(ctx), packet, settings);
    let reason = match path(packet, settings, decision, port) {
        Path::Settled(reason) => reason,
        Path::Suspicion => {
            if let Some(limit) = limits::exceeded(packet, settings, classes) {
                return limit;
            }
            classes = 0;
            let gist = suspicion::Gist {
                payload: packet.payload,
                end: packet.end,
                tcp_flags: packet.tcp_flags,
                odd: packet.odd,
                is_v4: packet.is_v4,
            };
            suspicion::judge(ctx, &gist, settings, &decision.flow)
        }
    };
    match reason.action() {
        Action::Drop | Action::Answer => return reason,
        Action::Pass => {}
        Action::Redirect => {
            // Without a branch again. Strays with a limit of their own are no matter of single sources: most have forged addresses,
            // of which nothing shall be remembered.
            let is_stray = u32::from(decision.stray >> 1 | decision.stray >> 4) & 1;
            classes |= Class::Inspected.bit() ^ (settings.flood.not_of_strays * is_stray);
            if decision.is_new != 0 {
                classes |= Class::Flows.bit();
            }
        }
    }
    limits::exceeded(packet, settings, classes).unwrap_or(reason)
}

/// What is known of a packet's path before anything is remembered of it.
enum Path {
    Settled(Reason),
    /// The service is inspected on suspicion.
    Suspicion,
}

#[inline(always)]
fn path(packet: &Packet, settings: &Settings, decision: &mut Decision, port: Port) -> Path {
    if packet.fragment {
        return Path::Settled(fragment(packet, settings));
    }
    if port.is_unused() {
        return Path::Settled(Reason::NoService);
    }
    // By reference: its value would be a copy.
    let key: &FlowKey = &decision.flow;
    if port.has_flows()
        && let Some(flow) = FLOWS.get_ptr_mut(key)
    {
        // SAFETY: as in `hit`; the egress observer and the engine write other fields, or the whole value
        // when they mean to replace the verdict.
        let reason = unsafe {
            decision.server_mss = (*flow).server_mss;
            known_flow(flow, packet, settings, decision)
        };
        if let Some(reason) = reason {
            return Path::Settled(reason);
        }
    }
    decision.is_new = 1;
    let Some(inspect) = service(&packet.destination, packet.destination_port, port) else {
        return Path::Settled(Reason::NoService);
    };
    Path::Settled(if inspect == Service::INSPECT_NONE {
        Reason::ServiceNone
    } else if packet.vlan_tags > 0 && settings.vlan != Settings::VLAN_INSPECT {
        if settings.vlan == Settings::VLAN_DROP {
            Reason::Vlan
        } else {
            Reason::VlanPass
        }
    } else if inspect == Service::INSPECT_ALL {
        // Without a branch, behind which the verifier would look at everything once more.
        decision.stray = packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) ^ tcp_flag::SYN;
        Reason::ServiceAll
    } else {
        return Path::Suspicion;
    })
}

/// What the challenge says of a segment with SYN or RST.
#[inline(always)]
fn challenged(
    ctx: &XdpContext,
    packet: &Packet,
    settings: &Settings,
    decision: &mut Decision,
    port: Port,
) -> Option<Reason> {
    let opens = packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
    let resets = packet.tcp_flags & (tcp_flag::RST | tcp_flag::ACK) == tcp_flag::RST;
    let transport = usize::from(packet.transport);
    if !opens && !resets
        || packet.vlan_tags > 0 && settings.vlan == Settings::VLAN_DROP
        || transport > MAX_TRANSPORT
    {
        return None;
    }
    let inspect = service(&packet.destination, packet.destination_port, port)?;
    if inspect == Service::INSPECT_NONE {
        return None;
    }
    decision.sequence = Frame::linear(ctx).u32(transport + 4)?;
    let segment = challenge::Segment {
        kind: if opens {
            challenge::Kind::Opens
        } else if challenge::is_answer(settings, &decision.flow, decision.sequence) {
            challenge::Kind::Answers
        } else {
            challenge::Kind::Resets
        },
        is_tracked: inspect == Service::INSPECT_ALL,
        is_v4: packet.is_v4,
    };
    challenge::judge(&segment, settings, &decision.flow)
}

/// The verdict on a flow that is in the map; `None` if it has to be decided anew.
///
/// # Safety
///
/// `flow` must point at a live value of the `FLOWS` map.
#[inline(always)]
unsafe fn known_flow(
    flow: *mut FlowState,
    packet: &Packet,
    settings: &Settings,
    decision: &mut Decision,
) -> Option<Reason> {
    // SAFETY: by contract.
    let state = unsafe { &mut *flow };
    let opens = packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
    match state.path {
        FlowState::PATH_INSPECT => {
            let role = packet.tcp_flags & tcp_flag::ROLE;
            let is_empty = u32::from(packet.payload) >= packet.end;
            if is_empty && role == tcp_flag::ACK && state.client_open != 0 {
                // SAFETY: a helper without arguments.
                decision.acknowledged_ns = unsafe { bpf_ktime_get_coarse_ns() };
                state.acknowledged_ns = decision.acknowledged_ns;
                return Some(Reason::Acknowledgement);
            }
            let is_open = u8::from(role & tcp_flag::SYN == 0);
            if state.client_open != is_open {
                state.client_open = is_open;
            }
            if state.new_source != 0 && !is_empty {
                suspicion::count_request(source_key(&packet.source, packet.is_v4, settings));
            }
            Some(Reason::FlowInspect)
        }
        FlowState::PATH_PASS if !opens => Some(Reason::NotSuspicious),
        FlowState::PATH_BLOCK => {
            // SAFETY: a helper without arguments.
            if state.until_ns != 0 && unsafe { bpf_ktime_get_ns() } >= state.until_ns {
                return None;
            }
            state.drops += 1;
            Some(Reason::FlowBlock)
        }
        _ => None,
    }
}

/// What services there are on a port.
#[inline(always)]
fn port(number: u16) -> Port {
    PORTS.get(0).map_or(Port::default(), |ports| ports.of(number))
}

/// How the service at a destination is inspected: one of [`Service`]'s constants, or `None` if there is no service.
#[inline(always)]
fn service(address: &Address, number: u16, port: Port) -> Option<u32> {
    if port.is_of_single_addresses()
        && let Some(inspect) = single(address, number)
    {
        return Some(inspect);
    }
    port.of_any_address()
}

/// The same of one at this address alone. A function of its own, with a stack frame of its own.
#[inline(never)]
fn single(address: &Address, number: u16) -> Option<u32> {
    // SAFETY: services are written by userspace only, whole values at a time.
    unsafe { SERVICES.get(key::service(address, number)) }.map(|service| service.inspect)
}

/// Fragments carry no ports, or cannot be trusted to: they count for every service of the address.
#[inline(always)]
fn fragment(packet: &Packet, settings: &Settings) -> Reason {
    if !packet.may_hold_tcp() {
        return Reason::NoService;
    }
    match service(&packet.destination, 0, port(0)) {
        Some(inspect) if inspect != Service::INSPECT_NONE => match settings.fragments {
            Settings::FRAGMENTS_PASS => Reason::FragmentPass,
            Settings::FRAGMENTS_INSPECT => Reason::FragmentInspect,
            _ => Reason::Fragment,
        },
        _ => Reason::NoService,
    }
}
