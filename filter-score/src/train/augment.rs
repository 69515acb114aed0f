//! The same attacks and values in other clothes, so that the model learns what they are made of and not how one
//! list happens to write them.

use super::random::Random;

/// An attack with other spaces, other quotes, behind a value or within a text. `benign`: what surrounds it.
pub(super) fn attack(payload: &[u8], benign: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let other = random.choose(benign);
    match random.below(6) {
        0 => {
            let spaces: [&[u8]; 5] = [b"/**/", b"\t", b"\n", b"  ", b"+"];
            replace(payload, b' ', random.choose(&spaces))
        }
        1 => swap_quotes(payload),
        2 => {
            let number = random.below(100_000).to_string().into_bytes();
            [&number, payload].concat()
        }
        3 => [short(other), payload].concat(),
        4 => [other, b" ", payload].concat(),
        _ => [short(other), b" ", payload, b" ", other].concat(),
    }
}

/// A value in quotes or brackets, or two of them: marks alone make no attack.
pub(super) fn value(value: &[u8], benign: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let other = random.choose(benign);
    match random.below(8) {
        0 => [b"\"", value, b"\""].concat(),
        1 => [b"'", value, b"'"].concat(),
        2 => [short(other), b" (", value, b")"].concat(),
        3 => [value, b"; ", other].concat(),
        4 => [value, b"'s ", other].concat(),
        5 => [b"{\"", short(other), b"\":\"", value, b"\"}"].concat(),
        6 => [b"<p>", value, b"</p>"].concat(),
        _ => [value, b" - ", other, b"!"].concat(),
    }
}

/// What programs send to each other: JSON, XML, lists of pairs, addresses, log lines, style sheets, tokens. The recorded
/// sites have few kinds of each, and other sites have others; keys are made up from the words of `benign`.
pub(super) fn structure(benign: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    let count = 2 + random.below(8);
    match random.below(12) {
        0 | 1 => json(&mut out, benign, random, 3),
        2 => xml(&mut out, benign, random, 3),
        3 => {
            // An event log: JSON within XML.
            out.extend(b"<");
            key(&mut out, benign, random);
            out.extend(b"><![CDATA[");
            json(&mut out, benign, random, 3);
            out.extend(b"]]></e>");
        }
        4 => {
            let separator = random.choose(b";&$|,~");
            pairs(&mut out, benign, random, count, b"=", separator);
        }
        5 => {
            let separator = random.choose(b";\n,|");
            pairs(&mut out, benign, random, count, b": ", separator);
        }
        6 => {
            out.extend(b"https://");
            key(&mut out, benign, random);
            out.extend(b".com/");
            key(&mut out, benign, random);
            out.extend(random.choose(&[b"?", b"#", b"/"]));
            pairs(&mut out, benign, random, count, b"=", b'&');
        }
        7 => {
            // A stack trace or a log line.
            for _ in 0..count {
                out.extend(b"at ");
                key(&mut out, benign, random);
                out.push(b'.');
                key(&mut out, benign, random);
                out.extend(b" (https://cdn.example.com/");
                key(&mut out, benign, random);
                out.extend(b".js:1:");
                number(&mut out, random);
                out.extend(b")\n");
            }
        }
        8 => {
            out.push(random.choose(b"#."));
            key(&mut out, benign, random);
            out.extend(b" > div:nth-child(2) { ");
            pairs(&mut out, benign, random, count, b": ", b';');
            out.extend(b" }");
        }
        9 => {
            // A product token with comments, as in User-Agent.
            for _ in 0..count.min(4) {
                key(&mut out, benign, random);
                out.push(b'/');
                number(&mut out, random);
                out.extend(b" (");
                pairs(&mut out, benign, random, 2, b" ", b';');
                out.extend(b") ");
            }
        }
        10 => {
            let alphabet: &[u8] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=.!*()$";
            let alphabet = &alphabet[..62 + random.below(alphabet.len() - 61)];
            out.extend((0..count * 24).map(|_| random.choose(alphabet)));
        }
        _ => {
            for _ in 0..count {
                out.extend(random.choose(benign));
                out.extend(random.choose(&[
                    &b" "[..],
                    b", ",
                    b". ",
                    b"; ",
                    b" - ",
                    b"\n",
                    b": ",
                    b"! ",
                    b"? ",
                    b"' ",
                ]));
            }
        }
    }
    out.truncate(1500);
    out
}

fn json(out: &mut Vec<u8>, benign: &[&[u8]], random: &mut Random, depth: usize) {
    let inner = depth.saturating_sub(1);
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0 => number(out, random),
        1 => out.extend(random.choose(&[&b"true"[..], b"false", b"null", b"\"\"", b"[]", b"{}"])),
        2 | 3 => {
            out.push(b'"');
            out.extend(short(random.choose(benign)).iter().filter(|byte| **byte != b'"'));
            out.push(b'"');
        }
        4 => {
            out.push(b'[');
            for at in 0..=random.below(4) {
                if at > 0 {
                    out.push(b',');
                }
                json(out, benign, random, inner);
            }
            out.push(b']');
        }
        _ => {
            let quoted = random.below(5) > 0;
            out.push(b'{');
            for at in 0..=random.below(6) {
                if at > 0 {
                    out.push(b',');
                }
                if quoted {
                    out.push(b'"');
                }
                key(out, benign, random);
                out.extend(if quoted { &b"\":"[..] } else { b":" });
                json(out, benign, random, inner);
            }
            out.push(b'}');
        }
    }
}

fn xml(out: &mut Vec<u8>, benign: &[&[u8]], random: &mut Random, depth: usize) {
    for _ in 0..=random.below(3) {
        let mut name = Vec::new();
        key(&mut name, benign, random);
        out.push(b'<');
        out.extend(&name);
        if random.below(3) == 0 {
            out.push(b' ');
            key(out, benign, random);
            out.extend(b"=\"");
            number(out, random);
            out.push(b'"');
        }
        out.push(b'>');
        if depth == 0 || random.below(2) == 0 {
            out.extend(short(random.choose(benign)));
        } else {
            xml(out, benign, random, depth - 1);
        }
        out.extend(b"</");
        out.extend(&name);
        out.push(b'>');
    }
}

fn pairs(
    out: &mut Vec<u8>,
    benign: &[&[u8]],
    random: &mut Random,
    count: usize,
    equals: &[u8],
    separator: u8,
) {
    for at in 0..count {
        if at > 0 {
            out.push(separator);
        }
        key(out, benign, random);
        out.extend(equals);
        if random.below(2) == 0 {
            number(out, random);
        } else {
            out.extend(short(random.choose(benign)));
        }
    }
}

/// The first letters of a word, now and then with another behind.
fn key(out: &mut Vec<u8>, benign: &[&[u8]], random: &mut Random) {
    for _ in 0..=random.below(2) {
        let text = random.choose(benign);
        let letters = text.iter().filter(|byte| byte.is_ascii_alphanumeric());
        out.extend(letters.take(1 + random.below(9)));
        if random.below(4) == 0 {
            out.push(random.choose(b"_-.:"));
        }
    }
}

fn number(out: &mut Vec<u8>, random: &mut Random) {
    let sign = if random.below(6) == 0 { "-" } else { "" };
    let text = match random.below(4) {
        0 => format!("{sign}{}", random.below(10)),
        1 => format!("{sign}{}", random.below(10_000)),
        2 => format!("{sign}{}.{}", random.below(1000), random.below(1000)),
        _ => format!("{}", 1_600_000_000_000 + random.next() % 200_000_000_000),
    };
    out.extend(text.bytes());
}

/// At most the first 24 bytes.
fn short(text: &[u8]) -> &[u8] {
    &text[..text.len().min(24)]
}

fn replace(text: &[u8], from: u8, to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    for &byte in text {
        if byte == from {
            out.extend_from_slice(to);
        } else {
            out.push(byte);
        }
    }
    out
}

fn swap_quotes(text: &[u8]) -> Vec<u8> {
    let swapped = text.iter().map(|byte| match byte {
        b'\'' => b'"',
        b'"' => b'\'',
        other => *other,
    });
    swapped.collect()
}
