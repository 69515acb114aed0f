//! The client's side of TCP streams, as far as a lab's cable that loses nothing needs them: in order, nothing is held.

use std::collections::HashMap;

use filter_score::{Disposition, Scorer, Stream};

/// Flows at once: more than a lab has connections, also when many are refused.
const MOST: usize = 65_536;

/// Addresses and ports.
type Key = [u8; 12];

struct Flow {
    stream: Stream,
    /// The number of the next byte.
    next: u32,
}

/// All flows, and the scorer.
pub(super) struct Flows {
    scorer: Scorer,
    flows: HashMap<Key, Flow>,
}

/// What a TCP packet over IPv4 is made of.
struct Segment<'a> {
    key: Key,
    sequence: u32,
    flags: u8,
    payload: &'a [u8],
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

impl Flows {
    pub(super) fn new(scorer: Scorer) -> Self {
        Self {
            scorer,
            flows: HashMap::new(),
        }
    }

    /// Takes an IP packet; false if it completes an attack. What is no such segment passes.
    pub(super) fn take(&mut self, packet: &[u8]) -> bool {
        let Some(segment) = Segment::parse(packet) else {
            return true;
        };
        if segment.flags & SYN != 0 {
            self.forget(&segment.key);
            if self.flows.len() < MOST {
                let flow = Flow {
                    stream: Stream::new(),
                    next: segment.sequence.wrapping_add(1),
                };
                self.flows.insert(segment.key, flow);
            }
            return true;
        }
        let accepted = self.score(&segment);
        if !accepted || segment.flags & (FIN | RST) != 0 {
            self.forget(&segment.key);
        }
        accepted
    }

    fn score(&mut self, segment: &Segment<'_>) -> bool {
        let Some(flow) = self.flows.get_mut(&segment.key) else {
            return true;
        };
        // Sent again: what was scored is left out.
        let known = flow.next.wrapping_sub(segment.sequence) as usize;
        let Some(new) = segment.payload.get(known..).filter(|new| !new.is_empty()) else {
            return true;
        };
        flow.next = flow.next.wrapping_add(new.len() as u32);
        let disposition = self.scorer.feed(&mut flow.stream, new, |_| ());
        !matches!(disposition, Disposition::Block | Disposition::Refused)
    }

    fn forget(&mut self, key: &Key) {
        if let Some(mut flow) = self.flows.remove(key) {
            self.scorer.release(&mut flow.stream);
        }
    }
}

impl<'a> Segment<'a> {
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 15) * 4;
        let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        if packet[0] >> 4 != 4 || *packet.get(9)? != 6 {
            return None;
        }
        // A joined packet of 64 KB says 0.
        let tcp = packet.get(header..if total == 0 { packet.len() } else { total })?;
        let mut key = [0; 12];
        key[..8].copy_from_slice(packet.get(12..20)?);
        key[8..].copy_from_slice(tcp.get(..4)?);
        let data = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            key,
            sequence: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
            flags: *tcp.get(13)?,
            payload: tcp.get(data..)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score;

    fn packet(port: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&(40 + payload.len() as u16).to_be_bytes());
        bytes[9] = 6;
        bytes[20..22].copy_from_slice(&port.to_be_bytes());
        bytes[24..28].copy_from_slice(&sequence.to_be_bytes());
        bytes[32] = 5 << 4;
        bytes[33] = flags;
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn attacks_are_found_across_segments_and_retransmissions() {
        let mut flows = Flows::new(score::operating().expect("the built-in rules"));
        let good = b"GET / HTTP/1.1\r\nHost: lab\r\nUser-Agent: a\r\nAccept: */*\r\n\r\n";
        let bad = b"GET /?id=1'+UNION+SELECT+password+FROM+users-- HTTP/1.1\r\nHost: lab\r\n\r\n";
        let (first, second) = bad.split_at(20);
        let at = |offset: usize| 8 + offset as u32;
        assert!(flows.take(&packet(1, 7, SYN, b"")));
        assert!(flows.take(&packet(1, at(0), 16, good)));
        assert!(flows.take(&packet(1, at(0), 16, good)), "sent again");
        assert!(flows.take(&packet(1, at(good.len()), 16, first)));
        assert!(!flows.take(&packet(1, at(good.len() + 20), 16, second)));
        assert!(flows.flows.is_empty());
        assert!(flows.take(b"") && flows.take(&[0x45; 30]));
    }
}
