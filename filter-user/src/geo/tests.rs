//! Databases that are right, and broken ones.

use std::collections::BTreeMap;

use super::{
    testing::{
        Value::{self, Map, Number, Text},
        database,
    },
    *,
};

fn country(code: &'static str) -> Value {
    Map(vec![("country", Map(vec![("iso_code", Text(code))]))])
}

fn sample() -> Vec<u8> {
    database(&[
        ("192.0.2.0/25", country("NL")),
        ("192.0.2.128/25", country("NL")),
        ("198.51.100.0/24", country("DE")),
        (
            "203.0.113.0/24",
            Map(vec![("autonomous_system_number", Number(64500))]),
        ),
        ("2001:db8::/33", Map(vec![("country_code", Text("NL"))])),
        (
            "2001:db8:8000::/33",
            Map(vec![("country", Text("FR")), ("asn", Text("AS64501"))]),
        ),
    ])
}

fn of(bytes: &[u8], geo: Geo, most: usize) -> Result<Vec<String>, GeoError> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("test.mmdb");
    fs::write(&file, bytes).expect("written");
    let geo = Geo {
        database: Some(file),
        ..geo
    };
    let mut found: Vec<_> = networks(&geo, most)?;
    found.sort_unstable();
    Ok(found.iter().map(ToString::to_string).collect())
}

fn block(codes: &[&str]) -> Geo {
    Geo {
        block_countries: codes.iter().map(ToString::to_string).collect(),
        ..Geo::default()
    }
}

#[test]
fn countries_and_operators_become_their_networks() {
    let sample = sample();
    let cases: BTreeMap<&str, (Geo, &[&str])> = [
        ("one", (block(&["NL"]), &["192.0.2.0/24", "2001:db8::/33"][..])),
        ("two", (block(&["NL", "FR"]), &["192.0.2.0/24", "2001:db8::/32"])),
        ("none", (block(&["AQ"]), &[])),
        (
            "others",
            (
                Geo {
                    allow_countries: vec!["NL".to_owned()],
                    ..Geo::default()
                },
                &["198.51.100.0/24", "2001:db8:8000::/33"],
            ),
        ),
        (
            "operators",
            (
                Geo {
                    block_asns: vec![64500, 64501],
                    ..Geo::default()
                },
                &["203.0.113.0/24", "2001:db8:8000::/33"],
            ),
        ),
    ]
    .into();
    for (name, (geo, expected)) in cases {
        assert_eq!(of(&sample, geo, 9).expect("right"), expected, "{name}");
    }
}

#[test]
fn too_many_networks_are_refused() {
    let error = of(&sample(), block(&["NL", "DE"]), 2)
        .expect_err("three")
        .to_string();
    assert!(error.contains("limits.max_list_entries = 2"), "{error}");
}

#[test]
fn a_broken_database_is_told_and_ends() {
    let whole = sample();
    for length in (0..whole.len()).step_by(7) {
        // Where the end of the metadata alone is missing, it may still be read.
        let _ = of(&whole[..length], block(&["NL"]), 9);
    }
    assert!(matches!(
        of(b"<html>", block(&["NL"]), 9),
        Err(GeoError::Broken { .. })
    ));
    // Every record of the tree leads back to the first node.
    let mut circle = whole.clone();
    let tree = circle
        .windows(16)
        .position(|window| window == [0; 16])
        .expect("the separator");
    circle[..tree].fill(0);
    assert!(matches!(
        of(&circle, block(&["NL"]), 9),
        Err(GeoError::Broken { .. })
    ));
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        let _ = of(&changed, block(&["NL"]), 9);
    }
}
