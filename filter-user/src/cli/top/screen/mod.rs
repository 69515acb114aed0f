//! Draws the board.

mod head;
mod levels;
mod over;
mod rates;
mod tables;

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Modifier, Style, Stylize as _},
    text::Line,
};

use super::{super::plain::plain, board::Board, view::View};

/// Names of things.
const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
/// From this height on the curves are two rows high.
const TALL: u16 = 40;
/// Below this height there is no room for more than a table.
const LOW: u16 = 18;

/// Draws all of it, or as much as there is room for.
pub(super) fn draw(frame: &mut Frame, board: &Board, view: &View) {
    let (curve, levels) = match frame.area().height {
        ..LOW => (0, 0),
        LOW..TALL => (1, levels::HEIGHT),
        TALL.. => (2, levels::HEIGHT),
    };
    let heights = [
        Constraint::Length(head::HEIGHT),
        Constraint::Length(rates::ROWS * curve),
        Constraint::Length(levels),
        Constraint::Fill(1),
        Constraint::Length(1),
    ];
    let [top, middle, below, rest, bottom] = Layout::vertical(heights).areas(frame.area());
    head::draw(frame, top, board, view);
    rates::draw(frame, middle, board, curve);
    levels::draw(frame, below, board);
    tables::draw(frame, rest, board, view);
    frame.render_widget(footer(view), bottom);
    over::draw(frame, board, view);
}

fn footer(view: &View) -> Line<'static> {
    match view.said() {
        Some(said) => Line::from(plain(said)).bold(),
        None => Line::styled(
            "q quit  Tab ↑↓ move  Enter details  b block  u unblock  a allow  p pause  ? help",
            QUIET,
        ),
    }
}

#[cfg(test)]
mod tests;
