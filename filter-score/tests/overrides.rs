//! Packs that change rules of other packs.

use filter_score::{PackSource, RuleSet, Severity};

const BASE: &str = "family = \"custom\"\n[[rule]]\nid = 1\nmessage = \"m\"\nseverity = \"critical\"\n\
    targets = [\"inputs\"]\nregex = 'abc'\nsamples.match = [\"abc\", \"xabc\"]\nsamples.pass = [\"c\", \"d\"]\n\
    [[rule]]\nid = 2\nmessage = \"n\"\nseverity = \"notice\"\nviolation = \"nul\"\n\
    samples.match = [\"a\", \"b\"]\nsamples.pass = [\"c\", \"d\"]\n";

fn compile(patch: &str) -> Result<RuleSet, String> {
    RuleSet::compile(&[
        PackSource {
            name: "patch.toml",
            text: patch,
        },
        PackSource {
            name: "base.toml",
            text: BASE,
        },
    ])
    .map_err(|errors| {
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

#[test]
fn a_pack_changes_rules_of_any_other() {
    let rules = compile(
        "[[override]]\nid = 1\nseverity = \"warning\"\nparanoia = 3\n[[override]]\nid = 2\nenabled = false\n",
    )
    .expect("right");
    let rules: Vec<_> = rules
        .rules()
        .map(|rule| (rule.id, rule.severity, rule.paranoia))
        .collect();
    assert_eq!(rules, [(1, Severity::Warning, 3)]);
    let same = compile("[[override]]\nid = 2\nenabled = true\n").expect("right");
    assert_eq!(same.rules().len(), 2);
}

#[test]
fn mistakes_are_named() {
    for (patch, message, remedy) in [
        (
            "[[override]]\nid = 7\nenabled = false\n",
            "patch.toml:2:6: there is no rule 7",
            "rules list",
        ),
        (
            "[[override]]\nid = 1\n",
            "patch.toml:1:1: it changes nothing about rule 1",
            "enabled = false",
        ),
        (
            "[[override]]\nid = 1\nparanoia = 9\n",
            "patch.toml:3:12: paranoia level out of range",
            "use 1",
        ),
        (
            "[[override]]\nid = 1\nseverity = \"low\"\n",
            "patch.toml:3:12: unknown variant `low`",
            "",
        ),
        (
            "[[override]]\nenabled = false\n",
            "patch.toml:1:1: missing field `id`",
            "add it",
        ),
        ("[override]\nid = 1\n", "arrays of tables", "[[override]]"),
        (
            "[[override]]\nid = 1\nenabled = true\n[[override]]\nid = 1\nseverity = \"error\"\n",
            "patch.toml:5:6: rule 1 is overridden already, at patch.toml:2",
            "keep one",
        ),
    ] {
        let shown = compile(patch).map(|_| ()).expect_err(patch);
        assert!(
            shown.contains(message) && shown.contains(remedy),
            "{patch}\n{shown}"
        );
        assert_eq!(shown.lines().count(), 1, "one error for one mistake: {shown}");
    }
}
