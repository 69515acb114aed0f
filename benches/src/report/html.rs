//! Reports as one page that needs nothing else.

use std::fmt::Write as _;

use super::{Part, Report, Table, svg};

const STYLE: &str = include_str!("page.css");

/// A page of these reports.
pub(crate) fn page(reports: &[Report]) -> String {
    let mut body = String::new();
    for report in reports {
        section(&mut body, report);
    }
    let links: String = reports
        .iter()
        .map(|report| format!(r##"<a href="#{0}">{0}</a> "##, escape(&report.name)))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Portcullis: benchmarks</title><style>{STYLE}</style></head>\n\
         <body><h1>Portcullis: benchmarks</h1><nav>{links}</nav>\n{body}</body></html>\n"
    )
}

fn section(body: &mut String, report: &Report) {
    let _ = writeln!(
        body,
        r#"<section id="{0}"><h2>{0}</h2><p>{1}</p><p class="machine">{2}</p>"#,
        escape(&report.name),
        escape(&report.title),
        escape(&report.machine.to_string())
    );
    for missing in &report.missing {
        let _ = writeln!(body, r#"<p class="missing">Missing: {}</p>"#, escape(missing));
    }
    for goal in &report.goals {
        let (class, state) = if goal.is_met {
            ("met", "met")
        } else {
            ("missed", "missed")
        };
        let _ = writeln!(
            body,
            r#"<p class="goal {class}"><b>{state}</b> {}: {}</p>"#,
            escape(&goal.wanted),
            escape(&goal.measured)
        );
    }
    for part in &report.parts {
        match part {
            Part::Table(table) => write_table(body, table),
            Part::Bars(bars) => figure(body, &bars.title, &svg::bars(bars)),
            Part::Plot(plot) => figure(body, &plot.title, &svg::plot(plot)),
        }
    }
    if !report.notes.is_empty() {
        let notes = report
            .notes
            .iter()
            .map(|note| format!("<li>{}</li>", escape(note)));
        let _ = writeln!(body, "<ul>{}</ul>", notes.collect::<String>());
    }
    let _ = writeln!(body, "</section>");
}

fn figure(body: &mut String, title: &str, picture: &str) {
    let _ = writeln!(
        body,
        "<figure><figcaption>{}</figcaption>{picture}</figure>",
        escape(title)
    );
}

fn write_table(body: &mut String, table: &Table) {
    let _ = write!(
        body,
        r#"<div class="table"><table><thead><tr><th>{}</th>"#,
        escape(&table.title)
    );
    for column in &table.columns {
        let _ = write!(body, "<th>{}</th>", escape(&column.heading()));
    }
    let _ = write!(body, "</tr></thead><tbody>");
    for row in &table.rows {
        let _ = write!(body, "<tr><th>{}</th>", escape(&row.name));
        for cell in &row.cells {
            let _ = write!(body, "<td>{}</td>", escape(&cell.to_string()));
        }
        let _ = write!(body, "</tr>");
    }
    let _ = writeln!(body, "</tbody></table></div>");
}

/// Text as it may stand anywhere in a page.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::report::{Column, Plot};

    #[test]
    fn a_page_has_everything_and_asks_for_nothing() {
        let mut times = Histogram::<u64>::new(3).expect("three digits");
        (1..1000).for_each(|time| times.record(time).expect("it grows"));
        let mut table = Table::new("verdict <b>", [Column::less("time", "ns")]);
        table.row("drop", [7.5.into()]);
        let report = Report::new("xdp", "a title")
            .with(table.bars("ns"))
            .with(table)
            .with(Plot::percentiles("times", "µs", 1e-3, [("ours", &times)]))
            .goal("less than 8 ns", "7.5", true)
            .missing("a peer")
            .note("a note");
        let page = page(&[report]);
        for part in [
            "verdict &lt;b&gt;",
            "7.50",
            "<polyline",
            "<rect",
            "less than 8 ns",
            "Missing: a peer",
            "a note",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for request in ["http:", "https:", "src=", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(request), "{request}");
        }
        assert!(
            !page.contains("NaN") && !page.contains("inf"),
            "every place is a number"
        );
    }
}
