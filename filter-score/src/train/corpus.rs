//! What a model is trained on.

use super::random::{Random, hash};

/// Folds of the training data: what a threshold is chosen on was not seen when it was scored.
pub(super) const FOLDS: u8 = 4;

/// A benign value or an attack payload, before transport encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where it is from; samples of one source are held out together.
    pub source: String,
    /// Kind of attack; not used for benign values.
    pub category: String,
}

/// Labelled data. The order matters: the same data in the same order give the same model.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    /// Whole benign requests. Those of one site (the last two labels of the Host) are held out together.
    pub requests: Vec<Vec<u8>>,
    /// Benign parameter values and texts.
    pub values: Vec<Sample>,
    /// Attack strings.
    pub payloads: Vec<Sample>,
}

/// The site of a request: the last two labels of its Host.
pub(super) fn site(request: &[u8]) -> &[u8] {
    let host = request
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(5)?;
            name.eq_ignore_ascii_case(b"host:").then(|| value.trim_ascii())
        })
        .unwrap_or_default();
    let mut dots = host
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'.')
        .map(|(at, _)| at + 1);
    &host[dots.nth(1).unwrap_or(0)..]
}

pub(super) fn fold(group: &[u8]) -> u8 {
    Random::new(hash(group)).below(usize::from(FOLDS)) as u8
}

/// The fold of a value: that of its source, or of its text if its source is most of the data.
pub(super) fn fold_of_sample(sample: &Sample, samples_of_source: usize, all: usize) -> u8 {
    if samples_of_source * 2 > all {
        fold(&sample.bytes)
    } else {
        fold(sample.source.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_the_last_two_labels() {
        for (request, expected) in [
            ("GET / HTTP/1.1\r\nHost: a.b.example.com\r\n\r\n", "example.com"),
            (
                "GET / HTTP/1.1\r\nAccept: x\r\nhost:example.com\r\n\r\n",
                "example.com",
            ),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "localhost"),
            ("GET / HTTP/1.0\r\n\r\n", ""),
        ] {
            assert_eq!(site(request.as_bytes()), expected.as_bytes());
        }
    }
}
