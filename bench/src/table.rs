//! What is written out: the table on standard output, progress on standard error.

use std::io::{self, Write as _};

/// A line of progress.
pub(crate) fn note(line: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{line}")
}

/// Rows of texts, the first one the heading, in columns: the first to the left, all others to the right.
pub(crate) fn print(rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = io::stdout().lock();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    out.flush()
}

/// A number without decimals, as a table shows it.
pub(crate) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

/// How many a second.
pub(crate) fn rate(count: u64, seconds: f64) -> f64 {
    number(count) / seconds
}

/// A count, for a quotient on the screen.
#[expect(clippy::cast_precision_loss, reason = "for the screen")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}
