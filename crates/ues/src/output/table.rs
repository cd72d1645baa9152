//! Columns of text.

use std::io::Write;

use super::{FAINT, STRONG};

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Control characters are shown escaped, so that no stored text can drive the terminal.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows
            .push(cells.into_iter().map(|c| printable(&c.into())).collect());
    }

    /// Writes it; `empty` instead when there are no rows.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write(&self, out: &mut dyn Write, empty: &str) -> std::io::Result<()> {
        if self.rows.is_empty() {
            return writeln!(out, "{FAINT}{empty}{FAINT:#}");
        }
        let width = |column: usize, heading: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|c| c.chars().count())
                .max()
                .unwrap_or(0)
                .max(heading.len())
        };
        let widths: Vec<usize> = self
            .headings
            .iter()
            .enumerate()
            .map(|(i, h)| width(i, h))
            .collect();
        let headings: Vec<String> = self.headings.iter().map(|h| h.to_uppercase()).collect();
        writeln!(out, "{STRONG}{}{STRONG:#}", line(&headings, &widths))?;
        for row in &self.rows {
            writeln!(out, "{}", line(row, &widths))?;
        }
        Ok(())
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    padded.join("  ").trim_end().to_owned()
}

/// The text with its control characters escaped.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_controls_are_escaped() {
        let mut table = Table::new(&["name", "n"]);
        table.row(["a\u{1b}[31m", "1"]);
        table.row(["bb", "22"]);
        let mut out = Vec::new();
        table.write(&mut out, "none").unwrap();
        let text = anstream::adapter::strip_str(std::str::from_utf8(&out).unwrap()).to_string();
        assert_eq!(text, "NAME         N\na\\u{1b}[31m  1\nbb           22\n");
    }
}
