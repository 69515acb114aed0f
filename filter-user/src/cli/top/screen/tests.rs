//! The screen, drawn without a terminal.

use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

use crate::cli::top::{
    ask::News,
    board::Board,
    keys,
    order::Order,
    printed, testing,
    view::{Over, View},
};

/// A view with this over the tables.
fn under(over: Over) -> View {
    let mut view = View::default();
    view.over.replace(over);
    view
}

/// What somebody sees.
fn seen(board: &Board, view: &View, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a screen");
    terminal
        .draw(|frame| super::draw(frame, board, view))
        .expect("drawn");
    terminal.backend().to_string()
}

#[test]
fn a_small_screen_has_the_engine_its_rates_and_the_chosen_table() {
    let board = testing::board();
    let text = printed(&board, (80, 24)).expect("drawn");
    assert_eq!(text.lines().count(), 24);
    for part in [
        "portcullis 1.2.3 on eth0 (native XDP)  mode block  up 1s",
        "ALERT drops: too many",
        "requests 15.0/s",
        "block 3.0",
        "source_blocked 7.0",
        "p50 10.0 µs  p99 20.0 µs  max 30.0 µs",
        "flows 1/10",
        "workers 2, wait 1, closed",
        "Sources by risk",
        "GET /a?id=2 HTTP/1.1",
        "100112",
        "why: SQL injection in query:id",
        "q quit",
        "? help",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("192.0.2.99"), "blocks are another table:\n{text}");
    let mut view = View::default();
    keys::press(&mut view, &board, KeyCode::BackTab.into());
    let text = seen(&board, &view, 80, 24);
    assert!(text.contains("192.0.2.99") && text.contains("59m"), "{text}");
}

#[test]
fn a_large_screen_has_all_tables() {
    let text = printed(&testing::board(), (132, 50)).expect("drawn");
    for part in [
        "GET /a?id=2",
        "SQL injection in query:id",
        "198.51.100.7",
        "40.0 100",
        "strikes",
        "SQL injection",
        "192.0.2.99",
        "operator",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn a_low_screen_has_the_chosen_table() {
    let text = printed(&testing::board(), (80, 10)).expect("drawn");
    assert!(
        text.contains("GET /a?id=2") && text.contains("GET /a?id=1"),
        "{text}"
    );
    assert!(!text.contains("flows 1/10"), "{text}");
}

#[test]
fn no_size_is_too_small_for_anything() {
    let board = testing::board();
    for over in [
        None,
        Some(Over::Help),
        Some(Over::Details { number: 2, line: 500 }),
        Some(Over::Question(Order::Block(
            "192.0.2.7/32".parse().expect("an address"),
        ))),
    ] {
        let view = over.map_or_else(View::default, under);
        for (columns, rows) in [(1, 1), (1, 50), (200, 1), (20, 5), (79, 23), (132, 20), (300, 90)] {
            let _ = seen(&board, &view, columns, rows);
            let _ = seen(&Board::default(), &view, columns, rows);
        }
    }
}

#[test]
fn what_lies_over_the_tables_is_seen() {
    let board = testing::board();
    for (over, part) in [
        (Over::Help, "another table"),
        (
            Over::Details { number: 2, line: 0 },
            "request 0000000000000002: block",
        ),
        (
            Over::Question(Order::Allow("192.0.2.7/32".parse().expect("an address"))),
            "always let 192.0.2.7/32 pass? y/n",
        ),
    ] {
        let view = under(over);
        let text = seen(&board, &view, 80, 24);
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn text_of_attackers_does_nothing_to_the_terminal() {
    let mut board = Board::default();
    board.take(testing::verdict(1, "GET /\u{1b}[2J\u{9b}31m\u{202e}x HTTP/1.1"));
    for view in [View::default(), under(Over::Details { number: 1, line: 0 })] {
        let text = seen(&board, &view, 160, 50);
        assert!(text.contains("GET /\u{fffd}[2J"), "{text}");
        assert!(
            !text.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')),
            "{text:?}"
        );
    }
}

#[test]
fn a_screen_without_an_engine_says_that_it_waits() {
    let mut board = testing::board();
    board.take(News::Gone("no engine\n  fix: start".into()));
    let text = printed(&board, (80, 24)).expect("drawn");
    assert!(text.contains("waits for an engine: no engine"), "{text}");
}
