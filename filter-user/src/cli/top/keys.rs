//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    board::Board,
    order::Order,
    pane::{Key, Pane, Row},
    view::{Over, View},
};

/// Rows of a page, as far as keys know.
const PAGE: usize = 10;

/// What a key wants beyond the screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Carry(Order),
}

/// Changes the view as a key says.
pub(super) fn press(view: &mut View, board: &Board, key: KeyEvent) -> Option<Wish> {
    view.hush();
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Wish::Quit);
    }
    match view.over.take() {
        Some(over) => answer(view, over, key.code),
        None => walk(view, board, key.code),
    }
}

/// With something over the tables.
fn answer(view: &mut View, over: Over, code: KeyCode) -> Option<Wish> {
    match (over, code) {
        (Over::Question(order), KeyCode::Char('y' | 'Y')) => return Some(Wish::Carry(order)),
        (Over::Question(order), code) if !matches!(code, KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc) => {
            view.over = Some(Over::Question(order));
        }
        (Over::Details { number, line }, code) => {
            let line = match code {
                KeyCode::Up | KeyCode::Char('k') => line.saturating_sub(1),
                KeyCode::Down | KeyCode::Char('j') => line.saturating_add(1),
                KeyCode::PageUp => line.saturating_sub(PAGE as u16),
                KeyCode::PageDown => line.saturating_add(PAGE as u16),
                KeyCode::Home => 0,
                _ => return None,
            };
            view.over = Some(Over::Details { number, line });
        }
        // Any key closes the help, and a refused question is gone.
        _ => {}
    }
    None
}

/// Among the tables.
fn walk(view: &mut View, board: &Board, code: KeyCode) -> Option<Wish> {
    let rows = view.pane.rows(view.frozen().unwrap_or(board));
    let place = view.place(view.pane, &rows);
    match code {
        KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::Quit),
        KeyCode::Tab | KeyCode::Right => view.pane = view.pane.next(1),
        KeyCode::BackTab | KeyCode::Left => view.pane = view.pane.next(Pane::ALL.len() - 1),
        KeyCode::Up | KeyCode::Char('k') => view.select(place.saturating_sub(1), &rows),
        KeyCode::Down | KeyCode::Char('j') => view.select(place + 1, &rows),
        KeyCode::PageUp => view.select(place.saturating_sub(PAGE), &rows),
        KeyCode::PageDown => view.select(place + PAGE, &rows),
        KeyCode::Home => view.select(0, &rows),
        KeyCode::End => view.select(rows.len(), &rows),
        KeyCode::Char('p') => view.pause(board),
        KeyCode::Char('?' | 'h') => view.over = Some(Over::Help),
        KeyCode::Enter => match rows.get(place).map(|row| row.key) {
            Some(Key::Request(number)) => view.over = Some(Over::Details { number, line: 0 }),
            _ => view.say("details are there for requests".into()),
        },
        KeyCode::Char(letter @ ('b' | 'u' | 'a')) => return order(view, rows.get(place), letter),
        _ => {}
    }
    None
}

fn order(view: &mut View, row: Option<&Row>, letter: char) -> Option<Wish> {
    let Some(target) = row.and_then(|row| row.client) else {
        view.say("no client is selected: choose a request, a source or a block".into());
        return None;
    };
    match letter {
        'b' => view.over = Some(Over::Question(Order::Block(target))),
        'a' => view.over = Some(Over::Question(Order::Allow(target))),
        _ => return Some(Wish::Carry(Order::Unblock(target))),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    fn press_all(view: &mut View, board: &Board, codes: &[KeyCode]) -> Option<Wish> {
        codes
            .iter()
            .fold(None, |_, code| press(view, board, (*code).into()))
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let letter = KeyCode::Char;
        let client = testing::client();
        let blocked = crate::control::testing::net("192.0.2.99");
        let board = testing::board();
        for (codes, wish) in [
            (vec![letter('q')], Some(Wish::Quit)),
            (vec![KeyCode::Esc], Some(Wish::Quit)),
            (vec![letter('?'), letter('q')], None),
            (vec![letter('b')], None),
            (
                vec![letter('b'), letter('y')],
                Some(Wish::Carry(Order::Block(client))),
            ),
            (vec![letter('b'), letter('n'), letter('y')], None),
            (
                vec![letter('b'), letter('x'), letter('y')],
                Some(Wish::Carry(Order::Block(client))),
            ),
            (
                vec![letter('a'), letter('y')],
                Some(Wish::Carry(Order::Allow(client))),
            ),
            (vec![letter('u')], Some(Wish::Carry(Order::Unblock(client)))),
            (
                vec![KeyCode::Left, letter('u')],
                Some(Wish::Carry(Order::Unblock(blocked))),
            ),
            (vec![KeyCode::Tab, KeyCode::Tab, letter('b'), letter('y')], None),
            (vec![KeyCode::Enter, KeyCode::Esc], None),
            (vec![KeyCode::Enter, KeyCode::Esc, KeyCode::Esc], Some(Wish::Quit)),
        ] {
            assert_eq!(press_all(&mut View::default(), &board, &codes), wish, "{codes:?}");
        }
        let interrupt = KeyEvent::new(letter('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut View::default(), &board, interrupt), Some(Wish::Quit));
        for code in [letter('b'), letter('a'), letter('u'), KeyCode::Enter] {
            let mut view = View::default();
            assert_eq!(press(&mut view, &Board::default(), code.into()), None);
            assert!(
                view.said().is_some() && view.over.is_none(),
                "{code} with empty tables"
            );
        }
    }

    #[test]
    fn a_selected_request_stays_selected_when_others_come() {
        let mut board = testing::board();
        let mut view = View::default();
        let details = |number, line| Some(Over::Details { number, line });
        press_all(&mut view, &board, &[KeyCode::Down, KeyCode::Down]);
        board.take(testing::verdict(3, "GET / HTTP/1.1"));
        press_all(&mut view, &board, &[KeyCode::Enter]);
        assert_eq!(view.over, details(1, 0));
        press_all(
            &mut view,
            &board,
            &[KeyCode::Down, KeyCode::PageDown, KeyCode::Up],
        );
        assert_eq!(view.over, details(1, 10));
        press_all(&mut view, &board, &[KeyCode::Esc, KeyCode::Home, KeyCode::Enter]);
        assert_eq!(view.over, details(3, 0));
        press_all(&mut view, &board, &[KeyCode::Esc, KeyCode::End, KeyCode::Enter]);
        assert_eq!(view.over, details(1, 0));
    }

    #[test]
    fn a_pause_keeps_what_is_shown() {
        let mut board = testing::board();
        let mut view = View::default();
        press_all(&mut view, &board, &[KeyCode::Char('p')]);
        board.take(testing::verdict(3, "GET / HTTP/1.1"));
        assert_eq!(view.frozen().map(|board| board.requests().count()), Some(2));
        press_all(&mut view, &board, &[KeyCode::Char('p')]);
        assert!(view.frozen().is_none());
    }
}
