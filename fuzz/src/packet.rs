//! A frame, as the XDP program and the engine parse it.

use filter_common::Packet;

/// The frame's bytes.
pub(crate) fn packet(data: &[u8]) {
    if let Ok(Some(packet)) = Packet::parse(data) {
        let (payload, end) = (usize::from(packet.payload), packet.end as usize);
        assert!(payload <= end && end <= data.len(), "{packet:?}");
    }
}
