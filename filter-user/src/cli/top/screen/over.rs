//! What lies over the tables: help, details, a question.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Text},
    widgets::{Block, Clear, Paragraph, Wrap},
};

use super::super::{
    super::{audit::explained, plain::plain},
    board::Board,
    view::{Over, View},
};

const HELP: &str = "\
q, Esc       quit
Tab, ← →     another table
↑ ↓, PgUp…   another row
Enter        all about the selected request
b            block the client of the row for an hour
u            end the block of the client of the row
a            always let the client of the row pass
p            pause: the screen stays, the engine does not
?            this help

Decisions in brackets were not carried out: detect mode.
Rules count in the last 500 requests that were not simply allowed.";

pub(super) fn draw(frame: &mut Frame, board: &Board, view: &View) {
    let whole = frame.area();
    match &view.over {
        None => {}
        Some(Over::Help) => show(frame, middle(whole, 72, 14), " Help ", HELP, 0),
        Some(Over::Question(order)) => {
            let question = order.question();
            let width = u16::try_from(question.chars().count() + 4).unwrap_or(u16::MAX);
            show(frame, middle(whole, width, 3), " Sure? ", &question, 0);
        }
        Some(Over::Details { number, line }) => {
            let text = match board.request(*number) {
                Some(request) => explained(request),
                None => "This request is not kept any more: `portcullis explain` finds it in the audit log."
                    .to_owned(),
            };
            let area = middle(
                whole,
                whole.width.saturating_sub(4),
                whole.height.saturating_sub(2),
            );
            show(frame, area, " Request: ↑↓ move, Esc back ", &text, *line);
        }
    }
}

/// From a line on; the last one stays in sight.
fn show(frame: &mut Frame, area: Rect, title: &str, text: &str, line: u16) {
    let lines: Vec<_> = text.lines().map(|line| Line::from(plain(line))).collect();
    let last = u16::try_from(lines.len().saturating_sub(1)).unwrap_or(u16::MAX);
    let paragraph = Paragraph::new(Text::from(lines))
        .wrap(Wrap { trim: false })
        .scroll((line.min(last), 0))
        .block(Block::bordered().title(title.to_owned()));
    frame.render_widget(Clear, area);
    frame.render_widget(paragraph, area);
}

fn middle(whole: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(whole.width), height.min(whole.height));
    Rect {
        x: whole.x + (whole.width - width) / 2,
        y: whole.y + (whole.height - height) / 2,
        width,
        height,
    }
}
