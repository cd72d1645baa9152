//! Figures of both sides, side by side.

use serde::Serialize;

use crate::servers::Side;

/// One figure of one side.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Which work.
    pub row: String,
    /// Whose.
    pub side: Side,
    /// The value.
    pub value: f64,
    /// Its unit. Rates end in `/s`: more is better; of everything else less is better.
    pub unit: &'static str,
}

/// A list of figures in the order in which they were measured.
#[derive(Default, Serialize)]
pub struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure and shows it at once on stderr.
    pub fn add(&mut self, side: Side, row: &str, value: f64, unit: &'static str) {
        eprintln!("{side:?}: {row}: {} {unit}", number(value));
        self.figures.push(Figure {
            row: row.to_owned(),
            side,
            value,
            unit,
        });
    }

    /// A Markdown table: ours, theirs and how many times better ours is.
    pub fn table(&self) -> String {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for figure in &self.figures {
            if !rows.iter().any(|(row, _)| *row == figure.row) {
                rows.push((&figure.row, figure.unit));
            }
        }
        let value = |row: &str, side| {
            self.figures
                .iter()
                .find(|f| f.row == row && f.side == side)
                .map(|f| f.value)
        };
        let mut out =
            String::from("| work | unit | ours | official | ratio |\n|---|---|---:|---:|---:|\n");
        for (row, unit) in rows {
            let (ours, theirs) = (value(row, Side::Ours), value(row, Side::Theirs));
            let ratio = match (ours, theirs) {
                (Some(ours), Some(theirs)) if unit.ends_with("/s") => {
                    format!("{:.1}x", ours / theirs)
                }
                (Some(ours), Some(theirs)) => format!("{:.1}x", theirs / ours),
                _ => String::new(),
            };
            let show = |value: Option<f64>| value.map_or_else(String::new, number);
            out += &format!(
                "| {row} | {unit} | {} | {} | {ratio} |\n",
                show(ours),
                show(theirs)
            );
        }
        out
    }
}

/// Three significant digits, thousands apart.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.*}", if value < 10.0 { 2 } else { 1 });
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_both_directions() {
        let mut report = Report::default();
        report.add(Side::Theirs, "writes", 100.0, "1/s");
        report.add(Side::Ours, "writes", 1234.5, "1/s");
        report.add(Side::Theirs, "memory", 200.0, "MB");
        report.add(Side::Ours, "memory", 50.0, "MB");
        let table = report.table();
        assert!(
            table.contains("| writes | 1/s | 1,234 | 100 | 12.3x |"),
            "{table}"
        );
        assert!(
            table.contains("| memory | MB | 50.0 | 200 | 4.0x |"),
            "{table}"
        );
    }
}
