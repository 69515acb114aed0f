//! Plots as SVG, to stand in a page: no script, no font and no picture from elsewhere.

use std::fmt::Write as _;

use super::{Axis, Bars, Plot, Scale, html::escape, number::number};

/// Width of all plots, in units of the picture.
const WIDTH: f64 = 760.0;
/// Room for names to the left of bars, at least, at most, and for each character.
const NAMES: [f64; 3] = [250.0, 400.0, 6.6];
/// Room for figures to the right of bars.
const FIGURES: f64 = 170.0;
const BAR: f64 = 16.0;
const GAP: f64 = 10.0;
/// The drawing area of lines: left, top, right, bottom.
const AREA: [f64; 4] = [80.0, 14.0, 740.0, 290.0];
/// How many colours the page has.
const COLOURS: usize = 6;
/// Where a scale of percentiles ends unless the lines say more.
const LAST_PERCENTILE: f64 = 99.0;

/// Horizontal bars, with a line from one end of the spread to the other.
#[expect(clippy::cast_precision_loss, reason = "a count of characters")]
pub(super) fn bars(bars: &Bars) -> String {
    let cells = bars.groups.iter().flat_map(|group| &group.cells);
    let longest = cells
        .filter_map(|cell| cell.range().map(|(_, high)| high))
        .fold(0.0, f64::max);
    let longest_name = bars.groups.iter().map(|group| group.name.chars().count()).max();
    let [least, most, each] = NAMES;
    let left = (longest_name.unwrap_or(0) as f64 * each).clamp(least, most);
    let length = |value: f64| {
        if longest > 0.0 {
            value.max(0.0) / longest * (WIDTH - left - FIGURES)
        } else {
            0.0
        }
    };
    let (mut y, mut body) = (0.0, String::new());
    for group in &bars.groups {
        let _ = write!(
            body,
            r#"<text class="name" x="{:.1}" y="{:.1}">{}</text>"#,
            left - 8.0,
            y + BAR * 0.78,
            escape(&group.name)
        );
        for (series, cell) in group.cells.iter().enumerate() {
            let (Some(value), Some((low, high))) = (cell.value(), cell.range()) else {
                continue;
            };
            let _ = write!(
                body,
                r#"<rect class="c{}" x="{left:.1}" y="{y:.1}" width="{:.1}" height="{:.1}"><title>{}</title></rect>"#,
                series % COLOURS,
                length(value),
                BAR - 2.0,
                escape(&format!(
                    "{}, {}: {cell} {}",
                    group.name, bars.series[series], bars.unit
                ))
            );
            let middle = y + BAR / 2.0 - 1.0;
            let (from, to) = (left + length(low), left + length(high));
            let _ = write!(
                body,
                r#"<path class="spread" d="M{from:.1} {middle:.1}H{to:.1}"/><text x="{:.1}" y="{:.1}">{} {}</text>"#,
                left + length(high) + 6.0,
                y + BAR * 0.78,
                number(value),
                escape(&bars.unit)
            );
            y += BAR;
        }
        y += GAP;
    }
    let picture = picture(y, &body);
    let names = bars.series.iter().map(String::as_str);
    format!("{picture}{}", legend(names))
}

/// Lines with their axes.
pub(super) fn plot(plot: &Plot) -> String {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let (Some(x), Some(y)) = (
        Span::of(&plot.x, points().map(|(x, _)| *x)),
        Span::of(&plot.y, points().map(|(_, y)| *y)),
    ) else {
        return String::new();
    };
    let [left, top, right, bottom] = AREA;
    let across = |value: f64| left + x.share(value) * (right - left);
    let up = |value: f64| bottom - y.share(value) * (bottom - top);
    let mut body = String::new();
    for tick in x.ticks() {
        let at = across(tick);
        let _ = write!(
            body,
            r#"<path class="grid" d="M{at:.1} {top}V{bottom}"/><text class="x" x="{at:.1}" y="{:.1}">{}</text>"#,
            bottom + 16.0,
            label(plot.x.scale, tick)
        );
    }
    for tick in y.ticks() {
        let at = up(tick);
        let _ = write!(
            body,
            r#"<path class="grid" d="M{left} {at:.1}H{right}"/><text class="name" x="{:.1}" y="{:.1}">{}</text>"#,
            left - 6.0,
            at + 4.0,
            label(plot.y.scale, tick)
        );
    }
    let _ = write!(
        body,
        r#"<text class="x" x="{:.1}" y="{:.1}">{}</text><text x="2" y="{top}">{}</text>"#,
        f64::midpoint(left, right),
        bottom + 34.0,
        escape(&plot.x.title),
        escape(&plot.y.title)
    );
    for (index, line) in plot.lines.iter().enumerate() {
        let colour = index % COLOURS;
        let path: Vec<String> = line
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y)))
            .collect();
        let _ = write!(
            body,
            r#"<polyline class="l{colour}" points="{}"><title>{}</title></polyline>"#,
            path.join(" "),
            escape(&line.name)
        );
        // Few points were measured one by one; of many only the line is to be seen.
        let singles = if line.points.len() <= 20 {
            &line.points[..]
        } else {
            &[]
        };
        for (x, y) in singles {
            let _ = write!(
                body,
                r#"<circle class="c{colour}" cx="{:.1}" cy="{:.1}" r="3"><title>{}</title></circle>"#,
                across(*x),
                up(*y),
                escape(&format!("{}: {} at {}", line.name, number(*y), number(*x)))
            );
        }
    }
    let picture = picture(bottom + 40.0, &body);
    let names = plot.lines.iter().map(|line| line.name.as_str());
    format!("{picture}{}", legend(names))
}

fn picture(height: f64, body: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img">{body}</svg>"#)
}

fn legend<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::from(r#"<p class="legend">"#);
    for (index, name) in names.enumerate() {
        let _ = write!(
            text,
            r#"<span><i class="b{}"></i>{}</span>"#,
            index % COLOURS,
            escape(name)
        );
    }
    text + "</p>"
}

fn label(scale: Scale, tick: f64) -> String {
    if scale == Scale::Percentile {
        return format!("{tick}");
    }
    number(tick)
}

/// What an axis reaches over, in the measure of its scale.
struct Span {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Span {
    /// `None` without values that can be drawn.
    fn of(axis: &Axis, values: impl Iterator<Item = f64>) -> Option<Self> {
        let scale = axis.scale;
        let drawn = values.filter(|value| scale != Scale::Log || *value > 0.0);
        let (low, high) = drawn
            .map(|value| measure(scale, value))
            .fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            return None;
        }
        let (low, high) = match scale {
            Scale::Linear => (low.min(0.0), high.max(low + f64::EPSILON)),
            // Whole decades, at least one.
            Scale::Log => (low.floor(), high.ceil().max(low.floor() + 1.0)),
            Scale::Percentile => (0.0, high.max(measure(scale, LAST_PERCENTILE))),
        };
        Some(Self { scale, low, high })
    }

    /// Where a value is, 0..1.
    fn share(&self, value: f64) -> f64 {
        (measure(self.scale, value) - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> Vec<f64> {
        let inside = |tick: &f64| (-1e-9..=1.0 + 1e-9).contains(&self.share(*tick));
        match self.scale {
            Scale::Linear => {
                let step = step((self.high - self.low) / 6.0);
                (0..20)
                    .map(|count| (self.low / step).floor().mul_add(step, f64::from(count) * step))
                    .filter(inside)
                    .collect()
            }
            Scale::Log => (self.low as i32..=self.high as i32)
                .map(|power| 10_f64.powi(power))
                .collect(),
            Scale::Percentile => [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999]
                .into_iter()
                .filter(inside)
                .collect(),
        }
    }
}

fn measure(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Log => value.log10(),
        Scale::Percentile => -(1.0 - value.min(99.999_99) / 100.0).log10(),
    }
}

/// The next of 1, 2, 5, 10, 20, …
fn step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * decade);
    steps
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Cell, Line, Row};

    fn axis(scale: Scale) -> Axis {
        Axis {
            title: "a < b".to_owned(),
            scale,
        }
    }

    #[test]
    fn every_scale_reaches_from_edge_to_edge() {
        for (scale, values, ticks) in [
            (Scale::Linear, [0.0, 90.0], vec![0.0, 20.0, 40.0, 60.0, 80.0]),
            (Scale::Log, [3.0, 800.0], vec![1.0, 10.0, 100.0, 1000.0]),
            (Scale::Percentile, [0.0, 99.9], vec![0.0, 50.0, 90.0, 99.0, 99.9]),
        ] {
            let span = Span::of(&axis(scale), values.into_iter()).expect("there are values");
            assert_eq!(span.ticks(), ticks, "{scale:?}");
            assert!(span.share(values[0]) >= 0.0 && span.share(values[1]) <= 1.0 + 1e-9);
        }
    }

    #[test]
    fn nothing_to_draw_is_no_picture() {
        let line = Line {
            name: "zeroes have no logarithm".to_owned(),
            points: vec![(1.0, 0.0)],
        };
        let empty = Plot {
            title: String::new(),
            x: axis(Scale::Linear),
            y: axis(Scale::Log),
            lines: vec![line],
        };
        assert_eq!(plot(&empty), "");
    }

    #[test]
    fn bars_are_as_long_as_their_figures() {
        let row = |name: &str, value: f64| Row {
            name: name.to_owned(),
            cells: vec![Cell::from(value), Cell::Empty],
        };
        let picture = bars(&Bars {
            title: String::new(),
            unit: "ns".to_owned(),
            series: vec!["one & only".to_owned(), "other".to_owned()],
            groups: vec![row("a", 100.0), row("b", 50.0)],
        });
        assert!(picture.contains(r#"width="340.0""#) && picture.contains(r#"width="170.0""#));
        assert!(picture.contains("one &amp; only"), "names are escaped");
        assert_eq!(picture.matches("<rect").count(), 2, "what is empty has no bar");
    }
}
