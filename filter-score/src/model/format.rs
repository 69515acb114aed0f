//! The file that a model is kept in.
//!
//! Little-endian, fixed size but for the trees:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PCMODEL\n` |
//! | 2, 2 | version of the format, version of the features |
//! | 8 | seed of the training |
//! | 4 × 4 | requests, values, payloads and augmented payloads it was trained on |
//! | 4, 4 | scale of the weights (IEEE 754 single), floor of stage two |
//! | [`SLOTS`] | weights |
//! | 2, 4 | trees, base logit |
//! | 15 × 3 + 16 × 2 a tree | nodes (feature, threshold), leaves |
//! | 33 × 2 | calibration |
//! | 8 | CRC-64 (ECMA-182, reflected, as in XZ) of everything before |
//!
//! The checksum is against damage, not against forgery: who may write the file may also write its checksum, so
//! what protects a model is the permissions of its file, as with rule packs. It also names the model.

use super::calibration::{Curve, KNOTS};
use super::feature::{FEATURE_VERSION, FEATURES};
use super::linear::{Linear, SLOTS};
use super::tree::{Ensemble, LEAVES, MAX_TREES, NODES, Node, Tree};
use super::{Model, Training};

const MAGIC: &[u8; 8] = b"PCMODEL\n";
const FORMAT_VERSION: u16 = 1;
const CHECKSUM_BYTES: usize = 8;

/// Why bytes are not a usable model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Another kind of file.
    #[error("not a model: it does not begin with `PCMODEL`")]
    Magic,
    /// Written by another version of the program.
    #[error(
        "the model has format {format} and features {features}; this program reads format {FORMAT_VERSION} and features {FEATURE_VERSION}: train it again"
    )]
    Version {
        /// Of the file's format.
        format: u16,
        /// Of the features.
        features: u16,
    },
    /// Too short, or bytes after the end.
    #[error("the model has {actual} bytes instead of {expected}: it is cut short or damaged")]
    Length {
        /// What the head of the file asks for.
        expected: usize,
        /// What there is.
        actual: usize,
    },
    /// Damaged.
    #[error("the checksum is {actual:016x}, but the file says {expected:016x}: it is damaged")]
    Checksum {
        /// In the file.
        expected: u64,
        /// Of its bytes.
        actual: u64,
    },
    /// Contents that no training writes.
    #[error("the model makes no sense: {0}")]
    Content(&'static str),
}

impl Model {
    /// Reads a model. Checks everything: kind, versions, length, checksum, ranges.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        if !bytes.starts_with(MAGIC) {
            return Err(ModelError::Magic);
        }
        let mut reader = Reader {
            rest: &bytes[MAGIC.len()..],
            length: bytes.len(),
        };
        let (format, features) = (
            u16::from_le_bytes(reader.take()?),
            u16::from_le_bytes(reader.take()?),
        );
        if (format, features) != (FORMAT_VERSION, FEATURE_VERSION) {
            return Err(ModelError::Version { format, features });
        }
        let body = bytes.len().saturating_sub(CHECKSUM_BYTES);
        let actual = crc64(&bytes[..body]);
        let expected = bytes[body..]
            .try_into()
            .map(u64::from_le_bytes)
            .unwrap_or_default();
        let training = Training {
            seed: u64::from_le_bytes(reader.take()?),
            requests: u32::from_le_bytes(reader.take()?),
            values: u32::from_le_bytes(reader.take()?),
            payloads: u32::from_le_bytes(reader.take()?),
            augmented: u32::from_le_bytes(reader.take()?),
        };
        let scale = f32::from_le_bytes(reader.take()?);
        let floor = i32::from_le_bytes(reader.take()?);
        let weights = reader
            .slice(SLOTS)?
            .iter()
            .map(|byte| byte.cast_signed())
            .collect::<Box<[i8]>>();
        let count = usize::from(u16::from_le_bytes(reader.take()?));
        let base = i32::from_le_bytes(reader.take()?);
        if count > MAX_TREES {
            return Err(ModelError::Content("it has too many trees"));
        }
        let mut trees = Vec::with_capacity(count);
        for _ in 0..count {
            trees.push(reader.tree()?);
        }
        let mut curve = Curve([0; KNOTS]);
        for knot in &mut curve.0 {
            *knot = u16::from_le_bytes(reader.take()?);
        }
        reader.slice(CHECKSUM_BYTES)?;
        if !reader.rest.is_empty() {
            return Err(ModelError::Length {
                expected: bytes.len() - reader.rest.len(),
                actual: bytes.len(),
            });
        }
        if actual != expected {
            return Err(ModelError::Checksum { expected, actual });
        }
        if !(scale.is_finite() && scale > 0.0) {
            return Err(ModelError::Content(
                "the scale of its weights is not a positive number",
            ));
        }
        if floor <= 0 {
            return Err(ModelError::Content("stage two has no floor"));
        }
        if trees
            .iter()
            .flat_map(|tree: &Tree| tree.nodes)
            .any(|node| usize::from(node.feature) >= FEATURES)
        {
            return Err(ModelError::Content("a tree asks for a feature that there is not"));
        }
        if !curve.is_monotone() {
            return Err(ModelError::Content("its calibration falls where it should rise"));
        }
        Ok(Self {
            linear: Linear {
                weights: weights
                    .try_into()
                    .unwrap_or_else(|_| unreachable!("as many as were taken")),
            },
            scale,
            floor,
            ensemble: Ensemble { base, trees },
            curve,
            training,
            checksum: actual,
        })
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            linear,
            scale,
            floor,
            ensemble,
            curve,
            training,
            checksum: _,
        } = self;
        let mut out = MAGIC.to_vec();
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend(FEATURE_VERSION.to_le_bytes());
        out.extend(training.seed.to_le_bytes());
        for count in [
            training.requests,
            training.values,
            training.payloads,
            training.augmented,
        ] {
            out.extend(count.to_le_bytes());
        }
        out.extend(scale.to_le_bytes());
        out.extend(floor.to_le_bytes());
        out.extend(linear.weights.iter().map(|weight| weight.cast_unsigned()));
        out.extend((ensemble.trees.len() as u16).to_le_bytes());
        out.extend(ensemble.base.to_le_bytes());
        for tree in &ensemble.trees {
            for node in &tree.nodes {
                out.push(node.feature);
                out.extend(node.threshold.to_le_bytes());
            }
            out.extend(tree.leaves.iter().flat_map(|leaf| leaf.to_le_bytes()));
        }
        out.extend(curve.0.iter().flat_map(|knot| knot.to_le_bytes()));
        out.extend(crc64(&out).to_le_bytes());
        out
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Of the whole file.
    length: usize,
}

impl<'a> Reader<'a> {
    fn slice(&mut self, count: usize) -> Result<&'a [u8], ModelError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(ModelError::Length {
                expected: self.length - self.rest.len() + count,
                actual: self.length,
            });
        };
        self.rest = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let taken = self.slice(N)?;
        Ok(taken
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many as were taken")))
    }

    fn tree(&mut self) -> Result<Tree, ModelError> {
        let mut tree = Tree {
            nodes: [Node::PASS; NODES],
            leaves: [0; LEAVES],
        };
        for node in &mut tree.nodes {
            let [feature, low, high] = self.take()?;
            *node = Node {
                feature,
                threshold: i16::from_le_bytes([low, high]),
            };
        }
        for leaf in &mut tree.leaves {
            *leaf = i16::from_le_bytes(self.take()?);
        }
        Ok(tree)
    }
}

/// The polynomial of ECMA-182, bits reflected.
const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;
static CRC: [u64; 256] = crc_table();

const fn crc_table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

pub(super) fn crc64(bytes: &[u8]) -> u64 {
    !bytes.iter().fold(u64::MAX, |crc, byte| {
        crc >> 8 ^ CRC[usize::from(crc as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::tests::model;

    #[test]
    fn the_checksum_is_the_one_of_xz() {
        // The check value of CRC-64/XZ in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc64(b"123456789"), 0x995d_c9bb_df19_39fa);
    }

    #[test]
    fn reads_what_it_writes() {
        let model = model();
        let bytes = model.to_bytes();
        let read = Model::from_bytes(&bytes).expect("it was just written");
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.checksum, crc64(&bytes[..bytes.len() - 8]));
        assert_eq!(read.training, model.training);
    }

    /// Damage with a checksum that fits: only the contents are wrong.
    fn forged(change: impl FnOnce(&mut Model)) -> Result<Model, ModelError> {
        let mut model = model();
        change(&mut model);
        Model::from_bytes(&model.to_bytes())
    }

    #[test]
    fn what_no_training_writes_is_refused() {
        let content = |result: Result<Model, ModelError>| matches!(result, Err(ModelError::Content(_)));
        assert!(content(forged(|model| model.scale = f32::NAN)));
        assert!(content(forged(|model| model.scale = 0.0)));
        assert!(content(forged(|model| model.floor = 0)));
        assert!(content(forged(
            |model| model.ensemble.trees[0].nodes[3].feature = FEATURES as u8
        )));
        assert!(content(forged(|model| model.curve.0[4] = u16::MAX)));
        assert!(content(forged(|model| {
            let tree = model.ensemble.trees[0].clone();
            model.ensemble.trees = vec![tree; MAX_TREES + 1];
        })));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let bytes = model().to_bytes();
        let error = |bytes: &[u8]| Model::from_bytes(bytes).expect_err("damaged").to_string();
        assert!(error(b"").contains("not a model"));
        assert!(error(b"[rule]").contains("not a model"));
        let mut other = bytes.clone();
        other[8] = 9;
        assert!(error(&other).contains("format 9") && error(&other).contains("train it again"));
        assert!(error(&bytes[..bytes.len() - 1]).contains("cut short"));
        assert!(error(&[&bytes[..], b"x"].concat()).contains("cut short or damaged"));
        let mut other = bytes;
        other[1000] ^= 1;
        assert!(error(&other).contains("checksum"));
    }

    proptest! {
        #[test]
        fn damage_is_found_and_never_a_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..8),
            length in any::<prop::sample::Index>(),
            cut: bool,
        ) {
            let whole = model().to_bytes();
            let mut bytes = whole.clone();
            for (at, flip) in damage {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            prop_assert!(bytes == whole || Model::from_bytes(&bytes).is_err());
        }

        #[test]
        fn any_contents_with_a_right_checksum_are_no_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64),
            text in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let mut bytes = model().to_bytes();
            let body = bytes.len() - CHECKSUM_BYTES;
            for (at, byte) in damage {
                let at = 12 + at.index(body - 12);
                bytes[at] = byte;
            }
            let checksum = crc64(&bytes[..body]);
            bytes[body..].copy_from_slice(&checksum.to_le_bytes());
            if let Ok(model) = Model::from_bytes(&bytes) {
                crate::model::tests::weigh(&model, &text);
            }
        }
    }
}
