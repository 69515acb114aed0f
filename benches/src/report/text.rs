//! A report on a terminal.

use std::fmt;

use super::{Report, Table};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.title)?;
        writeln!(f, "{}", self.machine)?;
        for missing in &self.missing {
            writeln!(f, "\nMISSING: {missing}")?;
        }
        for table in self.tables() {
            write!(f, "\n{table}")?;
        }
        if !self.goals.is_empty() {
            writeln!(f)?;
        }
        for goal in &self.goals {
            let state = if goal.is_met { "met   " } else { "MISSED" };
            writeln!(f, "{state}  {}: {}", goal.wanted, goal.measured)?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "- {note}"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![vec![self.title.clone()]];
        lines[0].extend(self.columns.iter().map(super::Column::heading));
        for row in &self.rows {
            let mut line = vec![row.name.clone()];
            line.extend(row.cells.iter().map(ToString::to_string));
            lines.push(line);
        }
        let widths: Vec<usize> = (0..=self.columns.len())
            .map(|column| {
                lines
                    .iter()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for line in &lines {
            write!(f, "{:<width$}", line[0], width = widths[0])?;
            for (text, width) in line.iter().zip(&widths).skip(1) {
                write!(f, "  {text:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        report::{Cell, Column, Table},
        statistics::Figure,
    };

    #[test]
    fn columns_are_aligned_whatever_is_in_them() {
        let mut table = Table::new("verdict", [Column::less("time", "ns"), Column::new("why", "")]);
        table.row("drop", [Figure::of([10.0, 30.0, 20.0]).into(), "a µ".into()]);
        table.row("pass, long", [Cell::from(f64::NAN)]);
        let expected = [
            "verdict         time, ns  why",
            "drop        20 (10 … 30)  a µ",
            "pass, long                   ",
        ];
        assert_eq!(table.to_string().lines().collect::<Vec<_>>(), expected);
    }
}
