//! Which engine that is, and what is wrong.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Style, Stylize as _},
    text::{Line, Span, Text},
};
use serde::Serialize;

use super::{
    super::{
        super::{duration, plain::plain},
        board::Board,
        view::View,
    },
    QUIET,
};
use crate::{alert::Severity, control::Status};

pub(super) const HEIGHT: u16 = 3;

/// What is wrong.
const ALARM: Style = Style::new().fg(Color::White).bg(Color::Red);

pub(super) fn draw(frame: &mut Frame, area: Rect, board: &Board, view: &View) {
    let mut lines = match &board.status {
        Some(status) => vec![engine(status), rules(status)],
        None => vec![Line::from("portcullis").bold(), Line::default()],
    };
    lines.push(wrong(board));
    if view.frozen().is_some() {
        lines[0].spans.insert(0, Span::raw(" paused ").reversed());
    }
    frame.render_widget(Text::from(lines), area);
}

fn engine(status: &Status) -> Line<'static> {
    let up = Duration::try_from_secs_f64(status.uptime_s).unwrap_or_default();
    Line::from(vec![
        format!("portcullis {}", plain(&status.version)).bold(),
        format!(" on {}", plain(&status.interface)).into(),
        format!(" ({} XDP)", name(&status.xdp_mode)).into(),
        format!("  mode {}", name(&status.mode)).into(),
        format!("  up {}", duration::show_seconds(up.as_secs())).into(),
    ])
}

fn rules(status: &Status) -> Line<'static> {
    let rules = &status.rules;
    let text = format!(
        "rules {} ({}), model {}, on failure {}",
        plain(&rules.version),
        rules.count,
        plain(rules.model.version.as_deref().unwrap_or("off")),
        name(&status.on_failure)
    );
    Line::styled(text, QUIET)
}

/// The most important first: the line may be short.
fn wrong(board: &Board) -> Line<'static> {
    if let Some(why) = &board.waits {
        let why = plain(why.lines().next().unwrap_or_default());
        return Line::styled(format!(" waits for an engine: {why} "), ALARM);
    }
    let mut alerts: Vec<_> = board.alerts().collect();
    alerts.sort_by_key(|alert| alert.severity == Severity::Warning);
    let mut spans: Vec<Span> = Vec::new();
    for alert in alerts {
        let text = format!(" ALERT {}: {} ", plain(&alert.name), plain(&alert.message));
        spans.extend([Span::styled(text, ALARM), Span::raw(" ")]);
    }
    let warnings = board.status.iter().flat_map(|status| &status.warnings);
    for warning in warnings {
        spans.push(Span::styled(
            format!("warning: {}  ", plain(warning)),
            Style::new().fg(Color::Yellow),
        ));
    }
    if spans.is_empty() {
        spans.push(Span::styled("no alerts", QUIET));
    }
    Line::from(spans)
}

/// As the configuration writes it.
fn name(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
