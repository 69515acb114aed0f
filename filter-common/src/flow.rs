//! Flows: their key, verdict, and what the egress observer saw of the replies.

use crate::Address;

/// A flow in the direction client → server.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The client.
    pub source: Address,
    /// The server.
    pub destination: Address,
    /// The client's port, host byte order.
    pub source_port: u16,
    /// The server's port, host byte order.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The VLANs it is in: identifiers of two tags at most, twelve bits each, network byte order; zeros without a tag.
    pub vlan: [u8; 3],
}

impl FlowKey {
    /// Key of a TCP flow.
    #[inline(always)]
    #[must_use]
    pub const fn tcp(source: Address, source_port: u16, destination: Address, destination_port: u16) -> Self {
        Self {
            source,
            destination,
            source_port,
            destination_port,
            protocol: 6,
            vlan: [0; 3],
        }
    }

    /// The same flow in the VLANs of a packet.
    #[inline(always)]
    #[must_use]
    pub const fn in_vlan(mut self, vlan: [u8; 3]) -> Self {
        self.vlan = vlan;
        self
    }

    /// The key with its ends exchanged: of the opposite direction.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
            vlan: self.vlan,
        }
    }
}

/// Value of the `FLOWS` map.
///
/// Written by the XDP program (first packet), the engine (block) and the egress observer (the `server_*`
/// fields). Writers do not synchronise; each field has one writer while the flow lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowState {
    /// One of the `PATH` constants. All zero, as written by hand, is a block.
    pub path: u32,
    /// The engine's queue that saw the flow first.
    pub queue: u16,
    /// The largest segment the server takes, bytes without headers, from its SYN+ACK; 0 if it was not seen or did not
    /// say.
    pub server_mss: u16,
    /// Until when a block holds, nanoseconds of `CLOCK_MONOTONIC`; 0 for as long as the entry lives.
    pub until_ns: u64,
    /// Packets dropped because of `path`.
    pub drops: u64,
    /// When the XDP program last passed a bare acknowledgement of the client by the engine, nanoseconds of
    /// `CLOCK_MONOTONIC`, to the kernel's tick; 0 for never.
    pub acknowledged_ns: u64,
    /// Highest acknowledgement number the server sent.
    pub server_ack: u32,
    /// Sequence number after the last byte the server sent.
    pub server_next: u32,
    /// The server's receive window as last advertised, in bytes.
    pub server_window: u32,
    /// Acknowledgement number of the server's last SYN+ACK.
    pub server_opened: u32,
    /// Sequence number of the server's last SYN+ACK.
    pub server_isn: u32,
    /// The server's window scale (RFC 7323).
    pub server_scale: u8,
    /// `SERVER_*` bits.
    pub server_flags: u8,
    /// 1 if the flow is inspected because its source is new: its requests then count for the source.
    pub new_source: u8,
    /// 1 once the engine was handed more of the flow than its SYN: bare acknowledgements then pass by it.
    pub client_open: u8,
}

impl FlowState {
    /// Every packet is dropped.
    pub const PATH_BLOCK: u32 = 0;
    /// Every packet goes to the engine.
    pub const PATH_INSPECT: u32 = 1;
    /// Every packet goes to the stack.
    pub const PATH_PASS: u32 = 2;

    /// The egress observer has seen a segment: the `server_*` fields are valid.
    pub const SERVER_SEEN: u8 = 1;
    /// The server sent FIN.
    pub const SERVER_FIN: u8 = 2;
    /// The server sent RST.
    pub const SERVER_RST: u8 = 4;
    /// The server sent SYN+ACK: [`FlowState::server_opened`] is valid.
    pub const SERVER_OPENED: u8 = 8;

    /// A flow that goes to the engine, first seen on `queue`.
    #[inline(always)]
    #[must_use]
    pub const fn inspect(queue: u32) -> Self {
        Self::on(Self::PATH_INSPECT, queue)
    }

    /// A flow on `path`, first seen on `queue`.
    #[inline(always)]
    #[must_use]
    pub const fn on(path: u32, queue: u32) -> Self {
        Self {
            path,
            queue: queue as u16,
            server_mss: 0,
            until_ns: 0,
            drops: 0,
            acknowledged_ns: 0,
            server_ack: 0,
            server_next: 0,
            server_window: 0,
            server_opened: 0,
            server_isn: 0,
            server_scale: 0,
            server_flags: 0,
            new_source: 0,
            client_open: 0,
        }
    }
}

const _: () = assert!(size_of::<FlowKey>() == 40);
const _: () = assert!(size_of::<FlowState>() == 56);
