//! How full what is bounded is.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style},
    symbols,
    text::Line,
    widgets::LineGauge,
};

use super::{
    super::{super::plain::plain, board::Board},
    QUIET,
};
use crate::{control::Fill, trend::Point};

pub(super) const HEIGHT: u16 = 2;

/// From here on it is worth a look.
const FULL: f64 = 0.8;

pub(super) fn draw(frame: &mut Frame, area: Rect, board: &Board) {
    let Some(point) = board.last() else {
        return;
    };
    let [above, below] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let thirds = Layout::horizontal([Constraint::Fill(1); 3]).spacing(2);
    let [flows, sources, blocks] = thirds.areas(above);
    let [ring, held, second_tier] = thirds.areas(below);
    for (name, fill, area) in [
        ("flows", point.flows, flows),
        ("sources", point.sources, sources),
        ("blocks", point.blocks, blocks),
        ("rings", fullest(point), ring),
        ("held B", point.held_bytes, held),
    ] {
        gauge(frame, area, name, fill);
    }
    let text = match &point.second_tier {
        Some(tier) => format!(
            "workers {}, wait {}, {}",
            tier.workers,
            tier.waiting,
            plain(&tier.breaker)
        ),
        None => "no second tier".to_owned(),
    };
    frame.render_widget(Line::styled(text, QUIET), second_tier);
}

/// The ring of the queue that has read the least of it.
fn fullest(point: &Point) -> Fill {
    let rings = point.queues.iter().map(|queue| queue.in_flight);
    rings
        .max_by(|a, b| part(*a).total_cmp(&part(*b)))
        .unwrap_or_default()
}

fn part(fill: Fill) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people to see")]
    let part = fill.used as f64 / fill.capacity.max(1) as f64;
    part.min(1.0)
}

fn gauge(frame: &mut Frame, area: Rect, name: &str, fill: Fill) {
    let part = part(fill);
    let colour = if part >= FULL { Color::Red } else { Color::Blue };
    let gauge = LineGauge::default()
        .label(format!("{name} {fill}"))
        .ratio(part)
        .filled_symbol(symbols::line::THICK_HORIZONTAL)
        .unfilled_symbol(symbols::line::HORIZONTAL)
        .filled_style(Style::new().fg(colour))
        .unfilled_style(QUIET);
    frame.render_widget(gauge, area);
}
