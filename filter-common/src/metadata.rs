//! What travels with a redirected packet, in the XDP metadata area right in front of its first byte.

/// Written by the XDP program, read by the engine.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// When the XDP program saw the packet, nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// [`Metadata::MAGIC`], so that a frame without metadata is told apart.
    pub magic: u32,
    /// Why the packet was redirected: a [`crate::Reason`] as number.
    pub reason: u16,
    /// The flow's [`crate::FlowState::server_mss`].
    pub server_mss: u16,
}

impl Metadata {
    /// Marks valid metadata.
    pub const MAGIC: u32 = 0x7063_6c31;
    /// Bytes on the wire, as it were: in front of the packet.
    pub const SIZE: usize = size_of::<Self>();

    /// Reads the metadata from the bytes right in front of a packet; `None` if there is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let [t0, t1, t2, t3, t4, t5, t6, t7, m0, m1, m2, m3, r0, r1, s0, s1] = *bytes;
        let metadata = Self {
            time_ns: u64::from_ne_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            magic: u32::from_ne_bytes([m0, m1, m2, m3]),
            reason: u16::from_ne_bytes([r0, r1]),
            server_mss: u16::from_ne_bytes([s0, s1]),
        };
        (metadata.magic == Self::MAGIC).then_some(metadata)
    }
}

const _: () = assert!(Metadata::SIZE == 16);
