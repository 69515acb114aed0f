//! The PROXY protocol, versions 1 and 2 (proxy-protocol.txt of the `HAProxy` project): what a proxy sends in front of a connection's
//! first request to say whose it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V1_START: &[u8] = b"PROXY ";
/// The longest header of version 1, with its CRLF (§2.1).
const V1_BYTES: usize = 107;
/// What version 2 begins with (§2.2).
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Its fixed part: signature, version and command, family and protocol, length.
const V2_FIXED: usize = 16;
/// The longest header of version 2 that is read, additional fields (TLVs) included.
const V2_BYTES: usize = 536;
/// Source and destination address and port.
const V4_ADDRESSES: usize = 12;
const V6_ADDRESSES: usize = 36;
/// Two socket names (`sockaddr_un`).
const UNIX_ADDRESSES: usize = 216;

/// A header of which some bytes may be here, in any segmentation.
#[derive(Clone, Debug)]
pub struct Preface {
    /// The bytes so far: of version 2, those up to the addresses.
    bytes: [u8; V1_BYTES],
    /// How many of `bytes` are taken.
    kept: u8,
    /// Bytes at the end of version 2 that say nothing about addresses and are still to come.
    skip: u16,
    header: Option<Header>,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The connection is another's, of this address.
    Source(IpAddr),
    /// The connection is the proxy's own (`LOCAL`), or it does not say whose it is (`UNKNOWN`, `UNSPEC`, a Unix socket):
    /// the addresses of its packets count.
    Own,
}

/// What some bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The header goes on behind them.
    More,
    /// It ended after so many of them.
    Done(usize, Header),
    /// There is no header: these bytes, and those [kept](Preface::kept) before, are the stream's.
    Absent,
    /// It begins as a header does and is none.
    Malformed,
}

impl Default for Preface {
    fn default() -> Self {
        Self {
            bytes: [0; V1_BYTES],
            kept: 0,
            skip: 0,
            header: None,
        }
    }
}

impl Preface {
    /// Takes the next bytes of a stream.
    pub fn take(&mut self, input: &[u8]) -> Progress {
        let mut at = 0;
        loop {
            if let Some(header) = self.header {
                let skipped = input.len().saturating_sub(at).min(self.skip.into());
                at += skipped;
                self.skip -= skipped as u16;
                if self.skip > 0 {
                    return Progress::More;
                }
                return Progress::Done(at, header);
            }
            let Some(&byte) = input.get(at) else {
                return Progress::More;
            };
            // Read before it is kept: of what is no header, all bytes of earlier segments are kept, and none of this one.
            let kept = usize::from(self.kept);
            let Some(slot) = self.bytes.get_mut(kept) else {
                return Progress::Malformed;
            };
            *slot = byte;
            let read = self.bytes.get(..=kept).unwrap_or_default();
            match look(read) {
                Look::More => {
                    self.kept += 1;
                    at += 1;
                }
                Look::Header { header, skip } => {
                    self.kept += 1;
                    at += 1;
                    self.header = Some(header);
                    self.skip = skip;
                }
                Look::Absent => {
                    self.kept -= at as u8;
                    return Progress::Absent;
                }
                Look::Malformed => return Progress::Malformed,
            }
        }
    }

    /// The bytes taken so far, of version 2 those up to the addresses.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.bytes[..self.kept.into()]
    }
}

/// What the bytes from the stream's start on are.
enum Look {
    More,
    /// Their header, behind which so many bytes are skipped.
    Header {
        header: Header,
        skip: u16,
    },
    Absent,
    Malformed,
}

fn look(read: &[u8]) -> Look {
    let starts = |start: &[u8]| read.iter().zip(start).all(|(one, other)| one == other);
    if starts(V1_START) {
        version_1(read)
    } else if starts(V2_START) {
        version_2(read)
    } else {
        Look::Absent
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CRLF (§2.1).
fn version_1(read: &[u8]) -> Look {
    match read {
        [line @ .., b'\r', b'\n'] => match line_header(line) {
            Some(header) => Look::Header { header, skip: 0 },
            None => Look::Malformed,
        },
        // A line ends in CRLF and nothing else.
        [.., b'\n'] | [.., b'\r', _] => Look::Malformed,
        _ if read.len() >= V1_BYTES => Look::Malformed,
        _ => Look::More,
    }
}

fn line_header(line: &[u8]) -> Option<Header> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?;
    // What follows `UNKNOWN` is ignored.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Header::Own);
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let (source, destination) = (words.next()?, words.next()?);
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let source = address(source).filter(|_| address(destination).is_some())?;
    let ports = is_port(words.next()?) && is_port(words.next()?);
    (ports && words.next().is_none()).then(|| Header::Source(source.to_canonical()))
}

/// A decimal number up to 65535 without leading zeros.
fn is_port(text: &str) -> bool {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    plain && text.parse::<u16>().is_ok()
}

/// The binary form (§2.2), as far as its addresses.
fn version_2(read: &[u8]) -> Look {
    let &[
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        command,
        family,
        high,
        low,
        ref addresses @ ..,
    ] = read
    else {
        return Look::More;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if V2_FIXED + length > V2_BYTES {
        return Look::Malformed;
    }
    let own = Look::Header {
        header: Header::Own,
        skip: length as u16,
    };
    match (command, family) {
        // LOCAL, whatever the family; UNSPEC.
        (0x20, _) | (0x21, 0x00) => own,
        (0x21, 0x31 | 0x32) if length >= UNIX_ADDRESSES => own,
        (0x21, 0x11 | 0x12) if length >= V4_ADDRESSES => {
            let source = addresses
                .first_chunk()
                .map(|octets: &[u8; 4]| IpAddr::from(*octets));
            proxied(
                source.filter(|_| addresses.len() >= V4_ADDRESSES),
                length - V4_ADDRESSES,
            )
        }
        (0x21, 0x21 | 0x22) if length >= V6_ADDRESSES => {
            let source = addresses
                .first_chunk()
                .map(|octets: &[u8; 16]| IpAddr::from(*octets));
            proxied(
                source.filter(|_| addresses.len() >= V6_ADDRESSES),
                length - V6_ADDRESSES,
            )
        }
        _ => Look::Malformed,
    }
}

fn proxied(source: Option<IpAddr>, rest: usize) -> Look {
    source.map_or(Look::More, |source| Look::Header {
        header: Header::Source(source.to_canonical()),
        skip: rest as u16,
    })
}

#[cfg(test)]
mod tests;
