use proptest::prelude::*;

use super::*;

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [V2_START, &[command, family], &length, rest].concat()
}

/// Addresses 192.0.2.7 and 198.51.100.1.
const V4: [u8; V4_ADDRESSES] = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];

fn v6(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().expect("an address");
    [&source.octets()[..], &[0xfd; 16], &[0xdc, 4, 1, 0xbb]].concat()
}

fn source(text: &str) -> Option<Header> {
    text.parse().map(Header::Source).ok()
}

/// Headers and what they say; `None` if they are malformed.
fn headers() -> Vec<(Vec<u8>, Option<Header>)> {
    let tlvs = [3, 0, 4, 1, 2, 3, 4];
    let with = |addresses: &[u8], more: &[u8]| [addresses, more].concat();
    let line = |text: &str| text.as_bytes().to_vec();
    let longest = "ffff:f...f:ffff".replace("f...f", "ffff:ffff:ffff:ffff:ffff:ffff");
    vec![
        (
            line("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"),
            source("192.0.2.7"),
        ),
        (
            line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
            source("255.255.255.255"),
        ),
        (
            line("PROXY TCP4 192.0.2.7 198.51.100.1 0 0\r\n"),
            source("192.0.2.7"),
        ),
        (
            line("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"),
            source("2001:db8::7"),
        ),
        (
            line("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"),
            source("192.0.2.7"),
        ),
        (line("PROXY UNKNOWN\r\n"), Some(Header::Own)),
        (line("PROXY UNKNOWN ffff::1 what ever\r\n"), Some(Header::Own)),
        (
            line(&format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n")),
            Some(Header::Own),
        ),
        (
            line(&format!("PROXY UNKNOWN  {longest} {longest} 65535 65535\r\n")),
            None,
        ),
        (line("PROXY UNKNOWNS\r\n"), None),
        (line("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n"), None),
        (line("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\rG"), None),
        (line("PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n"), None),
        (line("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 7\r\n"), None),
        (line("PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n"), None),
        (line("PROXY TCP4 192.0.2.07 198.51.100.1 56324 443\r\n"), None),
        (line("PROXY TCP4 192.0.2.7 198.51.100 56324 443\r\n"), None),
        (line("PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n"), None),
        (line("PROXY TCP4 192.0.2.7 198.51.100.1 056 443\r\n"), None),
        (line("PROXY TCP4 192.0.2.7 198.51.100.1 +56 443\r\n"), None),
        (line("PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n"), None),
        (line("PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n"), None),
        (line("PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n"), None),
        (line("PROXY \r\n"), None),
        (line("PROXY / HTTP/1.1\r\n"), None),
        (binary(0x21, 0x11, &V4), source("192.0.2.7")),
        (binary(0x21, 0x12, &V4), source("192.0.2.7")),
        (binary(0x21, 0x11, &with(&V4, &tlvs)), source("192.0.2.7")),
        (binary(0x21, 0x21, &v6("2001:db8::7")), source("2001:db8::7")),
        (
            binary(0x21, 0x21, &with(&v6("::ffff:192.0.2.7"), &tlvs)),
            source("192.0.2.7"),
        ),
        (
            binary(0x21, 0x21, &with(&v6("2001:db8::7"), &[0; 484])),
            source("2001:db8::7"),
        ),
        (binary(0x21, 0x21, &with(&v6("2001:db8::7"), &[0; 485])), None),
        (binary(0x20, 0x00, b""), Some(Header::Own)),
        (binary(0x20, 0x11, &V4), Some(Header::Own)),
        (binary(0x20, 0xff, &tlvs), Some(Header::Own)),
        (binary(0x21, 0x00, b""), Some(Header::Own)),
        (binary(0x21, 0x00, &tlvs), Some(Header::Own)),
        (binary(0x21, 0x31, &[0; 216]), Some(Header::Own)),
        (binary(0x21, 0x31, &[0; 215]), None),
        (binary(0x21, 0x11, &V4[..11]), None),
        (binary(0x21, 0x21, &V4), None),
        (binary(0x21, 0x10, &V4), None),
        (binary(0x21, 0x41, &V4), None),
        (binary(0x22, 0x11, &V4), None),
        (binary(0x11, 0x11, &V4), None),
    ]
}

/// What becomes of a stream in pieces that end at `cuts`: the progress, and how many bytes were not taken.
fn run(stream: &[u8], cuts: &[usize]) -> (Progress, usize, Vec<u8>) {
    let mut preface = Preface::default();
    let mut from = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        let end = end.clamp(from, stream.len());
        let progress = preface.take(&stream[from..end]);
        let left = match progress {
            Progress::More => {
                from = end;
                continue;
            }
            Progress::Done(taken, _) => stream.len() - from - taken,
            Progress::Absent | Progress::Malformed => stream.len() - from,
        };
        let progress = match progress {
            Progress::Done(_, header) => Progress::Done(0, header),
            other => other,
        };
        return (progress, left, preface.kept().to_vec());
    }
    (Progress::More, 0, preface.kept().to_vec())
}

#[test]
fn headers_say_who_it_is_at_one_byte_a_segment_and_in_one() {
    const BEHIND: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    for (header, expected) in headers() {
        let stream = [&header, BEHIND].concat();
        let bytes: Vec<_> = (0..stream.len()).collect();
        for cuts in [&[][..], &bytes] {
            let (progress, left, _) = run(&stream, cuts);
            let shown = header.escape_ascii();
            match expected {
                Some(header) => {
                    assert_eq!(
                        (progress, left),
                        (Progress::Done(0, header), BEHIND.len()),
                        "{shown}"
                    );
                }
                None => assert_eq!(progress, Progress::Malformed, "{shown}"),
            }
        }
        if expected.is_some() {
            for end in 0..header.len() {
                assert_eq!(
                    run(&header[..end], &[]).0,
                    Progress::More,
                    "{}",
                    header.escape_ascii()
                );
            }
        }
    }
}

#[test]
fn nothing_is_lost_of_what_is_no_header() {
    for stream in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PROXX",
        b"POST / HTTP/1.1\r\n",
        b"\r\n\r\nGET /",
    ] {
        for cut in 0..stream.len() {
            let (progress, left, kept) = run(stream, &[cut]);
            assert_eq!(progress, Progress::Absent, "{}", stream.escape_ascii());
            assert_eq!(
                [&kept, &stream[stream.len() - left..]].concat(),
                stream,
                "cut at {cut}"
            );
        }
    }
}

proptest! {
    /// Any bytes in any segmentation: the same outcome as in one piece, and no panic.
    #[test]
    fn segments_do_not_matter(
        which in 0..headers().len(),
        change in prop::option::of((0usize..600, any::<u8>())),
        more in prop::collection::vec(any::<u8>(), 0..40),
        mut cuts in prop::collection::vec(0usize..600, 0..12),
    ) {
        let (mut stream, _) = headers().swap_remove(which);
        stream.extend(more);
        if let Some((at, byte)) = change && let Some(slot) = stream.get_mut(at) {
            *slot = byte;
        }
        cuts.sort_unstable();
        let whole = run(&stream, &[]);
        let cut = run(&stream, &cuts);
        prop_assert_eq!(cut.0, whole.0);
        if let Progress::Done(..) = whole.0 {
            prop_assert_eq!(cut.1, whole.1);
        }
    }
}
