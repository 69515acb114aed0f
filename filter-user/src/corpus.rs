//! Labelled data from files of JSON lines, for training.

use std::io::{self, BufRead as _, Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use filter_score::train::{Corpus, Sample};
use serde::Deserialize;

use crate::scan::{self, MAX_LINE_BYTES};

/// What a file's lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Requests or values of ordinary clients.
    Benign,
    /// Attack strings.
    Attack,
}

#[derive(Deserialize)]
struct Line {
    value_base64: Option<String>,
    payload_base64: Option<String>,
    #[serde(default)]
    source: String,
    #[serde(default)]
    category: String,
}

/// Adds a file's records to `corpus`: `{"value_base64", "source"}` or a recorded request as `portcullis scan` reads
/// them where they are benign, `{"payload_base64", "category", "source"}` where they are attacks. The first line that is
/// none of these ends the reading.
pub fn read(corpus: &mut Corpus, name: &str, label: Label) -> io::Result<()> {
    let mut input = scan::open(name)?;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = (&mut *input.bytes).take(limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let parsed = if read > MAX_LINE_BYTES {
            Err(format!("it is longer than {MAX_LINE_BYTES} bytes"))
        } else if line.trim_ascii().is_empty() {
            continue;
        } else {
            add(corpus, &line, label)
        };
        parsed.map_err(|problem| io::Error::other(format!("{}:{number}: {problem}", input.name)))?;
    }
    Ok(())
}

fn add(corpus: &mut Corpus, line: &[u8], label: Label) -> Result<(), String> {
    let fields: Line = serde_json::from_slice(line).map_err(|error| format!("not a record: {error}"))?;
    let sample = |encoded: &str| -> Result<Sample, String> {
        Ok(Sample {
            bytes: BASE64
                .decode(encoded)
                .map_err(|error| format!("not base64: {error}"))?,
            source: fields.source.clone(),
            category: fields.category.clone(),
        })
    };
    match (label, &fields.value_base64, &fields.payload_base64) {
        (Label::Benign, Some(value), None) => corpus.values.push(sample(value)?),
        (Label::Benign, None, None) => corpus.requests.push(scan::parse_request(line)?),
        (Label::Attack, None, Some(payload)) => corpus.payloads.push(sample(payload)?),
        (Label::Benign, ..) => return Err("attacks belong to --attack".to_owned()),
        (Label::Attack, ..) => {
            return Err("an attack is {\"payload_base64\", \"category\", \"source\"}".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_where_their_label_says() {
        let mut corpus = Corpus::default();
        for (line, label) in [
            (r#"{"value_base64":"YQ==","source":"s"}"#, Label::Benign),
            (r#"{"path":"/x"}"#, Label::Benign),
            (r#"{"raw_base64":"R0VUIC8="}"#, Label::Benign),
            (
                r#"{"payload_base64":"Jw==","category":"sqli","source":"t"}"#,
                Label::Attack,
            ),
        ] {
            add(&mut corpus, line.as_bytes(), label).expect(line);
        }
        assert_eq!(corpus.requests.len(), 2);
        assert_eq!(
            (
                corpus.values[0].bytes.as_slice(),
                corpus.values[0].source.as_str()
            ),
            (&b"a"[..], "s")
        );
        assert_eq!(
            (
                corpus.payloads[0].bytes.as_slice(),
                corpus.payloads[0].category.as_str()
            ),
            (&b"'"[..], "sqli")
        );
        for (line, label, problem) in [
            ("{", Label::Benign, "not a record"),
            (r#"{"payload_base64":"Jw=="}"#, Label::Benign, "--attack"),
            (r#"{"path":"/x"}"#, Label::Attack, "payload_base64"),
            (r#"{"value_base64":"?"}"#, Label::Benign, "not base64"),
            (r#"{"id":1}"#, Label::Benign, "no request"),
        ] {
            let error = add(&mut corpus, line.as_bytes(), label).expect_err(line);
            assert!(error.contains(problem), "{line}: {error}");
        }
    }
}
