//! Decisions that a worker remembers, so that a request that is shown again is not judged again.

use filter_score::OwnedDecision;

/// Sets of decisions; the hash of a request says which one it belongs to.
const SETS: usize = 512;
/// The most decisions of a set: a few that look for the same place do not push each other out.
const WAYS: usize = 8;

/// The last decisions, at most 4096.
pub(super) struct Memory {
    /// By the hash of what was shown, the latest first.
    sets: Vec<Vec<(u128, Box<OwnedDecision>)>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            sets: vec![Vec::new(); SETS],
        }
    }

    /// The decision that is remembered for a hash, or the one that `judge` makes, and whether it was remembered. An error is not.
    pub(super) fn recall<E>(
        &mut self,
        hash: u128,
        judge: impl FnOnce() -> Result<OwnedDecision, E>,
    ) -> Result<(&OwnedDecision, bool), E> {
        let set = &mut self.sets[hash as usize % SETS];
        let known = set.iter().position(|(known, _)| *known == hash);
        if known.is_none() {
            let mut decision = judge()?;
            // Nobody is shown it.
            decision.head = Box::default();
            set.truncate(WAYS - 1);
            set.insert(0, (hash, Box::new(decision)));
        }
        Ok((&set[known.unwrap_or(0)].1, known.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use filter_score::{OfflineScorer, Policy, RuleSet};

    use super::*;

    #[test]
    fn the_oldest_of_a_set_is_forgotten() {
        let rules = RuleSet::compile(&[]).expect("no rules are rules");
        let mut scorer = OfflineScorer::new(Arc::new(rules), Policy::default());
        let mut memory = Memory::new();
        let hash = |n: usize| (7 + n * SETS) as u128;
        let mut is_known = |n| {
            let decide = || Ok::<_, ()>(scorer.score_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
            memory.recall(hash(n), decide).map(|(_, known)| known)
        };
        for n in 0..WAYS {
            assert_eq!(is_known(n), Ok(false), "{n}");
        }
        for n in 0..WAYS {
            assert_eq!(is_known(n), Ok(true), "{n}");
        }
        assert_eq!(
            (is_known(WAYS), is_known(1), is_known(0)),
            (Ok(false), Ok(true), Ok(false))
        );
        assert_eq!(
            memory.recall(hash(9), || Err("no request")).err(),
            Some("no request")
        );
        assert_eq!(memory.recall(hash(9), || Err("none")).err(), Some("none"));
    }
}
