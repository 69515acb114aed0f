//! Packet captures: the classic pcap format and pcapng, of Ethernet, raw IP and Linux "cooked" links.
//!
//! Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; link types: the tcpdump.org registry. Every frame
//! comes out as Ethernet, with a made-up header where the link has none. Memory is bounded by the longest frame.

use std::io::{self, Read};

/// The longest frame, in bytes; libpcap's own bound.
const MAX_FRAME: usize = 262_144;

/// The longest pcapng block that is looked into: a frame with its options.
const MAX_BLOCK: usize = MAX_FRAME + 65_536;

/// The most interfaces of one pcapng section.
const MAX_INTERFACES: usize = 4_096;

/// An Ethernet header: two addresses and the type.
const ETHERNET_HEADER: usize = 14;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// A captured frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured, in nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// The Ethernet frame, as far as it was captured.
    pub bytes: &'a [u8],
    /// Whether the capture cut it off.
    pub truncated: bool,
}

/// A capture that is being read.
pub struct Capture {
    input: Box<dyn Read>,
    format: Format,
    /// Room for an Ethernet header, then a record.
    buffer: Vec<u8>,
    skipped: u64,
}

#[derive(Clone, Copy)]
enum Endian {
    Big,
    Little,
}

impl Endian {
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        match self {
            Self::Big => u16::from_be_bytes(bytes),
            Self::Little => u16::from_le_bytes(bytes),
        }
    }

    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }
}

enum Format {
    Classic {
        endian: Endian,
        link: Link,
        ns_per_unit: u64,
    },
    Ng {
        endian: Endian,
        interfaces: Vec<Interface>,
    },
}

/// What precedes the network layer in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Ethernet,
    /// Nothing, or a header of so many bytes that says no more than the IP version does.
    Ip {
        header: usize,
    },
    /// A header of so many bytes, with an Ethernet type at an offset.
    Cooked {
        header: usize,
        ethertype_at: usize,
    },
}

impl Link {
    /// LINKTYPE_ values of the tcpdump.org registry.
    fn of(linktype: u32) -> Option<Self> {
        match linktype {
            1 => Some(Self::Ethernet),
            // NULL and LOOP: the address family in four bytes.
            0 | 108 => Some(Self::Ip { header: 4 }),
            // RAW (also by the number some systems gave it), IPV4, IPV6.
            12 | 101 | 228 | 229 => Some(Self::Ip { header: 0 }),
            113 => Some(Self::Cooked {
                header: 16,
                ethertype_at: 14,
            }),
            276 => Some(Self::Cooked {
                header: 20,
                ethertype_at: 0,
            }),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Interface {
    link: Option<Link>,
    snap_length: u32,
    units_per_second: u64,
}

impl Capture {
    /// Begins to read a capture, and tells its format by its first bytes.
    pub fn open(mut input: Box<dyn Read>) -> Result<Self, CaptureError> {
        let mut magic = [0; 4];
        fill(&mut input, &mut magic)?;
        let format = match magic {
            [0xa1, 0xb2, 0xc3, 0xd4] => classic(&mut input, Endian::Big, 1_000)?,
            [0xd4, 0xc3, 0xb2, 0xa1] => classic(&mut input, Endian::Little, 1_000)?,
            [0xa1, 0xb2, 0x3c, 0x4d] => classic(&mut input, Endian::Big, 1)?,
            [0x4d, 0x3c, 0xb2, 0xa1] => classic(&mut input, Endian::Little, 1)?,
            SECTION_HEADER => Format::Ng {
                endian: section_header(&mut input)?,
                interfaces: Vec::new(),
            },
            _ => return Err(CaptureError::NotACapture),
        };
        Ok(Self {
            input,
            format,
            buffer: Vec::new(),
            skipped: 0,
        })
    }

    /// The next frame; none at the end.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        loop {
            let record = match &mut self.format {
                Format::Classic {
                    endian,
                    link,
                    ns_per_unit,
                } => {
                    let record = classic_record(&mut self.input, &mut self.buffer, *endian, *ns_per_unit)?;
                    record.map(|record| (record, Some(*link)))
                }
                Format::Ng { endian, interfaces } => {
                    ng_record(&mut self.input, &mut self.buffer, endian, interfaces)?
                }
            };
            let Some((record, link)) = record else {
                return Ok(None);
            };
            let Some(start) = link.and_then(|link| to_ethernet(link, &mut self.buffer, &record)) else {
                self.skipped += 1;
                continue;
            };
            return Ok(Some(Frame {
                timestamp_ns: record.timestamp_ns,
                bytes: &self.buffer[start..record.end],
                truncated: record.truncated,
            }));
        }
    }

    /// Frames left out so far: of an unknown link type, or too short for their link's header.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// A frame in the buffer.
struct Record {
    timestamp_ns: u64,
    start: usize,
    end: usize,
    truncated: bool,
}

fn classic(input: &mut dyn Read, endian: Endian, ns_per_unit: u64) -> Result<Format, CaptureError> {
    let mut header = [0; 20];
    fill(input, &mut header)?;
    // The upper bits say how long the frames' checksums are.
    let linktype = endian.u32(&header, 16) & 0xffff;
    let link = Link::of(linktype).ok_or(CaptureError::Link { linktype })?;
    Ok(Format::Classic {
        endian,
        link,
        ns_per_unit,
    })
}

fn classic_record(
    input: &mut dyn Read,
    buffer: &mut Vec<u8>,
    endian: Endian,
    ns_per_unit: u64,
) -> Result<Option<Record>, CaptureError> {
    let mut header = [0; 16];
    if !fill_or_end(input, &mut header)? {
        return Ok(None);
    }
    let length = endian.u32(&header, 8) as usize;
    if length > MAX_FRAME {
        return Err(CaptureError::TooLong { length });
    }
    buffer.resize(ETHERNET_HEADER + length, 0);
    fill(input, &mut buffer[ETHERNET_HEADER..])?;
    let fraction_ns = u64::from(endian.u32(&header, 4)) * ns_per_unit;
    Ok(Some(Record {
        timestamp_ns: u64::from(endian.u32(&header, 0)) * 1_000_000_000 + fraction_ns,
        start: ETHERNET_HEADER,
        end: ETHERNET_HEADER + length,
        truncated: endian.u32(&header, 12) as usize > length,
    }))
}

const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const INTERFACE_DESCRIPTION: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Reads a section header behind its type, to its end.
fn section_header(input: &mut dyn Read) -> Result<Endian, CaptureError> {
    let mut head = [0; 8];
    fill(input, &mut head)?;
    let endian = match [head[4], head[5], head[6], head[7]] {
        [0x1a, 0x2b, 0x3c, 0x4d] => Endian::Big,
        [0x4d, 0x3c, 0x2b, 0x1a] => Endian::Little,
        _ => {
            return Err(CaptureError::Block {
                what: "a section header without its byte-order magic",
            });
        }
    };
    let length = endian.u32(&head, 0);
    if length < 28 || !length.is_multiple_of(4) {
        return Err(CaptureError::Block {
            what: "a section header of an impossible length",
        });
    }
    skip(input, u64::from(length) - 12)?;
    Ok(endian)
}

/// Reads blocks up to the next packet.
fn ng_record(
    input: &mut dyn Read,
    buffer: &mut Vec<u8>,
    endian: &mut Endian,
    interfaces: &mut Vec<Interface>,
) -> Result<Option<(Record, Option<Link>)>, CaptureError> {
    loop {
        let mut head = [0; 4];
        if !fill_or_end(input, &mut head)? {
            return Ok(None);
        }
        if head == SECTION_HEADER {
            *endian = section_header(input)?;
            interfaces.clear();
            continue;
        }
        let kind = endian.u32(&head, 0);
        fill(input, &mut head)?;
        let length = endian.u32(&head, 0) as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return Err(CaptureError::Block {
                what: "a block of an impossible length",
            });
        }
        let body = length - 12;
        if !matches!(kind, INTERFACE_DESCRIPTION | SIMPLE_PACKET | ENHANCED_PACKET) {
            skip(input, body as u64 + 4)?;
            continue;
        }
        if body > MAX_BLOCK {
            return Err(CaptureError::TooLong { length });
        }
        buffer.resize(ETHERNET_HEADER + body, 0);
        fill(input, &mut buffer[ETHERNET_HEADER..])?;
        skip(input, 4)?;
        let body = &buffer[ETHERNET_HEADER..];
        match kind {
            INTERFACE_DESCRIPTION if interfaces.len() >= MAX_INTERFACES => {
                return Err(CaptureError::Block {
                    what: "more interfaces than a section can have",
                });
            }
            INTERFACE_DESCRIPTION => interfaces.push(interface(*endian, body)?),
            SIMPLE_PACKET => return simple_packet(*endian, body, interfaces).map(Some),
            _ => return enhanced_packet(*endian, body, interfaces).map(Some),
        }
    }
}

fn interface(endian: Endian, body: &[u8]) -> Result<Interface, CaptureError> {
    const RESOLUTION_OPTION: u16 = 9;
    if body.len() < 8 {
        return Err(CaptureError::Block {
            what: "an interface description that is too short",
        });
    }
    let mut units_per_second = 1_000_000;
    let mut options = &body[8..];
    while options.len() >= 4 {
        let (code, length) = (endian.u16(options, 0), usize::from(endian.u16(options, 2)));
        if code == RESOLUTION_OPTION && length >= 1 && options.len() > 4 {
            // The top bit: a power of two instead of ten.
            let exponent = u32::from(options[4] & 0x7f);
            let base: u64 = if options[4] & 0x80 == 0 { 10 } else { 2 };
            units_per_second = base.checked_pow(exponent).ok_or(CaptureError::Block {
                what: "a time resolution beyond 64 bits",
            })?;
        }
        options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Interface {
        link: Link::of(u32::from(endian.u16(body, 0))),
        snap_length: endian.u32(body, 4),
        units_per_second,
    })
}

fn enhanced_packet(
    endian: Endian,
    body: &[u8],
    interfaces: &[Interface],
) -> Result<(Record, Option<Link>), CaptureError> {
    if body.len() < 20 {
        return Err(CaptureError::Block {
            what: "a packet block that is too short",
        });
    }
    let interface = interfaces
        .get(endian.u32(body, 0) as usize)
        .ok_or(CaptureError::Block {
            what: "a packet of an interface that is not described",
        })?;
    let units = u64::from(endian.u32(body, 4)) << 32 | u64::from(endian.u32(body, 8));
    let ns = u128::from(units) * 1_000_000_000 / u128::from(interface.units_per_second);
    let length = endian.u32(body, 12) as usize;
    if length > MAX_FRAME {
        return Err(CaptureError::TooLong { length });
    }
    if length > body.len() - 20 {
        return Err(CaptureError::Block {
            what: "a packet longer than its block",
        });
    }
    let record = Record {
        timestamp_ns: u64::try_from(ns).unwrap_or(u64::MAX),
        start: ETHERNET_HEADER + 20,
        end: ETHERNET_HEADER + 20 + length,
        truncated: endian.u32(body, 16) as usize > length,
    };
    Ok((record, interface.link))
}

/// A packet without a time, of the first interface.
fn simple_packet(
    endian: Endian,
    body: &[u8],
    interfaces: &[Interface],
) -> Result<(Record, Option<Link>), CaptureError> {
    let (Some(interface), true) = (interfaces.first(), body.len() >= 4) else {
        return Err(CaptureError::Block {
            what: "a simple packet without an interface or a length",
        });
    };
    let original = endian.u32(body, 0) as usize;
    let snap = if interface.snap_length == 0 {
        usize::MAX
    } else {
        interface.snap_length as usize
    };
    let length = original.min(snap).min(body.len() - 4);
    if length > MAX_FRAME {
        return Err(CaptureError::TooLong { length });
    }
    let (start, end) = (ETHERNET_HEADER + 4, ETHERNET_HEADER + 4 + length);
    Ok((
        Record {
            timestamp_ns: 0,
            start,
            end,
            truncated: original > length,
        },
        interface.link,
    ))
}

/// Makes the record an Ethernet frame, in place, and says where it starts. The buffer has room for a header.
fn to_ethernet(link: Link, buffer: &mut [u8], record: &Record) -> Option<usize> {
    let frame = &buffer[record.start..record.end];
    let (header, ethertype) = match link {
        Link::Ethernet => return Some(record.start),
        Link::Ip { header } => match frame.get(header)? >> 4 {
            4 => (header, ETHERTYPE_IPV4),
            6 => (header, ETHERTYPE_IPV6),
            _ => return None,
        },
        Link::Cooked { header, ethertype_at } => {
            frame.get(header)?;
            (
                header,
                u16::from_be_bytes([frame[ethertype_at], frame[ethertype_at + 1]]),
            )
        }
    };
    let start = record.start + header - ETHERNET_HEADER;
    buffer[start..start + 12].fill(0);
    buffer[start + 12..start + ETHERNET_HEADER].copy_from_slice(&ethertype.to_be_bytes());
    Some(start)
}

fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> Result<(), CaptureError> {
    input.read_exact(buffer).map_err(CaptureError::from)
}

/// Like [`fill`], but false if the input is at its end.
fn fill_or_end(input: &mut dyn Read, buffer: &mut [u8]) -> Result<bool, CaptureError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(CaptureError::CutOff),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn skip(input: &mut dyn Read, length: u64) -> Result<(), CaptureError> {
    let skipped = io::copy(&mut input.take(length), &mut io::sink())?;
    if skipped == length {
        Ok(())
    } else {
        Err(CaptureError::CutOff)
    }
}

/// Why a capture cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The first bytes are of no known format.
    #[error("not a packet capture (pcap or pcapng)")]
    NotACapture,
    /// The frames are of a link type without IP, or one not known here.
    #[error("frames of link type {linktype} cannot be read; capture Ethernet, raw IP or with `-i any`")]
    Link {
        /// The number in the tcpdump.org registry.
        linktype: u32,
    },
    /// The file ends within a record.
    #[error("the capture is cut off in the middle of a packet")]
    CutOff,
    /// A record is longer than any frame.
    #[error("a record of {length} bytes is longer than any frame; the capture is damaged")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// A pcapng block makes no sense.
    #[error("the capture is damaged: {what}")]
    Block {
        /// What is wrong.
        what: &'static str,
    },
    /// The file cannot be read.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for CaptureError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::CutOff
        } else {
            Self::Io(error)
        }
    }
}
