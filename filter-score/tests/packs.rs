//! Mistakes in packs are all reported at once, each with its place and a remedy.

use filter_score::{PackError, PackSource, RuleSet, builtin_packs};

fn errors(text: &str) -> Vec<PackError> {
    RuleSet::compile(&[PackSource {
        name: "own.toml",
        text,
    }])
    .map(|_| ())
    .expect_err("the pack has mistakes")
}

fn rule(fields: &str) -> String {
    format!(
        "family = \"custom\"\n[[rule]]\nmessage = \"m\"\nseverity = \"error\"\ntargets = [\"inputs\"]\nsamples.match = [\"a\", \"b\"]\nsamples.pass = [\"c\", \"d\"]\n{fields}\n"
    )
}

#[test]
fn single_mistakes() {
    let table = [
        (
            rule("id = 1\nregex = '(abc'"),
            9,
            "unclosed group",
            "correct the expression",
        ),
        (
            rule("id = 1\nregex = 'a.{0,80}b.{0,80}c'\nliterals = ['bc']"),
            9,
            "size limit",
            "too large",
        ),
        (
            rule("id = 1\nregex = 'abc'\ncolour = 3"),
            10,
            "unknown field `colour`",
            "correct its name",
        ),
        (rule("regex = 'abc'"), 2, "missing field `id`", "add it"),
        (rule("id = 1\nregex = '[ab]'"), 9, "no literal", "literals"),
        (
            rule("id = 1\nregex = 'abc'\nliterals = ['a']"),
            10,
            "2 to 255 bytes",
            "another part",
        ),
        (
            rule("id = 1\nregex = 'abc'\nparanoia = 5"),
            10,
            "out of range",
            "1, 2, 3 or 4",
        ),
        (
            rule("id = 1\nregex = 'abc'\ndecodings = ['rot13']"),
            10,
            "unknown decoding",
            "sql",
        ),
        (
            rule("id = 1\nregex = 'abc'\nviolation = 'nul'"),
            2,
            "exactly one thing",
            "either",
        ),
        (
            rule("id = 1\ndetector = 'sqli'"),
            9,
            "unknown detector `sqli`",
            "sql-injection, sql-injection-weak, sql-injection-quoted",
        ),
        (
            rule("id = 1\ndetector = 'javascript'\nregex = 'abc'"),
            2,
            "exactly one thing",
            "detector",
        ),
        (
            rule("id = 1\nregex = 'abc'").replace("inputs", "qeury"),
            5,
            "unknown target `qeury`",
            "header:NAME",
        ),
        (
            rule("id = 1\nregex = 'abc'").replace("\"a\", \"b\"", "\"a\""),
            6,
            "too few samples",
            "at least two",
        ),
        (
            rule("id = 1\nregex = 'abc'").replace("family = \"custom\"", ""),
            2,
            "no family",
            "family =",
        ),
        ("[[rule]\n".to_owned(), 1, "", ""),
    ];
    for (text, line, message, remedy) in table {
        let errors = errors(&text);
        let first = &errors[0];
        assert_eq!(
            (first.file.as_str(), first.line),
            ("own.toml", line),
            "{first}\n{text}"
        );
        assert!(
            first.column > 0 && first.message.contains(message) && first.remedy.contains(remedy),
            "{first}"
        );
    }
}

#[test]
fn all_mistakes_of_all_packs_at_once() {
    let one = rule("id = 7\nregex = '(abc'")
        + &rule("id = 8\nregex = 'abc'\nx = 1").replace("family = \"custom\"\n", "");
    let two = rule("id = 7\nregex = 'abc'");
    let errors = RuleSet::compile(&[
        PackSource {
            name: "one.toml",
            text: &one,
        },
        PackSource {
            name: "two.toml",
            text: &two,
        },
    ])
    .map(|_| ())
    .expect_err("three mistakes");
    let places: Vec<_> = errors
        .iter()
        .map(|error| (error.file.as_str(), error.line))
        .collect();
    assert_eq!(places, [("one.toml", 9), ("one.toml", 18), ("two.toml", 8)]);
    assert!(errors[2].message.contains("taken by one.toml:8"), "{}", errors[2]);
}

#[test]
fn a_wrong_sample_is_reported_where_it_stands() {
    let text = rule("id = 1\nregex = 'abc'").replace("\"a\", \"b\"", "\"abc\", \"ab\"");
    let rules = RuleSet::compile(&[PackSource {
        name: "own.toml",
        text: &text,
    }])
    .expect("well-formed");
    let errors = std::sync::Arc::new(rules).check_samples();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].line, errors[0].column), (6, 25), "{}", errors[0]);
}

#[test]
fn the_built_in_packs_have_unique_names() {
    let mut names: Vec<_> = builtin_packs().iter().map(|pack| pack.name).collect();
    names.dedup();
    assert_eq!(names.len(), builtin_packs().len());
}
