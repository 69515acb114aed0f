//! `PORTCULLIS_ENGINE__INTERFACE=eth0`: single keys given in the environment.

use std::{cell::LazyCell, ffi::OsString};

use super::{ConfigError, Mistake, Override, schema};

const PREFIX: &str = "PORTCULLIS_";

/// Variables that are no keys: of the build; and those that Kubernetes sets where a service has this name.
const OTHERS: [&str; 4] = ["BPF_OBJECT", "SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// The variables with a key's name, in the order of their names. No key has two underscores in a row, so those stand for
/// the dots: `PORTCULLIS_REPUTATION__FIRST_BLOCK_S` is `reputation.first_block_s`. Values are written as for `--set`.
///
/// # Errors
///
/// When a variable begins with `PORTCULLIS_` and is no key.
pub fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<Override>, ConfigError> {
    let mut overrides = Vec::new();
    let mut mistakes = Vec::new();
    let known = LazyCell::new(schema::keys);
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let suffix = &name[PREFIX.len()..];
        if is_other(suffix) {
            continue;
        }
        let mut mistake = |message: &str, remedy: String| {
            mistakes.push(Mistake {
                origin: name.to_owned(),
                position: None,
                key: String::new(),
                message: message.to_owned(),
                remedy,
            });
        };
        let key = suffix.to_ascii_lowercase().replace("__", ".");
        let Some(value) = value.to_str() else {
            mistake("the value is not UTF-8", "write it in UTF-8".to_owned());
            continue;
        };
        // Whether there is such an element is known when the file is.
        let is_known = known
            .iter()
            .any(|known| key == *known || is_inside(&key, known) || is_inside(known, &key));
        if !is_known {
            mistake("there is no such key", did_you_mean(&key, &known));
            continue;
        }
        overrides.push(Override::written(name.to_owned(), &key, value));
    }
    if mistakes.is_empty() {
        overrides.sort_by(|a, b| a.origin.cmp(&b.origin));
        return Ok(overrides);
    }
    mistakes.sort_by(|a, b| a.origin.cmp(&b.origin));
    Err(ConfigError { mistakes })
}

fn is_other(suffix: &str) -> bool {
    let with_more = |rest: &str| rest.is_empty() || (rest.starts_with('_') && !rest.starts_with("__"));
    OTHERS
        .iter()
        .any(|other| suffix.strip_prefix(other).is_some_and(with_more))
}

/// Whether `key` is below `table`: a table, or a list of tables with its elements' numbers.
fn is_inside(key: &str, table: &str) -> bool {
    let (mut outer, mut inner) = (table.split(['.', '[']), key.split(['.', '[']));
    loop {
        match (outer.next(), inner.next()) {
            (Some("]") | None, _) => return true,
            (Some(outer), Some(inner)) if outer == inner => {}
            _ => return false,
        }
    }
}

fn did_you_mean(key: &str, known: &[String]) -> String {
    let dotless = |text: &str| text.replace(['.', '_'], "");
    let (_, nearest) = known
        .iter()
        .filter(|known| !known.contains('['))
        .map(|known| {
            let distance = strsim::damerau_levenshtein(&dotless(known), &dotless(key));
            (distance, known)
        })
        .min()
        .unzip();
    let name = |key: &str| format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase());
    match nearest {
        Some(nearest) if strsim::damerau_levenshtein(&dotless(nearest), &dotless(key)) <= key.len() / 2 => {
            format!(
                "did you mean {}? Two underscores stand between the parts of a key",
                name(nearest)
            )
        }
        _ => "unset it; keys are written like PORTCULLIS_ENGINE__INTERFACE, and `portcullis config init` lists them"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(variables: &[(&str, &str)]) -> Result<Vec<Override>, ConfigError> {
        environment(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn two_underscores_stand_between_the_parts_of_a_key() {
        let overrides = read(&[
            ("HOME", "/"),
            ("PORTCULLIS_SERVICE__0__PORT", "8080"),
            ("PORTCULLIS_REPUTATION__FIRST_BLOCK_S", "7"),
            ("PORTCULLIS_ENGINE__INTERFACE", "eth1"),
            ("PORTCULLIS_LISTS__BLOCK", "['192.0.2.1']"),
            ("PORTCULLIS_PROFILE", "dev"),
            // Not ours.
            ("PORTCULLIS_BPF_OBJECT", "/x"),
            ("PORTCULLIS_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("PORTCULLIS_SERVICE_HOST", "10.0.0.1"),
        ])
        .expect("right");
        let text = "[engine]\ninterface = 'eth0'\n[[service]]\nport = 80\n";
        let config = Config::parse("f", text, None, &overrides).expect("valid");
        assert_eq!(config.interfaces().expect("named").names(), ["eth1"]);
        assert_eq!(config.reputation.first_block_s, 7);
        assert_eq!(config.service[0].port, 8080);
        assert_eq!(config.lists.block.len(), 1);
        assert_eq!(config.profile.as_deref(), Some("dev"));
    }

    #[test]
    fn a_mistake_names_the_variable_and_the_remedy() {
        for (name, value, parts) in [
            (
                "PORTCULLIS_ENGINE_INTERFACE",
                "eth0",
                ["no such key", "did you mean PORTCULLIS_ENGINE__INTERFACE?"],
            ),
            (
                "PORTCULLIS_LIMITS__MAX_FLOW",
                "9",
                ["no such key", "did you mean PORTCULLIS_LIMITS__MAX_FLOWS?"],
            ),
            ("PORTCULLIS_QQQ", "9", ["no such key", "unset it"]),
            (
                "PORTCULLIS_SCORING__MODE",
                "deny",
                ["unknown variant `deny`", "fix:"],
            ),
            (
                "PORTCULLIS_LIMITS__MAX_FLOWS",
                "1",
                ["limits.max_flows: 1 is out of range", "use 64 to"],
            ),
            ("PORTCULLIS_SERVICE__3__PORT", "1", ["no element `3`", ""]),
        ] {
            let error = read(&[(name, value)])
                .and_then(|overrides| {
                    Config::parse("f", "[[service]]\nport = 80\n", None, &overrides).map(drop)
                })
                .expect_err(name)
                .to_string();
            assert!(error.starts_with(name), "{name}: {error}");
            for part in parts {
                assert!(error.contains(part), "{name}: {error}");
            }
        }
    }
}
