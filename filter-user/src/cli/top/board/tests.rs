//! The board, fed with news.

use super::{super::testing, *};

fn heard(topic: &str, mut message: Value) -> News {
    message["topic"] = topic.into();
    News::Message(message)
}

fn targets(board: &Board) -> Vec<String> {
    board
        .blocks
        .iter()
        .map(|block| block.target.addr().to_string())
        .collect()
}

#[test]
fn requests_are_kept_once_in_the_order_of_their_numbers_up_to_a_bound() {
    let mut board = Board::default();
    for number in [3, 1, 2, 2] {
        board.take(testing::verdict(number, "GET / HTTP/1.1"));
    }
    board.take(heard("verdicts", json!({"seq": 9, "suppressed": 7})));
    board.take(heard("lost", json!({"lost": null})));
    let numbers = |board: &Board| board.requests().map(|(number, _)| number).collect::<Vec<_>>();
    assert_eq!(numbers(&board), [3, 2, 1]);
    assert_eq!(board.rules()[0].hits, 3);
    for number in 4..1_000 {
        board.take(testing::verdict(number, "GET / HTTP/1.1"));
    }
    assert_eq!(numbers(&board).len(), MAX_REQUESTS);
    assert_eq!(numbers(&board)[0], 999);
}

#[test]
fn points_are_kept_up_to_a_bound() {
    let mut board = Board::default();
    board.take(News::History(vec![testing::point(); 400]));
    assert_eq!(board.points.len(), MAX_POINTS);
    let mut point = testing::point();
    point.uptime_s = 77.0;
    board.take(heard("stats", serde_json::to_value(&point).expect("JSON")));
    assert_eq!((board.points.len(), board.last()), (MAX_POINTS, Some(&point)));
    board.take(heard("stats", json!({"packets": 7})));
    assert_eq!(board.points.len(), MAX_POINTS);
}

#[test]
fn blocks_come_and_go_the_latest_first() {
    let mut board = Board::default();
    let page = || vec![testing::block("192.0.2.1"), testing::block("192.0.2.2")];
    board.take(testing::levels(page()));
    for (message, expected) in [
        (
            json!({"action": "blocked", "target": "192.0.2.3/32", "by": "operator", "for_s": 60}),
            vec!["192.0.2.3", "192.0.2.1", "192.0.2.2"],
        ),
        (
            json!({"action": "blocked", "target": "192.0.2.2/32"}),
            vec!["192.0.2.2", "192.0.2.3", "192.0.2.1"],
        ),
        (
            json!({"action": "unblocked", "target": "192.0.2.1/32"}),
            vec!["192.0.2.2", "192.0.2.3"],
        ),
        (
            json!({"action": "ended", "targets": ["192.0.2.2/32", "192.0.2.3/32"], "count": 2}),
            vec![],
        ),
        (json!({"action": "blocked", "target": "no address"}), vec![]),
    ] {
        board.take(heard("blocks", message));
        assert_eq!(targets(&board), expected);
    }
    board.take(testing::levels(page()));
    assert_eq!(targets(&board), ["192.0.2.1", "192.0.2.2"]);
    board.take(testing::levels(Vec::new()));
    assert!(board.blocks.is_empty(), "what is not listed any more is over");
}

#[test]
fn a_full_page_of_blocks_says_nothing_of_others() {
    let mut board = Board::default();
    board.take(heard(
        "blocks",
        json!({"action": "blocked", "target": "203.0.113.7/32"}),
    ));
    let page = (0..MAX_BLOCKS).map(|last| testing::block(&format!("192.0.2.{last}")));
    board.take(testing::levels(page.collect()));
    assert_eq!(
        (targets(&board)[0].as_str(), board.blocks.len()),
        ("203.0.113.7", MAX_BLOCKS)
    );
}

#[test]
fn alerts_go_on_and_off() {
    let mut board = testing::board();
    assert_eq!(board.alerts().count(), 1);
    for (name, state, expected) in [
        ("drops", "cleared", 0),
        ("other", "raised", 0),
        ("drops", "raised", 1),
    ] {
        board.take(heard("alerts", json!({"name": name, "state": state})));
        assert_eq!(board.alerts().count(), expected, "{name} {state}");
    }
}

#[test]
fn the_board_waits_until_there_is_news() {
    let mut board = testing::board();
    board.take(News::Gone("away".into()));
    assert_eq!(board.waits.as_deref(), Some("away"));
    assert_eq!(board.requests().count(), 2, "what is known stays");
    board.take(testing::levels(Vec::new()));
    assert_eq!(board.waits, None);
}

#[test]
fn json_has_all_of_it() {
    let json = testing::board().json();
    assert_eq!(json["requests"][0]["seq"], 2);
    assert_eq!(
        (&json["rules"][0]["id"], &json["rules"][0]["hits"]),
        (&100_112.into(), &2.into())
    );
    assert_eq!(json["points"].as_array().map(Vec::len), Some(2));
    for key in ["status", "sources", "blocks", "alerts"] {
        assert!(!json[key].is_null(), "{key}");
    }
}
