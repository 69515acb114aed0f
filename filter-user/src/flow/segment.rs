//! What the stream layer needs to know of one received TCP segment.

use super::Seq;

/// The control bits of a TCP header as they lie in its fourteenth byte (RFC 9293 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push; without meaning to the stream.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One TCP segment inside a frame: the header fields that move a stream, and where the payload lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Sequence number of the first payload byte (of the SYN, when it is set).
    pub seq: Seq,
    /// Control bits.
    pub flags: Flags,
    /// Where the payload begins in the frame, in bytes.
    pub offset: u16,
    /// Payload length in bytes, without link-layer padding.
    pub len: u16,
}

impl Segment {
    /// A segment without flags and payload.
    pub(super) const EMPTY: Self = Self {
        seq: Seq(0),
        flags: Flags(0),
        offset: 0,
        len: 0,
    };

    /// The sequence number after the last payload byte: where a FIN of this segment sits.
    #[must_use]
    pub fn data_end(&self) -> Seq {
        self.seq + u32::from(self.len)
    }

    /// The sequence number after all that the segment occupies, a FIN counted as one (RFC 9293 §3.4).
    #[must_use]
    pub fn end(&self) -> Seq {
        self.data_end() + u32::from(self.fin())
    }

    /// Whether the segment carries a FIN.
    #[must_use]
    pub fn fin(&self) -> bool {
        self.flags.has(Flags::FIN)
    }

    /// The payload inside its frame, or nothing when the two do not belong together.
    #[must_use]
    pub fn payload<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::from(self.offset);
        frame.get(start..start + usize::from(self.len))
    }
}
