//! Requests that were scored before and found clean, byte for byte.
//!
//! Only whole requests without a body are kept, those that came in one segment: what a browser asks for again and
//! again. A request is known by a keyed hash of its bytes, so nobody without the key can make an attack look like
//! a request that is known (`SipHash`, Aumasson and Bernstein 2012, here SipHash-1-3 with 128 bits).

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// Digests that share one cache line.
const WAYS: usize = 4;
/// The longest request that is looked up, in bytes: hashing it must stay far cheaper than scoring it.
const LONGEST: usize = 4096;

/// The digest of a request's bytes under the cache's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u128);

/// One cache line; the digest used last comes first, zero is an empty place.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u128; WAYS]);

/// A set-associative table of digests. Its memory is fixed, 16 bytes for each entry; the digest of a line that was
/// used the longest time ago makes room.
#[derive(Debug)]
pub(crate) struct CleanCache {
    lines: Box<[Line]>,
    hasher: SipHasher13,
    hits: u64,
}

impl CleanCache {
    /// A cache for `entries` requests, rounded up to a power of two; 0 for none.
    pub(crate) fn new(entries: usize, key: &[u8; 16]) -> Self {
        let lines = if entries == 0 {
            0
        } else {
            entries.div_ceil(WAYS).next_power_of_two()
        };
        Self {
            lines: vec![Line([0; WAYS]); lines].into_boxed_slice(),
            hasher: SipHasher13::new_with_key(key),
            hits: 0,
        }
    }

    /// The digest of what may be a request of the kind that is kept; `None` for anything else.
    pub(crate) fn digest(&self, bytes: &[u8]) -> Option<Digest> {
        let may_be_kept = !self.lines.is_empty()
            && bytes.len() <= LONGEST
            && bytes.ends_with(b"\r\n\r\n")
            && (bytes.starts_with(b"GET ") || bytes.starts_with(b"HEAD "));
        if !may_be_kept {
            return None;
        }
        let mut hasher = self.hasher;
        hasher.write(bytes);
        Some(Digest(hasher.finish128().as_u128().max(1)))
    }

    /// Whether the request is known; counts it.
    pub(crate) fn contains(&mut self, digest: Digest) -> bool {
        let Line(ways) = self.line(digest);
        let Some(way) = ways.iter().position(|&known| known == digest.0) else {
            return false;
        };
        ways[..=way].rotate_right(1);
        self.hits += 1;
        true
    }

    /// Keeps a request.
    pub(crate) fn insert(&mut self, digest: Digest) {
        let Line(ways) = self.line(digest);
        ways.rotate_right(1);
        ways[0] = digest.0;
    }

    /// Forgets all requests: other rules may judge them otherwise.
    pub(crate) fn clear(&mut self) {
        self.lines.fill(Line([0; WAYS]));
    }

    /// How often a request was known.
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }

    fn line(&mut self, digest: Digest) -> &mut Line {
        let index = digest.0 as usize & (self.lines.len() - 1);
        &mut self.lines[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: usize) -> Vec<u8> {
        format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
    }

    #[test]
    fn only_whole_requests_without_a_body_have_a_digest() {
        let cache = CleanCache::new(64, &[7; 16]);
        assert!(cache.digest(&request(1)).is_some());
        assert!(cache.digest(b"HEAD / HTTP/1.1\r\n\r\n").is_some());
        let of_length = |length| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length - 18));
        assert!(cache.digest(of_length(LONGEST).as_bytes()).is_some());
        let long = of_length(LONGEST + 1);
        assert_eq!(long.len(), LONGEST + 1);
        let others: [&[u8]; 5] = [
            b"",
            b"GET / HTTP/1.1\r\n",
            b"POST / HTTP/1.1\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            long.as_bytes(),
        ];
        for bytes in others {
            assert_eq!(cache.digest(bytes), None, "{}", bytes.escape_ascii());
        }
        assert_eq!(CleanCache::new(0, &[7; 16]).digest(&request(1)), None);
    }

    #[test]
    fn keeps_what_was_used_last_and_forgets_all_at_once() {
        let mut cache = CleanCache::new(WAYS, &[7; 16]);
        let digests: Vec<_> = (0..=WAYS).map(|n| cache.digest(&request(n)).unwrap()).collect();
        for &digest in &digests[..WAYS] {
            assert!(!cache.contains(digest));
            cache.insert(digest);
        }
        assert!(cache.contains(digests[0]));
        cache.insert(digests[WAYS]);
        assert!(!cache.contains(digests[1]), "the one not used for longest");
        assert!(cache.contains(digests[0]) && cache.contains(digests[WAYS]));
        assert_eq!(cache.hits(), 3);
        cache.clear();
        assert!(digests.iter().all(|&digest| !cache.contains(digest)));
    }

    #[test]
    fn the_key_decides_the_digest() {
        let [one, other] = [[1; 16], [2; 16]].map(|key| CleanCache::new(8, &key).digest(&request(1)));
        assert_ne!(one, other);
    }
}
