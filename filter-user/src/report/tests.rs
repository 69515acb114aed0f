//! Reports are read back.

use std::fs;

use super::*;
use crate::latency::LatencyBook;

fn snapshot(queues: usize, records: u64) -> Snapshot {
    let (book, mut recorders) = LatencyBook::new(queues);
    for (queue, recorder) in recorders.iter_mut().enumerate() {
        for i in 1..=records {
            recorder.record(Stage::DriverToForwarded, i * 100 * (queue as u64 + 1));
            recorder.record(Stage::DequeuedToVerdict, 700);
        }
    }
    let text = serde_json::json!({
        "version": "1.2.3", "interface": "<eth0>", "taken_at_s": 1_709_251_200,
        "latencies": book.snapshot(false),
    });
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.json");
    fs::write(&path, text.to_string()).expect("written");
    Snapshot::read(&path).expect("a snapshot")
}

/// Nanoseconds as the files print them.
fn us(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64() * 1e6
}

#[test]
fn every_file_is_written_and_parses() {
    let snapshot = snapshot(2, 10_000);
    let dir = tempfile::tempdir().expect("a directory");
    let files = snapshot.write(&dir.path().join("a/b")).expect("written");
    assert_eq!(files.len(), 2 + 3 + 6);
    let read = |name: &str| fs::read_to_string(dir.path().join("a/b").join(name)).expect(name);

    assert_eq!(
        Snapshot::read(&dir.path().join("a/b/latency.json")).expect("a snapshot"),
        snapshot
    );
    let json: serde_json::Value = serde_json::from_str(&read("latency.json")).expect("JSON");
    let all = &json["percentiles"][6];
    assert_eq!(
        (&all["stage"], &all["queue"], &all["count"]),
        (
            &"driver_to_forwarded".into(),
            &serde_json::Value::Null,
            &20_000.into()
        )
    );
    let p50 = all["p50_s"].as_f64().expect("a number");
    assert!((p50 - 0.000_667).abs() < 0.000_01, "{p50}");

    // value, percentile, count, 1/(1-percentile): rising, ending at the maximum and the whole count.
    let merged = snapshot.latencies.merged(Stage::DriverToForwarded);
    let text = read("driver_to_forwarded.hgrm");
    let mut lines = text.lines();
    assert_eq!(lines.next().map(|line| line.split_whitespace().count()), Some(4));
    assert_eq!(lines.next(), Some(""));
    let rows: Vec<Vec<f64>> = lines
        .take_while(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|n| n.parse().expect(line)).collect())
        .collect();
    assert!(rows.len() > 20);
    assert!(
        rows.windows(2)
            .all(|pair| (0..3).all(|i| pair[0][i] <= pair[1][i]))
    );
    let last = rows.last().expect("rows");
    assert_eq!(last[1..], [1.0, 20_000.0]);
    assert!((last[0] - us(merged.max())).abs() < 0.001);
    let median = rows.iter().find(|row| row[1] >= 0.5).expect("a median");
    assert!((median[0] - us(merged.value_at_percentile(50.0))).abs() < 0.001);
    assert!(text.contains("Total count    =        20000]"), "{text}");
    assert!(read("driver_to_dequeued.queue1.hgrm").contains("Total count    =            0]"));
}

#[test]
fn the_page_stands_alone() {
    let page = html::page(&snapshot(2, 10_000));
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for foreign in ["http:", "https:", "src=", "href=", "@import", "url(", "<script"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("2024-03-01T00:00:00Z"));
    assert!(page.contains("on &lt;eth0&gt;") && !page.contains("<eth0>"));
    for tag in [
        "svg", "table", "figure", "style", "body", "tr", "td", "th", "circle", "text",
    ] {
        let open = page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
        assert_eq!(open, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert_eq!(
        page.matches("class=\"curve").count(),
        3 + 2,
        "a legend for each stage, a curve for those with data"
    );
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn no_traffic_is_no_trouble() {
    for (queues, records) in [(0, 0), (1, 0), (1, 1)] {
        let snapshot = snapshot(queues, records);
        let page = html::page(&snapshot);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
        assert_eq!(
            snapshot.table().lines().count(),
            3 + 3,
            "one queue is not listed twice"
        );
    }
}

#[test]
fn the_table_shows_stages_and_queues() {
    let table = snapshot(2, 10_000).table();
    let rows: Vec<_> = table
        .lines()
        .skip(3)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .collect();
    assert_eq!(rows.len(), 9);
    assert_eq!(rows[3][..4], ["dequeued_to_verdict", "all", "20000", "0.70"]);
    assert_eq!(rows[8][..3], ["driver_to_forwarded", "1", "10000"]);
}

#[test]
fn what_is_no_snapshot_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.json");
    let missing = Snapshot::read(&path).expect_err("no file").to_string();
    assert!(
        missing.contains("x.json") && missing.contains("fix:"),
        "{missing}"
    );
    for text in ["", "{}", "[1]", "{\"version\":\"1\",\n\"interface\":7}"] {
        fs::write(&path, text).expect("written");
        let error = Snapshot::read(&path).expect_err(text).to_string();
        assert!(
            error.contains("x.json:") && error.contains("not a latency snapshot"),
            "{error}"
        );
    }
}
