//! The figures of an earlier run beside those of this one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::report::{Better, Cell, Column, Report, Row, Table};

/// Where a report is stored in a folder.
pub(crate) fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

/// Adds to a report how its figures compare with those of an earlier one, if that is in the folder.
///
/// # Errors
/// If the earlier report cannot be read.
pub(crate) fn compare(report: Report, folder: &Path) -> Result<Report> {
    let path = file(folder, &report.name);
    if !path.is_file() {
        let missing = format!("{}, the earlier run to compare with", path.display());
        return Ok(report.missing(missing));
    }
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let earlier: Report = serde_json::from_str(&text).with_context(|| {
        format!(
            "reading {} (fix: store the earlier run anew, with this version)",
            path.display()
        )
    })?;
    Ok(with_changes(report, &earlier))
}

fn with_changes(report: Report, earlier: &Report) -> Report {
    let mut table = Table::new(
        "beside the earlier run",
        [
            Column::new("then", ""),
            Column::new("now", ""),
            Column::new("now / then", ""),
            Column::new("", ""),
        ],
    );
    for now in report.tables() {
        let Some(then) = earlier.tables().find(|then| then.title == now.title) else {
            continue;
        };
        for row in &now.rows {
            let Some(old) = then.rows.iter().find(|old| old.name == row.name) else {
                continue;
            };
            changes(&mut table, now, row, then, old);
        }
    }
    let is_same_machine =
        (&report.machine.cpu, &report.machine.kernel) == (&earlier.machine.cpu, &earlier.machine.kernel);
    let report = report.with(table);
    if is_same_machine {
        return report;
    }
    let note = format!("the earlier run was on another machine: {}", earlier.machine);
    report.note(note)
}

fn changes(table: &mut Table, now: &Table, row: &Row, then: &Table, old: &Row) {
    for (column, cell) in now.columns.iter().zip(&row.cells) {
        let Some(better) = column.better else { continue };
        let place = then.columns.iter().position(|other| other.title == column.title);
        let Some(before) = place.and_then(|place| old.cells.get(place)) else {
            continue;
        };
        let (Some(value), Some(value_before)) = (cell.value(), before.value()) else {
            continue;
        };
        let name = format!("{}: {}, {}", now.title, row.name, column.title);
        let ratio = Cell::from(value / value_before);
        table.row(
            name,
            [
                before.clone(),
                cell.clone(),
                ratio,
                change(better, before, cell).into(),
            ],
        );
    }
}

/// A difference that the spreads of both runs cover is none.
fn change(better: Better, then: &Cell, now: &Cell) -> &'static str {
    let (Some((old_low, old_high)), Some((low, high))) = (then.range(), now.range()) else {
        return "";
    };
    match better {
        _ if low <= old_high && old_low <= high => "within the spread",
        Better::Less if high < old_low => "better",
        Better::More if low > old_high => "better",
        _ => "WORSE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Figure;

    fn report(values: [f64; 3], unrelated: &str) -> Report {
        let mut table = Table::new(
            "verdict",
            [Column::less("time", "ns"), Column::new("packets", "")],
        );
        table.row("drop", [Figure::of(values).into(), 5.0.into()]);
        table.row(unrelated, [1.0.into()]);
        Report::new("xdp", "").with(table)
    }

    #[test]
    fn only_what_both_have_and_what_the_spreads_do_not_cover() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let earlier = report([10.0, 11.0, 12.0], "gone");
        fs::write(file(folder.path(), "xdp"), serde_json::to_string(&earlier)?)?;
        for (values, verdict) in [
            ([11.0, 12.0, 14.0], "within the spread"),
            ([13.0, 14.0, 15.0], "WORSE"),
            ([7.0, 8.0, 9.0], "better"),
        ] {
            let compared = compare(report(values, "new"), folder.path())?;
            let changes = compared.tables().last().context("a table")?;
            assert_eq!(changes.rows.len(), 1, "{changes}");
            assert_eq!(changes.rows[0].name, "verdict: drop, time");
            assert_eq!(changes.rows[0].cells[3], Cell::from(verdict));
        }
        Ok(())
    }

    #[test]
    fn a_run_that_is_not_there_is_said() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let compared = compare(report([1.0; 3], "new"), folder.path())?;
        assert!(compared.missing[0].contains("xdp.json"));
        Ok(())
    }
}
