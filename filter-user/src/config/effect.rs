//! When a changed key takes effect.

/// When a changed key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// With a reload.
    AtOnce,
    /// When the engine starts again.
    Restart,
}

use Effect::{AtOnce, Restart};

/// The effect of each key, or of all below it; of several, the longest counts.
const EFFECTS: &[(&str, Effect)] = &[
    ("profile", AtOnce),
    ("engine", Restart),
    ("engine.log", AtOnce),
    ("clients", AtOnce),
    ("suspicious", AtOnce),
    ("flood", AtOnce),
    // Most bound tables that are made at the start; those of requests are part of the policies.
    ("limits", Restart),
    ("limits.body_bytes", AtOnce),
    ("limits.body_overflow", AtOnce),
    ("limits.decoded_bytes", AtOnce),
    ("limits.decoded_ratio", AtOnce),
    ("limits.decoded_overflow", AtOnce),
    ("limits.body_depth", AtOnce),
    ("limits.body_values", AtOnce),
    ("rules.folder", AtOnce),
    ("rules.watch_s", Restart),
    ("scoring", AtOnce),
    // Each queue has made room for so many.
    ("scoring.cache", Restart),
    ("scoring.baseline.entries", Restart),
    ("deep", Restart),
    ("response", Restart),
    ("reputation", AtOnce),
    // By it sources are told apart in maps and tables that stay.
    ("reputation.ipv6_prefix", Restart),
    ("lists", AtOnce),
    ("lists.never_block", Restart),
    // For the command that writes there.
    ("report.directory", AtOnce),
    ("report.summary_interval_s", Restart),
    ("api", Restart),
    ("api.tokens", AtOnce),
    ("api.tls", AtOnce),
    ("events", Restart),
    ("audit", Restart),
    ("alerts", Restart),
    ("history", Restart),
    ("service[]", Restart),
    ("service[].proxy_protocol", AtOnce),
    ("service[].scoring", AtOnce),
    ("limit[]", AtOnce),
    ("geo", AtOnce),
    ("feed[]", AtOnce),
];

impl Effect {
    /// That of a key; elements of lists of tables are `service[]`, whatever stands between the brackets.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let key = without_names(key);
        let fits = |prefix: &str| {
            key.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        EFFECTS
            .iter()
            .filter(|(prefix, _)| fits(prefix))
            .max_by_key(|(prefix, _)| prefix.len())
            // A test knows that every key is there.
            .map_or(Restart, |(_, effect)| *effect)
    }
}

/// `service[192.0.2.1:80].port` is `service[].port`.
fn without_names(key: &str) -> String {
    let mut inside = false;
    let outside = |c: &char| {
        inside = (inside || *c == '[') && *c != ']';
        !inside || *c == '['
    };
    key.chars().filter(outside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_key_has_an_effect_and_every_entry_a_key() {
        for key in keys() {
            let fits = EFFECTS.iter().any(|(prefix, _)| {
                key.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            });
            assert!(fits, "{key} is not in the table");
        }
        for (prefix, _) in EFFECTS {
            assert!(
                keys().iter().any(|key| key.starts_with(prefix)),
                "there is no {prefix}"
            );
        }
    }

    #[test]
    fn the_longest_entry_counts() {
        for (key, effect) in [
            ("engine.log", AtOnce),
            ("engine.log_x", Restart),
            ("limits.body_bytes", AtOnce),
            ("limits.max_flows", Restart),
            ("service[any:80]", Restart),
            ("service[[2001:db8::1]:80].inspect", Restart),
            ("service[192.0.2.1:80].scoring.mode", AtOnce),
            ("limit[login]", AtOnce),
            ("api.tokens[prometheus].role", AtOnce),
            ("api.tls.key", AtOnce),
            ("api.timeout_s", Restart),
            ("scoring.baseline.mode", AtOnce),
            ("scoring.baseline.entries", Restart),
        ] {
            assert_eq!(Effect::of(key), effect, "{key}");
        }
    }
}
