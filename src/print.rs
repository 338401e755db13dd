//! Tables and JSON, for people and programs at the command line.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("writing JSON")?;
    text.push('\n');
    out(&text)
}

pub(crate) fn rows(rows: &[&[&str]]) -> Result<()> {
    table(&rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect::<Vec<_>>())
}

/// What a terminal shows and does not obey: control characters, and those that turn the direction of text around, are
/// written as `\u{1b}`. Ends of lines are left where `lines` says so.
pub(crate) fn plain(text: &str, lines: bool) -> String {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) && !(lines && c == '\n') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Columns as wide as their widest cell, two spaces apart.
pub(crate) fn table(rows: &[Vec<String>]) -> Result<()> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell, false)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    out(&text)
}

pub(crate) fn out(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing() {
        let check = |text: &str, lines: bool, expected: &str| assert_eq!(plain(text, lines), expected, "{text:?}");
        check("plain – äöü 💶 text", false, "plain – äöü 💶 text");
        check("\u{1b}[2J\u{7}", false, "\\u{1b}[2J\\u{7}");
        check("\u{9b}31m\r\t", true, "\\u{9b}31m\\u{d}\\u{9}");
        check("one\ntwo", true, "one\ntwo");
        check("one\ntwo", false, "one\\u{a}two");
        check("abc\u{202e}cba", false, "abc\\u{202e}cba");
    }
}
