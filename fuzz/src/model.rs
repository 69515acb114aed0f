//! A model file: what is not as it was written is refused, and what is read is written the same again.

use filter_score::Model;

/// The file's bytes.
pub(crate) fn model(data: &[u8]) {
    if let Ok(model) = Model::from_bytes(data) {
        assert_eq!(model.to_bytes(), data, "it is written as it was read");
    }
}
