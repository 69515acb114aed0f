//! How somebody looks at the board.

use super::{
    board::Board,
    order::Order,
    pane::{Key, Pane, Row},
};

/// How somebody looks at the board.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The table that has the keys.
    pub(super) pane: Pane,
    /// The selected row of each table; none: the first, whatever it is.
    selected: [Option<Key>; Pane::ALL.len()],
    pub(super) over: Option<Over>,
    frozen: Option<Box<Board>>,
    said: Option<String>,
}

/// What lies over the tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    Help,
    /// All about the request with this number, from this line on.
    Details {
        number: u64,
        line: u16,
    },
    /// Shall that be done?
    Question(Order),
}

impl View {
    /// What is shown while the board goes on.
    pub(super) fn frozen(&self) -> Option<&Board> {
        self.frozen.as_deref()
    }

    /// Stays at `board`, or goes on.
    pub(super) fn pause(&mut self, board: &Board) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(Box::new(board.clone())),
        };
    }

    /// What was said last to who presses keys.
    pub(super) fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    pub(super) fn say(&mut self, text: String) {
        self.said = Some(text);
    }

    /// Until the next key.
    pub(super) fn hush(&mut self) {
        self.said = None;
    }

    /// The place of the selected row among those of its table.
    pub(super) fn place(&self, pane: Pane, rows: &[Row]) -> usize {
        let key = self.selected[pane as usize];
        rows.iter().position(|row| Some(row.key) == key).unwrap_or(0)
    }

    /// Selects a row; at the first, whichever is first.
    pub(super) fn select(&mut self, place: usize, rows: &[Row]) {
        let row = rows.get(place.min(rows.len().saturating_sub(1)));
        self.selected[self.pane as usize] = row.filter(|_| place > 0).map(|row| row.key);
    }
}
