//! What happens each second, and how it has been: a row and a curve each.

use std::collections::BTreeMap;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style},
    text::Line,
    widgets::Sparkline,
};

use super::{
    super::{super::plain::plain, board::Board},
    QUIET,
};
use crate::trend::{Percentiles, Point};

/// What packets take from the driver until they have gone on.
const LATENCY: &str = "driver_to_forwarded";

/// A row.
struct Rate {
    name: &'static str,
    text: fn(&Point) -> String,
    /// What the curve shows.
    value: fn(&Point) -> f64,
    colour: Color,
}

const RATES: [Rate; 6] = [
    Rate {
        name: "requests",
        text: |point| format!("{}/s  {}", short(point.all_requests()), listed(&point.requests)),
        value: Point::all_requests,
        colour: Color::Green,
    },
    Rate {
        name: "blocked",
        text: |point| {
            let suspicious = short(of(&point.requests, "suspicious"));
            format!(
                "{}/s  suspicious {suspicious}/s, cached {:.0} %",
                short(of(&point.requests, "block")),
                point.cached * 100.0
            )
        },
        value: |point| of(&point.requests, "block"),
        colour: Color::Red,
    },
    Rate {
        name: "packets",
        text: |point| format!("{}/s  {}", short(sum(&point.packets)), listed(&point.packets)),
        value: |point| sum(&point.packets),
        colour: Color::Cyan,
    },
    Rate {
        name: "dropped",
        text: |point| format!("{}/s  {}", short(sum(&point.dropped)), listed(&point.dropped)),
        value: |point| sum(&point.dropped),
        colour: Color::Red,
    },
    Rate {
        name: "unscored",
        text: |point| format!("{}/s  {}", short(sum(&point.unscored)), listed(&point.unscored)),
        value: |point| sum(&point.unscored),
        colour: Color::Yellow,
    },
    Rate {
        name: "latency",
        text: |point| {
            latency(point).map_or("–".to_owned(), |latency| {
                format!(
                    "p50 {} µs  p99 {} µs  max {} µs",
                    short(latency.p50),
                    short(latency.p99),
                    short(latency.max)
                )
            })
        },
        value: |point| latency(point).map_or(0.0, |latency| latency.p99),
        colour: Color::Magenta,
    },
];

pub(super) const ROWS: u16 = RATES.len() as u16;

pub(super) fn draw(frame: &mut Frame, area: Rect, board: &Board, height: u16) {
    let rows = Layout::vertical([Constraint::Length(height); RATES.len()]).split(area);
    let widths = [
        Constraint::Length(9),
        Constraint::Fill(2),
        Constraint::Length(1),
        Constraint::Fill(1),
    ];
    for (rate, row) in RATES.iter().zip(rows.iter()) {
        let [name, text, _, curve] = Layout::horizontal(widths).areas(*row);
        frame.render_widget(Line::styled(rate.name, QUIET), name);
        let shown = board.last().map_or("–".to_owned(), rate.text);
        frame.render_widget(Line::from(shown), text);
        let skipped = board.points.len().saturating_sub(usize::from(curve.width));
        // Thousandths, as curves are made of whole numbers and rates may be below 1.
        #[expect(clippy::cast_sign_loss, reason = "rates are not negative, and casts saturate")]
        let values = board
            .points
            .iter()
            .skip(skipped)
            .map(|point| ((rate.value)(point) * 1000.0) as u64);
        let line = Sparkline::default()
            .data(values.collect::<Vec<_>>())
            .style(Style::new().fg(rate.colour));
        frame.render_widget(line, curve);
    }
}

fn latency(point: &Point) -> Option<&Percentiles> {
    point.latency_us.get(LATENCY)?.as_ref()
}

fn of(rates: &BTreeMap<String, f64>, name: &str) -> f64 {
    rates.get(name).copied().unwrap_or(0.0)
}

fn sum(rates: &BTreeMap<String, f64>) -> f64 {
    // The sum of nothing would be -0.
    rates.values().fold(0.0, |sum, rate| sum + rate)
}

/// The largest first, without those that are 0.
fn listed(rates: &BTreeMap<String, f64>) -> String {
    let mut rates: Vec<_> = rates.iter().filter(|(_, rate)| **rate > 0.0).collect();
    rates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let shown: Vec<_> = rates
        .into_iter()
        .map(|(name, rate)| format!("{} {}", plain(name), short(*rate)))
        .collect();
    shown.join(", ")
}

/// A number in a few characters.
fn short(number: f64) -> String {
    match number {
        number if number >= 999_950_000.0 => format!("{:.1}G", number / 1e9),
        number if number >= 999_950.0 => format!("{:.1}M", number / 1e6),
        number if number >= 9_999.5 => format!("{:.1}k", number / 1e3),
        number if number >= 99.95 || number <= 0.0 => format!("{number:.0}"),
        number => format!("{number:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (99.94, "99.9"),
            (99.96, "100"),
            (9_999.0, "9999"),
            (9_999.6, "10.0k"),
            (1_500_000.0, "1.5M"),
            (2e9, "2.0G"),
        ] {
            assert_eq!(short(number), expected);
        }
    }
}
