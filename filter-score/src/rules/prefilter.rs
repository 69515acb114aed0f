//! One pass over a field that finds which rules are worth running and which decodings apply.
//!
//! Every byte is looked up twice: once in a table that tells its code, one of 64, and its classes, and once
//! in a bitmap, where the codes of the two bytes before choose a word and its own code a bit. A literal is entered under its rarest
//! three bytes. The look-ups do not depend on each other (unlike the steps of an automaton), so the
//! pass runs at about two bytes in three cycles, whatever the number of rules; only a bit that is set costs
//! more. Most of those are ruled out by the bytes before and after the three, or because the literals entered there
//! are of rules about other targets; what is left is compared.

use super::candidates::{Candidates, Sighting};
use super::classes::Classes;
use crate::target::{Target, TargetSet};

/// Bits of a byte's code.
const CODE_BITS: u32 = 6;
const CODES: usize = 1 << CODE_BITS;
/// Bytes of an anchor.
const ANCHOR: usize = 3;
const FOR_EVERY_PAIR: &str = "one for every pair";
/// Words of the bitmap: one for every two codes, the first in the upper bits.
const PAIRS: usize = CODES * CODES;
/// Bytes after which hits are looked at: as many as a word has bits, so that a processor that takes hits in turn guesses
/// wrong where they end once a block.
const BLOCK: usize = 64;
/// Bytes of a block that are looked up in one go.
const STEP: usize = 8;
/// Stands for what comes after a field. What is compared lies inside the field, always.
const FILLER: u8 = b'\t';

/// Literals with the same anchor.
#[derive(Debug)]
struct Group {
    /// Which of the 64 codes may stand before the anchor, and after it.
    before: u64,
    after: u64,
    targets: TargetSet,
    /// Its literals, in `Prefilter::members`.
    members: std::ops::Range<u32>,
}

/// One of the places where a literal is entered.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    entry: usize,
    before: u64,
    after: u64,
}

#[derive(Debug)]
struct Entry {
    /// Start of the folded literal in `Prefilter::bytes`.
    start: u32,
    length: u16,
    /// Bytes of the literal after its anchoring trigram.
    after: u16,
    /// Its first bytes.
    head: Word,
    targets: TargetSet,
    /// It counts only as a word of its own.
    word: bool,
    /// Ordinary requests are not full of it.
    telling: bool,
    /// Who has this literal, in `Prefilter::owners`.
    owners: std::ops::Range<u32>,
}

/// The first eight bytes of a literal, or all of them, to compare at once.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// What they are, folded to lower case.
    key: u64,
    /// The bit that makes letters small, where letters are.
    fold: u64,
    /// Where the literal has a byte.
    mask: u64,
}

impl Word {
    const BYTES: usize = size_of::<u64>();

    fn of(literal: &[u8]) -> Self {
        let word = |part: fn(u8) -> u8| {
            let mut bytes = [0; Self::BYTES];
            for (to, byte) in bytes.iter_mut().zip(literal) {
                *to = part(*byte);
            }
            u64::from_le_bytes(bytes)
        };
        Self {
            key: word(|byte| byte),
            fold: word(|byte| if byte.is_ascii_lowercase() { 0x20 } else { 0 }),
            mask: word(|_| u8::MAX),
        }
    }

    fn begins(self, text: [u8; Self::BYTES]) -> bool {
        (u64::from_le_bytes(text) | self.fold) & self.mask == self.key
    }
}

/// What the prefilter looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    /// Folded to lower case, at least two.
    pub(crate) bytes: Vec<u8>,
    /// It counts only where [`stands_alone`].
    pub(crate) word: bool,
    /// The owner is a detector, which says more than a pattern that some text might be of interest.
    pub(crate) detector: bool,
    pub(crate) owner: Owner,
    /// Where the owner looks.
    pub(crate) targets: TargetSet,
}

/// A rule, and where its matches begin when one of its literals was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) rule: u16,
    /// The least and the most bytes of a match before the literal; `None`: not bounded.
    pub(crate) before: Option<(u8, u8)>,
}

impl Owner {
    /// Its literal was seen at `start`.
    fn saw(self, start: usize, telling: bool, candidates: &mut Candidates) {
        if telling {
            candidates.tell(self.rule);
        }
        match self.before {
            None => candidates.everywhere(self.rule),
            Some((least, most)) => {
                if let Some(to) = start.checked_sub(usize::from(least)) {
                    candidates.at(Sighting {
                        rule: self.rule,
                        from: start.saturating_sub(usize::from(most)) as u32,
                        to: to as u32,
                    });
                }
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Prefilter {
    /// A word for every two bytes, and a bit of it for the third.
    bitmap: Box<[u64; PAIRS]>,
    /// How many bits are set in the words before each: a set bit's rank is its group's place, and the table small enough to
    /// stay in the cache (a table of all hashes would not).
    ranks: Vec<u32>,
    groups: Vec<Group>,
    /// The literals of the groups, in `entries`.
    members: Vec<u32>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    owners: Vec<(Owner, TargetSet)>,
}

impl Prefilter {
    pub(crate) fn new(mut literals: Vec<Literal>) -> Self {
        literals.sort_by(|a, b| (&a.bytes, a.word, a.owner).cmp(&(&b.bytes, b.word, b.owner)));
        literals.dedup();
        let mut anchored: Vec<(u32, Anchor)> = Vec::new();
        let mut bytes = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        let mut owners = Vec::new();
        for group in literals.chunk_by(|a, b| (&a.bytes, a.word) == (&b.bytes, b.word)) {
            let literal = &group[0].bytes;
            let start = bytes.len() as u32;
            bytes.extend_from_slice(literal);
            let first_owner = owners.len() as u32;
            owners.extend(group.iter().map(|literal| (literal.owner, literal.targets)));
            let entry = entries.len();
            entries.push(Entry {
                start,
                length: literal.len() as u16,
                after: 0,
                head: Word::of(literal),
                targets: group
                    .iter()
                    .fold(TargetSet::default(), |all, literal| all | literal.targets),
                word: group[0].word,
                telling: group.iter().any(|literal| literal.detector)
                    || literal.len() > 2
                    || !is_ordinary(literal),
                owners: first_owner..owners.len() as u32,
            });
            let codes = |byte: Option<&u8>| byte.map_or(u64::MAX, |byte| 1 << code(*byte));
            if literal.len() == 2 {
                // Anchored on the byte after it, whatever that is; past the end of the field it is the filler.
                entries[entry].after = u16::MAX;
                let anchor = Anchor {
                    entry,
                    before: u64::MAX,
                    after: u64::MAX,
                };
                let pair = u32::from(pair(literal[0], literal[1])) << CODE_BITS;
                anchored.extend((0..CODES as u32).map(|third| (pair | third, anchor)));
            } else {
                let at = rarest_trigram(literal);
                entries[entry].after = (literal.len() - at - 3) as u16;
                let anchor = Anchor {
                    entry,
                    before: codes(at.checked_sub(1).map(|before| &literal[before])),
                    after: codes(literal.get(at + 3)),
                };
                let [one, two, three] = [literal[at], literal[at + 1], literal[at + 2]];
                let hash = u32::from(pair(one, two)) << CODE_BITS | u32::from(code(three));
                anchored.push((hash, anchor));
            }
        }
        anchored.sort_by_key(|(hash, anchor)| (*hash, anchor.entry));
        let mut bitmap = vec![0u64; PAIRS];
        let mut groups = Vec::new();
        let mut members = Vec::new();
        for group in anchored.chunk_by(|a, b| a.0 == b.0) {
            let hash = group[0].0;
            bitmap[(hash >> CODE_BITS) as usize] |= 1 << (hash % CODES as u32);
            let first = members.len() as u32;
            members.extend(group.iter().map(|(_, anchor)| anchor.entry as u32));
            groups.push(Group {
                before: group.iter().fold(0, |all, (_, anchor)| all | anchor.before),
                after: group.iter().fold(0, |all, (_, anchor)| all | anchor.after),
                targets: group.iter().fold(TargetSet::default(), |all, (_, anchor)| {
                    all | entries[anchor.entry].targets
                }),
                members: first..members.len() as u32,
            });
        }
        let ranks: Vec<u32> = bitmap
            .iter()
            .scan(0, |rank, word| {
                let before = *rank;
                *rank += word.count_ones();
                Some(before)
            })
            .collect();
        Self {
            bitmap: bitmap.into_boxed_slice().try_into().expect(FOR_EVERY_PAIR),
            ranks,
            groups,
            members,
            entries,
            bytes,
            owners,
        }
    }

    /// Adds the rules that are about `target` and whose literals occur in `field` to `candidates` and returns the classes of
    /// bytes that occur. Cost: linear in the field.
    pub(crate) fn search(&self, field: &[u8], target: Target, candidates: &mut Candidates) -> Classes {
        let mut seen = 0;
        // The codes of the last two bytes. Before the field's first byte there is nothing, which counts as code 0.
        let mut pair = 0;
        // One bit for each place of the block, the last place in the lowest.
        let mut step = |byte: u8, hits: u64| {
            let entry = BYTES[usize::from(byte)];
            let bits = self.bitmap[pair];
            seen |= entry;
            pair = (pair << CODE_BITS ^ entry as usize) & (PAIRS - 1);
            hits << 1 | (bits >> (entry % CODES as u64) & 1)
        };
        let (blocks, rest) = field.as_chunks::<BLOCK>();
        for (index, block) in blocks.iter().enumerate() {
            let (steps, _) = block.as_chunks::<STEP>();
            let hits = steps.iter().fold(0, |hits, bytes| {
                bytes.iter().fold(hits, |hits, byte| step(*byte, hits))
            });
            if hits != 0 {
                self.examine(field, index * BLOCK + BLOCK - 1, hits, target, candidates);
            }
        }
        let (steps, tail) = rest.as_chunks::<STEP>();
        let hits = steps.iter().fold(0, |hits, bytes| {
            bytes.iter().fold(hits, |hits, byte| step(*byte, hits))
        });
        let hits = tail.iter().fold(hits, |hits, byte| step(*byte, hits));
        // One byte after the end completes the trigram of a two-byte literal that ends the field.
        let hits = step(FILLER, hits);
        if hits != 0 {
            self.examine(field, field.len(), hits, target, candidates);
        }
        Classes::in_entry(seen)
    }

    /// Compares the literals of every set bit in a block that ends at `last`, which the lowest bit is about.
    #[inline(never)]
    fn examine(&self, field: &[u8], last: usize, mut hits: u64, target: Target, candidates: &mut Candidates) {
        while hits != 0 {
            let place = u64::BITS - 1 - hits.leading_zeros();
            hits ^= 1 << place;
            let position = last - place as usize;
            // The anchor with the byte before it and the one after it.
            let codes = codes_around(field, position);
            let code = |at: u32| codes >> (u8::BITS * at) & (CODES as u64 - 1);
            let pair = (code(1) << CODE_BITS | code(2)) as usize;
            let lower = self.bitmap[pair] & ((1 << code(3)) - 1);
            let group = &self.groups[(self.ranks[pair] + lower.count_ones()) as usize];
            if group.before >> code(0) & group.after >> code(4) & 1 != 0 && group.targets.contains(target) {
                self.compare(field, position, group, target, candidates);
            }
        }
    }

    /// Compares the literals of one group with what stands around its anchor, which ends at `position`.
    #[inline(never)]
    fn compare(
        &self,
        field: &[u8],
        position: usize,
        group: &Group,
        target: Target,
        candidates: &mut Candidates,
    ) {
        for member in &self.members[group.members.start as usize..group.members.end as usize] {
            let entry = &self.entries[*member as usize];
            if !entry.targets.contains(target) {
                continue;
            }
            // One past the literal's last byte; for a two-byte literal that is `position` itself.
            let end = if entry.after == u16::MAX {
                position
            } else {
                position + 1 + usize::from(entry.after)
            };
            let Some(start) = end.checked_sub(usize::from(entry.length)) else {
                continue;
            };
            let Some(found) = field.get(start..end) else {
                continue;
            };
            let equal = match field[start..].first_chunk() {
                Some(head) => {
                    entry.head.begins(*head) && (found.len() <= Word::BYTES || self.is(entry, found))
                }
                None => self.is(entry, found),
            };
            if equal && (!entry.word || stands_alone(field, start, end)) {
                for (owner, targets) in &self.owners[entry.owners.start as usize..entry.owners.end as usize] {
                    if targets.contains(target) {
                        owner.saw(start, entry.telling, candidates);
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn is(&self, entry: &Entry, found: &[u8]) -> bool {
        let start = entry.start as usize;
        found.eq_ignore_ascii_case(&self.bytes[start..start + usize::from(entry.length)])
    }
}

/// Whether what stands at `start..end` may be a word of its own: it is no part of a longer one. Digits before it may
/// be a number that it follows (`1or`), and a word after an escape's mark may have the escape before it (`\nor`).
fn stands_alone(field: &[u8], start: usize, end: usize) -> bool {
    /// Longer words are not told from numbers.
    const LONGEST: usize = 32;
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let part = |at: usize| field.get(at).is_some_and(is_word);
    if part(end - 1) && part(end) {
        return false;
    }
    if !part(start) {
        return true;
    }
    let run = field[..start]
        .iter()
        .rev()
        .take(LONGEST)
        .take_while(|byte| is_word(byte))
        .count();
    let first = start - run;
    run == 0
        || run == LONGEST
        || field[first].is_ascii_digit()
        || first
            .checked_sub(1)
            .is_some_and(|at| matches!(field[at], b'\\' | b'%'))
}

/// The byte's code: letters are folded, and whatever else shares a code is seldom seen with the same neighbours.
const fn code(byte: u8) -> u8 {
    byte & 0x1f | (byte & 0x40) >> 1
}

/// The codes of the anchor that ends at `position`, of the byte before it and of the one after it, from the lowest byte up; what
/// is above them is of no meaning.
#[inline]
fn codes_around(field: &[u8], position: usize) -> u64 {
    /// From the byte before an anchor to the one after it.
    const REACH: usize = ANCHOR + 2;
    /// Of eight bytes at once.
    const ONES: u64 = u64::from_le_bytes([1; Word::BYTES]);
    let bytes = match position.checked_sub(ANCHOR) {
        Some(first) if let Some(word) = field[first..].first_chunk() => u64::from_le_bytes(*word),
        // Near the end of the field: the word that ends with the byte after the anchor.
        Some(first)
            if let Some(word) = field
                .get(..first + REACH)
                .and_then(|text| text.last_chunk::<{ Word::BYTES }>()) =>
        {
            u64::from_le_bytes(*word) >> (u8::BITS as usize * (Word::BYTES - REACH))
        }
        _ => u64::from_le_bytes(bytes_near_edge(field, position)),
    };
    bytes & (ONES * 0x1f) | (bytes & (ONES * 0x40)) >> 1
}

/// The same bytes where the field begins or ends. Before its first byte there is nothing, which counts as code 0, and behind its last
/// the filler.
#[inline(never)]
fn bytes_near_edge(field: &[u8], position: usize) -> [u8; Word::BYTES] {
    std::array::from_fn(|at| {
        (position + at)
            .checked_sub(ANCHOR)
            .map_or(0, |at| *field.get(at).unwrap_or(&FILLER))
    })
}

/// The code and the classes of every byte. The filler has no class.
static BYTES: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = code(byte as u8) as u64 | Classes::of(byte as u8).entry();
        byte += 1;
    }
    table
};

/// The place of two bytes in a row.
fn pair(one: u8, two: u8) -> u16 {
    u16::from(code(one)) << CODE_BITS | u16::from(code(two))
}

/// What ordinary requests are full of: literals are not anchored here if they have another place.
const ORDINARY: &str = "get post http/1.1 host: www. connection: keep-alive cache-control: max-age=0 upgrade-insecure-requests: 1 \
    user-agent: mozilla/5.0 (windows nt 10.0; win64; x64; rv:109.0) applewebkit/537.36 (khtml, like gecko) chrome/114.0.0.0 \
    safari/537.36 edg/114.0 (macintosh; intel mac os x 10_15_7) version/16.5 (x11; linux x86_64) firefox/115.0 mobile android \
    (iphone; cpu iphone os 16_5 like mac os x) accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
    image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7 application/json, text/plain, */* accept-encoding: gzip, deflate, br \
    accept-language: en-us,en;q=0.9,de;q=0.8,fr;q=0.7,zh-cn referer: https://www.example.com/path/index.html?id=1&name=value \
    sec-ch-ua: \"not.a/brand\";v=\"8\", \"chromium\";v=\"114\", \"google chrome\";v=\"114\", \"microsoft edge\" sec-ch-ua-mobile: ?0 \
    sec-ch-ua-platform: \"windows\" \"macos\" sec-fetch-site: same-origin cross-site sec-fetch-mode: cors no-cors navigate \
    sec-fetch-dest: document script image style font empty iframe sec-fetch-user: ?1 origin: https:// cookie: session=1; content-type: \
    application/x-www-form-urlencoded; charset=utf-8 content-length: 100 if-modified-since: mon, 01 jan 2024 00:00:00 gmt \
    if-none-match: etag w/\" authorization: bearer x-requested-with: xmlhttprequest https%3a%2f%2fwww.example.com%2f {\"name\":\"value\",\
    \"type\":1,\"data\":[{\"id\":true}]} &page=1&size=20&time=1688000000&callback=json .js?v= .css .png .jpg /static/ /api/v1/ \
    action= user message error status process window onload location width height version event content title create storage";

/// Further text that is frequent, but says too little of a whole literal: words, numbers, escapes.
const FREQUENT: &str = "www.bing.com/ blog/ logs/ login open product %20%20%20 %25%25%25 %26%26 %3d %3f %22%22 %7b%22 %5b%22 %2520 {%22 url= \
    search home close per more source use show instance install method load order under new key index read find number promise \
    profile detail result parent account end file delete put target has low function export library relation part start \
    unit count mail entity security enable banner transform let safe base indicator list follow collection performance \
    resource config default module video service free write property article related option provider client \
    previous dispatch discount calendar interaction translate sequence section second separate _id _re _se _pa _fi _pr _co \
    _te _name _lo _di _ne _ty _page _from _data _type _count _list user_id 0.0.0.0 1.0.2 333 375 376 500 666";

/// Whether ordinary requests are full of this literal.
pub(super) fn is_ordinary(literal: &[u8]) -> bool {
    memchr::memmem::find(ORDINARY.as_bytes(), literal).is_some()
}

/// Where the rarest three bytes of a literal stand.
fn rarest_trigram(literal: &[u8]) -> usize {
    let rarity = |byte: u8| match byte {
        b'a' | b'e' | b'i' | b'o' | b't' | b'n' | b's' | b'r' | b'c' | b'/' | b'.' | b'0'..=b'9' => 0u32,
        b'd' | b'l' | b'm' | b'p' | b'u' | b'-' | b'=' | b';' | b' ' | b'g' | b'h' | b':' | b',' => 1,
        b'b' | b'f' | b'w' | b'v' | b'y' | b'k' | b'_' | b'"' | b'%' | b'&' => 2,
        b'x' | b'q' | b'j' | b'z' | b'(' | b')' | b'\'' => 4,
        _ => 6,
    };
    let score = |at: usize| {
        let trigram = &literal[at..at + 3];
        let count = |text: &str| memchr::memmem::find_iter(text.as_bytes(), trigram).count();
        let ordinary = count(ORDINARY) + count(FREQUENT);
        let rare = trigram.iter().map(|byte| rarity(*byte)).sum::<u32>();
        // Bytes on both sides tell more than a byte on one.
        let sides = usize::from(at > 0) + usize::from(at + 3 < literal.len());
        (std::cmp::Reverse(ordinary), rare, sides)
    };
    (0..=literal.len() - 3).max_by_key(|at| score(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(prefilter: &Prefilter, field: &[u8]) -> Vec<u16> {
        let mut candidates = Candidates::new(64);
        prefilter.search(field, Target::Query, &mut candidates);
        let mut rules: Vec<_> = (0..64).filter(|rule| candidates.is_everywhere(*rule)).collect();
        rules.sort_unstable();
        rules
    }

    fn anywhere(rule: u16) -> Owner {
        Owner { rule, before: None }
    }

    fn literal(text: &str, owner: Owner) -> Literal {
        Literal {
            bytes: text.as_bytes().to_vec(),
            word: false,
            detector: false,
            owner,
            targets: TargetSet::of(Target::Query),
        }
    }

    #[test]
    fn leaves_out_what_is_about_other_targets() {
        let elsewhere = Literal {
            targets: TargetSet::of(Target::Path),
            ..literal("abc", anywhere(2))
        };
        let prefilter = Prefilter::new(vec![literal("abc", anywhere(1)), elsewhere]);
        assert_eq!(found(&prefilter, b"abc"), [1]);
        let mut candidates = Candidates::new(64);
        prefilter.search(b"abc", Target::Path, &mut candidates);
        assert!(candidates.is_everywhere(2) && !candidates.is_everywhere(1));
        prefilter.search(b"abc", Target::Header, &mut candidates);
        assert_eq!(candidates.everywhere_at(1), None);
    }

    #[test]
    fn words_stand_alone() {
        let word = Literal {
            word: true,
            ..literal("union", anywhere(1))
        };
        let marked = Literal {
            word: true,
            ..literal("or'", anywhere(2))
        };
        let prefilter = Prefilter::new(vec![word, marked]);
        for text in [
            "union",
            "1union(",
            "0x4aunion ",
            "'UNION'",
            "\\Nunion",
            "%a0union-",
            "=union\n",
        ] {
            assert_eq!(found(&prefilter, text.as_bytes()), [1], "{text}");
        }
        for text in ["reunion", "unions", "_union", "union_1", "union2"] {
            assert_eq!(found(&prefilter, text.as_bytes()), [0; 0], "{text}");
        }
        assert_eq!(found(&prefilter, b"1 or'a'"), [2]);
        assert_eq!(found(&prefilter, b"for'a'"), [0; 0]);
    }

    #[test]
    fn finds_literals_everywhere_in_a_field() {
        let literals = [
            ("select", 0),
            ("||", 1),
            ("union", 2),
            ("${jndi", 3),
            ("select", 4),
            ("abc", 5),
        ];
        let prefilter = Prefilter::new(
            literals
                .iter()
                .map(|(text, rule)| literal(text, anywhere(*rule)))
                .collect(),
        );
        for padding in 0..2 * BLOCK + 12 {
            let pad = "y".repeat(padding);
            assert_eq!(found(&prefilter, format!("{pad}SeLect").as_bytes()), [0, 4]);
            assert_eq!(found(&prefilter, format!("{pad}||").as_bytes()), [1]);
            assert_eq!(found(&prefilter, format!("{pad}||{pad}").as_bytes()), [1]);
            assert_eq!(
                found(&prefilter, format!("{pad}abc{pad}${{JNDI:").as_bytes()),
                [3, 5]
            );
            assert_eq!(found(&prefilter, format!("{pad}unionselec{pad}").as_bytes()), [2]);
            assert!(found(&prefilter, format!("{pad}|{pad}u").as_bytes()).is_empty());
        }
        assert!(found(&prefilter, b"").is_empty());
    }

    #[test]
    fn says_where_matches_may_begin() {
        let owner = Owner {
            rule: 9,
            before: Some((1, 3)),
        };
        let prefilter = Prefilter::new(vec![literal("abc", owner)]);
        let mut candidates = Candidates::new(64);
        prefilter.search(b"abc--ABC", Target::Query, &mut candidates);
        let expected = Sighting {
            rule: 9,
            from: 2,
            to: 4,
        };
        assert_eq!(
            candidates.sighting(0),
            Some(expected),
            "nothing fits before the first"
        );
        assert_eq!(candidates.sighting(1), None);
    }
}
