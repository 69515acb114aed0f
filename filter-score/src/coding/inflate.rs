//! gzip (RFC 1952), zlib (RFC 1950) and bare DEFLATE (RFC 1951) as streams.
//!
//! Checksums are not compared: what a target decodes before it finds them wrong was scored.

use std::fmt;
use std::ops::Range;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::{Progress, WINDOW};

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Bytes of name, comment and extra field that a gzip header may have; more is taken for corrupt.
const HEADER_TEXT: usize = 1024;

/// Parts of a gzip header, by their flag's bit.
const CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The fixed part of a gzip header, so many bytes of it seen; `first`: of the first member.
    GzipHeader {
        seen: u8,
        first: bool,
    },
    /// The length of the extra field, low byte first.
    ExtraLength {
        low: Option<u8>,
    },
    Extra {
        left: u16,
    },
    /// Name or comment: whichever flag is set.
    Text,
    HeaderChecksum {
        left: u8,
    },
    /// The two bytes of a zlib header, or the start of bare DEFLATE.
    ZlibHeader {
        first: Option<u8>,
    },
    Data,
    Trailer {
        left: u8,
    },
    /// After a stream that nothing may follow.
    Closed,
    /// After a gzip member: padding with zeros, or another member.
    BetweenMembers,
    Corrupt,
}

/// A decoder with its window: what it hands out are slices of it.
pub(super) struct Inflater {
    core: DecompressorOxide,
    window: Box<[u8]>,
    /// Where the next output goes.
    position: usize,
    pending: Range<usize>,
    part: Part,
    gzip: bool,
    /// DEFLATE without a zlib header around it.
    bare: bool,
    flags: u8,
    total: u64,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, total, .. } = self;
        write!(f, "Inflater({part:?}, {total} bytes)")
    }
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            core: DecompressorOxide::new(),
            window: vec![0; WINDOW].into(),
            position: 0,
            pending: 0..0,
            part: Part::Closed,
            gzip: false,
            bare: false,
            flags: 0,
            total: 0,
        }
    }

    /// Begins a stream. The window is cleared: no stream can refer to what another one left in it.
    pub(super) fn begin(&mut self, gzip: bool) {
        self.core.init();
        self.window.fill(0);
        self.position = 0;
        self.pending = 0..0;
        self.gzip = gzip;
        self.bare = false;
        self.total = 0;
        self.part = if gzip {
            Part::GzipHeader { seen: 0, first: true }
        } else {
            Part::ZlibHeader { first: None }
        };
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.window[self.pending.clone()]
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.pending.start += count;
    }

    /// Bytes decoded so far.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Whether a window's worth of output has just come.
    pub(super) fn window_full(&self) -> bool {
        self.pending.end == WINDOW
    }

    /// Takes input until there is output. Nothing may be pending.
    pub(super) fn decode(&mut self, input: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        loop {
            match self.part {
                Part::Data => {
                    let (consumed, progress) = self.inflate(&input[at..]);
                    at += consumed;
                    if progress != Progress::End || !self.pending.is_empty() {
                        return (at, progress);
                    }
                }
                Part::Corrupt => return (input.len(), Progress::Corrupt),
                _ => {}
            }
            let Some(&byte) = input.get(at) else {
                let ended = matches!(self.part, Part::Closed | Part::BetweenMembers);
                return (at, if ended { Progress::End } else { Progress::Input });
            };
            match self.part {
                Part::GzipHeader { seen, first: true }
                    if GZIP_MAGIC
                        .get(usize::from(seen))
                        .is_some_and(|magic| *magic != byte) =>
                {
                    return (at, Progress::Mismatch(seen));
                }
                Part::ZlibHeader { first: Some(first) } => {
                    at += 1;
                    self.part = Part::Data;
                    if first & 0xf != 8 || (u16::from(first) << 8 | u16::from(byte)) % 31 != 0 {
                        self.bare = true;
                        return (at, self.inflate(&[first, byte]).1);
                    }
                    // A preset dictionary is something no server has.
                    if byte & 0x20 != 0 {
                        self.part = Part::Corrupt;
                    }
                }
                _ => {
                    at += 1;
                    self.part = self.header(byte);
                    if self.part == Part::Data && self.position > 0 {
                        self.pending = 0..std::mem::take(&mut self.position);
                        return (at, Progress::Header);
                    }
                }
            }
        }
    }

    /// Takes a byte outside the compressed data.
    fn header(&mut self, byte: u8) -> Part {
        match self.part {
            Part::GzipHeader { seen, first } => {
                let right = match seen {
                    0..=2 => byte == GZIP_MAGIC[usize::from(seen)],
                    3 => {
                        self.flags = byte;
                        byte & RESERVED == 0
                    }
                    _ => true,
                };
                match seen {
                    _ if !right => Part::Corrupt,
                    9 => self.optional_part(),
                    _ => Part::GzipHeader {
                        seen: seen + 1,
                        first,
                    },
                }
            }
            Part::ExtraLength { low: None } => Part::ExtraLength { low: Some(byte) },
            Part::ExtraLength { low: Some(low) } => match u16::from_le_bytes([low, byte]) {
                0 => self.optional_part(),
                left => Part::Extra { left },
            },
            Part::Extra { left } => match self.header_text(byte) {
                Part::Text if left > 1 => Part::Extra { left: left - 1 },
                Part::Text => self.optional_part(),
                corrupt => corrupt,
            },
            Part::Text if byte == 0 => self.optional_part(),
            Part::Text => self.header_text(byte),
            Part::HeaderChecksum { left } | Part::Trailer { left } if left > 1 => match self.part {
                Part::Trailer { .. } => Part::Trailer { left: left - 1 },
                _ => Part::HeaderChecksum { left: left - 1 },
            },
            Part::HeaderChecksum { .. } => Part::Data,
            Part::Trailer { .. } if self.gzip => Part::BetweenMembers,
            Part::Trailer { .. } => Part::Closed,
            Part::ZlibHeader { .. } => Part::ZlibHeader { first: Some(byte) },
            Part::BetweenMembers if byte == 0 => Part::BetweenMembers,
            Part::BetweenMembers if byte == GZIP_MAGIC[0] => {
                self.core.init();
                self.position = 0;
                Part::GzipHeader {
                    seen: 1,
                    first: false,
                }
            }
            Part::BetweenMembers | Part::Closed | Part::Corrupt | Part::Data => Part::Corrupt,
        }
    }

    /// The next part of a gzip header that its flags announce.
    fn optional_part(&mut self) -> Part {
        for (flag, part) in [
            (EXTRA, Part::ExtraLength { low: None }),
            (NAME, Part::Text),
            (COMMENT, Part::Text),
            (CHECKSUM, Part::HeaderChecksum { left: 2 }),
        ] {
            if self.flags & flag != 0 {
                self.flags &= !flag;
                return part;
            }
        }
        Part::Data
    }

    /// Keeps text of the header, which a target that ignores the coding would read as content.
    fn header_text(&mut self, byte: u8) -> Part {
        if self.position == HEADER_TEXT {
            return Part::Corrupt;
        }
        self.window[self.position] = byte;
        self.position += 1;
        Part::Text
    }

    fn inflate(&mut self, input: &[u8]) -> (usize, Progress) {
        let start = self.position;
        let (status, consumed, produced) = decompress(
            &mut self.core,
            input,
            &mut self.window[..],
            start,
            TINFL_FLAG_HAS_MORE_INPUT,
        );
        self.pending = start..start + produced;
        self.position = (start + produced) % WINDOW;
        self.total += produced as u64;
        let progress = match status {
            TINFLStatus::Done => {
                self.part = match (self.gzip, self.bare) {
                    (true, _) => Part::Trailer { left: 8 },
                    (_, true) => Part::Closed,
                    _ => Part::Trailer { left: 4 },
                };
                Progress::End
            }
            TINFLStatus::NeedsMoreInput => Progress::Input,
            TINFLStatus::HasMoreOutput => Progress::Output,
            _ => {
                self.part = Part::Corrupt;
                Progress::Corrupt
            }
        };
        // What came before an error or the end is taken first.
        match progress {
            Progress::Corrupt | Progress::End if produced > 0 => (consumed, Progress::Output),
            progress => (consumed, progress),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn decode(gzip: bool, bytes: &[u8], segment: usize) -> (Vec<u8>, Progress) {
        let mut inflater = Inflater::new();
        inflater.begin(gzip);
        let mut out = Vec::new();
        let mut progress = Progress::Input;
        for mut input in bytes.chunks(segment) {
            loop {
                let (consumed, now) = inflater.decode(input);
                input = &input[consumed..];
                out.extend_from_slice(inflater.pending());
                inflater.advance(inflater.pending().len());
                progress = now;
                if matches!(now, Progress::Corrupt | Progress::Mismatch(_)) {
                    return (out, now);
                }
                if input.is_empty() && now != Progress::Output {
                    break;
                }
            }
        }
        (out, progress)
    }

    fn text() -> Vec<u8> {
        (0..40_000u32).flat_map(|n| n.to_string().into_bytes()).collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn formats_in_any_segmentation() {
        let text = text();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&text).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(&text).unwrap();
        let streams = [
            (true, gzip(&text)),
            (false, zlib.finish().unwrap()),
            (false, bare.finish().unwrap()),
        ];
        for (is_gzip, stream) in streams {
            for segment in [1, 13, 1460, stream.len()] {
                let (out, progress) = decode(is_gzip, &stream, segment);
                assert_eq!(out.len(), text.len());
                assert!(out == text);
                assert_eq!(progress, Progress::End);
                assert_eq!(
                    decode(is_gzip, &stream[..stream.len() - 1], segment).1,
                    Progress::Input
                );
                let trailing = [&stream[..], b"x"].concat();
                assert_eq!(decode(is_gzip, &trailing, segment).1, Progress::Corrupt);
            }
        }
    }

    #[test]
    fn errors_come_after_the_same_output() {
        let stream =
            gzip(&b"lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy".repeat(3));
        for at in 10..stream.len() {
            for bit in 0..8 {
                let mut damaged = stream.clone();
                damaged[at] ^= 1 << bit;
                let whole = decode(true, &damaged, damaged.len());
                for segment in [1, 2, 7, 30] {
                    assert_eq!(
                        decode(true, &damaged, segment),
                        whole,
                        "byte {at} bit {bit} segment {segment}"
                    );
                }
            }
        }
    }

    #[test]
    fn gzip_members_and_headers() {
        let joined = [gzip(b"one "), gzip(b"two"), vec![0; 5]].concat();
        assert_eq!(decode(true, &joined, 3), (b"one two".to_vec(), Progress::End));
        let mut encoder = flate2::GzBuilder::new()
            .filename("&q=name")
            .comment("comment")
            .extra(b"extra".to_vec())
            .write(Vec::new(), Compression::fast());
        encoder.write_all(b"data").unwrap();
        let stream = encoder.finish().unwrap();
        for segment in [1, 100] {
            let (out, progress) = decode(true, &stream, segment);
            assert_eq!(progress, Progress::End);
            assert_eq!(out, b"extra&q=namecommentdata");
        }
        assert_eq!(decode(true, b"a=1", 1).1, Progress::Mismatch(0));
        assert_eq!(decode(true, b"\x1f\x8bx", 2).1, Progress::Mismatch(2));
        assert_eq!(decode(true, b"\x1f\x8b\x08\xff", 4).1, Progress::Corrupt);
        assert_eq!(decode(false, b"a=1&b=2", 1).1, Progress::Corrupt);
        assert_eq!(decode(false, b"\x78\xbb1234", 1).1, Progress::Corrupt);
    }
}
