//! A client's half of a connection: the decisions do not depend on how it is cut into segments, and every buffer comes
//! back.

use std::sync::{Arc, LazyLock};

use filter_score::{
    Disposition, Limits, Mode, Model, OwnedDecision, Policies, Policy, RuleSet, Scorer, SecondLook, Stream,
    Verdict, builtin_packs,
};

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let rules = RuleSet::compile(builtin_packs()).expect("the built-in packs compile");
    let model = Model::builtin().expect("the built-in model is sound");
    Arc::new(rules.with_model(Some(Arc::new(model))))
});

/// The first byte chooses mode and limits, the second how the rest is cut.
pub(crate) fn stream(data: &[u8]) {
    let [choice, seed, bytes @ ..] = data else {
        return;
    };
    let policy = policy(*choice);
    let whole = decide(policy, bytes, &[]);
    assert_eq!(
        decide(policy, bytes, &cuts(bytes.len(), *seed)),
        whole,
        "cut by {seed}"
    );
}

/// Small limits, so that short inputs cross them.
fn policy(choice: u8) -> Policy {
    let limits = Limits {
        head_bytes: 1024,
        window: 256,
        overlap: 64,
        inflaters: 2,
        brotli_decoders: 1,
        body_bytes: 64 << 10,
        ..Limits::default()
    };
    Policy {
        mode: if choice & 1 == 0 {
            Mode::Block
        } else {
            Mode::Detect
        },
        paranoia: 1 + (choice >> 1 & 3),
        deep: choice & 8 == 0,
        limits,
        ..Policy::default()
    }
}

/// Places to cut at: every byte for 0, else some.
fn cuts(length: usize, seed: u8) -> Vec<usize> {
    let mut cuts = Vec::new();
    let (mut at, mut state) = (0, u32::from(seed));
    while at < length {
        // Numerical Recipes' generator: anything will do.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        at += if seed == 0 {
            1
        } else {
            1 + (state >> 24) as usize % 64
        };
        cuts.push(at.min(length));
    }
    cuts
}

/// Feeds as the engine does: an undecided request waits for the second tier, and a block ends the stream.
fn decide(policy: Policy, bytes: &[u8], cuts: &[usize]) -> (Vec<OwnedDecision>, Disposition) {
    let policies = Policies::single(Arc::clone(&RULES), policy);
    let mut look = SecondLook::new(&policies);
    let mut scorer = Scorer::with_policies(Arc::new(policies), 1);
    let mut stream = Stream::new();
    let (mut decisions, mut disposition, mut start) = (Vec::new(), Disposition::Accept, 0);
    'stream: for end in cuts.iter().copied().chain([bytes.len()]) {
        loop {
            disposition = scorer.feed(&mut stream, &bytes[start..end], |decision| {
                decisions.push(look.decide(decision));
            });
            let Disposition::Undecided { taken } = disposition else {
                break;
            };
            start += taken;
            let last: Option<&OwnedDecision> = decisions.last();
            if last.is_some_and(|last| last.decision == Verdict::Block) {
                disposition = Disposition::Block;
                break 'stream;
            }
        }
        start = end;
    }
    if disposition != Disposition::Block {
        scorer.finish(&mut stream, |decision| decisions.push(look.decide(decision)));
    }
    scorer.release(&mut stream);
    assert_eq!(scorer.available(), 1, "the buffer came back");
    (decisions, disposition)
}
