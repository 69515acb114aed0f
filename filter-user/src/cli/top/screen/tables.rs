//! The tables: all of them if there is room, else the one that has the keys.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Row, Table, TableState},
};

use super::{
    super::{
        board::Board,
        pane::{self, Pane, Weight},
        view::View,
    },
    QUIET,
};

/// Columns and rows from which on all tables are shown.
const ROOM: (u16, u16) = (132, 20);

pub(super) fn draw(frame: &mut Frame, area: Rect, board: &Board, view: &View) {
    if area.width < ROOM.0 || area.height < ROOM.1 {
        return chosen(frame, area, board, view);
    }
    let [above, below] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(area);
    let widths = [Constraint::Fill(4), Constraint::Fill(4), Constraint::Fill(6)];
    let [sources, rules, blocks] = Layout::horizontal(widths).spacing(1).areas(below);
    for (pane, area) in Pane::ALL.into_iter().zip([above, sources, rules, blocks]) {
        let title = Line::from(title(pane, view.pane));
        table(frame, area, view, pane, pane.rows(board), pane.columns(), title);
    }
}

/// The one that has the keys. Why something was decided about the selected request is below them: a column would be too narrow.
fn chosen(frame: &mut Frame, area: Rect, board: &Board, view: &View) {
    let (pane, rows, mut columns) = (view.pane, view.pane.rows(board), view.pane.columns());
    let mut room = area;
    if let (Pane::Requests, [others @ .., (name, _)]) = (pane, columns) {
        let [above, below] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
        (room, columns) = (above, others);
        let why = rows.get(view.place(pane, &rows)).and_then(|row| row.cells.last());
        if let Some(why) = why {
            frame.render_widget(Line::from(format!("{name}: {why}")), below);
        }
    }
    table(frame, room, view, pane, rows, columns, tabs(pane));
}

/// The names of all tables.
fn tabs(chosen: Pane) -> Line<'static> {
    let titles = Pane::ALL.into_iter().map(|pane| title(pane, chosen));
    Line::from(titles.collect::<Vec<_>>())
}

fn title(pane: Pane, chosen: Pane) -> Span<'static> {
    let style = if pane == chosen {
        Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
    } else {
        Style::new()
    };
    Span::styled(format!(" {} ", pane.title()), style)
}

fn table(
    frame: &mut Frame,
    area: Rect,
    view: &View,
    pane: Pane,
    rows: Vec<pane::Row>,
    columns: &[pane::Column],
    title: Line<'static>,
) {
    let place = view.place(pane, &rows);
    let widths = columns.iter().map(|(_, width)| match width {
        0 => Constraint::Fill(1),
        width => Constraint::Length(*width),
    });
    let is_chosen = pane == view.pane && !rows.is_empty();
    let table = Table::new(rows.into_iter().map(row), widths)
        .header(Row::new(columns.iter().map(|(name, _)| *name)).style(QUIET))
        .block(
            Block::new()
                .borders(Borders::TOP)
                .title(title)
                .border_style(QUIET),
        )
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(is_chosen.then_some(place));
    frame.render_stateful_widget(table, area, &mut state);
}

fn row(row: pane::Row) -> Row<'static> {
    let style = match row.weight {
        Weight::Usual => Style::new(),
        Weight::Suspicious => Style::new().fg(Color::Yellow),
        Weight::Bad => Style::new().fg(Color::Red),
    };
    Row::new(row.cells).style(style)
}
