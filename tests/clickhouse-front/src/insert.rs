//! The rows of an insert: where they begin in a request, and the file that hands them to the engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::errors::Failure;

/// Lines in which an insert's head is looked for. Without a limit, a long query would be read over and over.
const HEAD_LINES: usize = 64;

/// Where the word `FORMAT` stands that ends `sql`, if `sql` is an insert that ends with `FORMAT name`.
pub(crate) fn format(sql: &[u8]) -> Option<usize> {
    let insert = sql.trim_ascii_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"INSERT"));
    let (before, name) = split_last_word(sql.trim_ascii_end());
    let (rest, word) = split_last_word(before.trim_ascii_end());
    (insert && !name.is_empty() && word.eq_ignore_ascii_case(b"FORMAT")).then_some(rest.len())
}

/// Where the first line of `text` ends that ends an insert's head, `INSERT … FORMAT name`; rows follow it.
pub(crate) fn head(text: &[u8]) -> Option<usize> {
    let line_ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    line_ends.take(HEAD_LINES).find(|end| format(&text[..*end]).is_some())
}

fn split_last_word(text: &[u8]) -> (&[u8], &[u8]) {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.split_at(text.iter().rposition(|byte| !in_word(byte)).map_or(0, |last| last + 1))
}

/// A file with the rows of one insert, removed when the insert has run.
pub(crate) struct RowsFile {
    path: PathBuf,
}

impl RowsFile {
    /// Writes `rows` to a file of their own in `folder`.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn create(folder: &Path, rows: &[u8]) -> Result<Self, Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = folder.join(format!("insert-{}.rows", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = Self { path };
        fs::write(&file.path, rows)
            .map_err(|error| Failure::from_engine(&format!("cannot write {}: {error}", file.path.display())))?;
        Ok(file)
    }

    /// Where the rows are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RowsFile {
    fn drop(&mut self) {
        // A file that stays behind is overwritten by the next start's.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::{format, head};

    #[track_caller]
    fn check(text: &str, format_at: Option<usize>, head_ends: Option<usize>) {
        assert_eq!((format(text.as_bytes()), head(text.as_bytes())), (format_at, head_ends), "{text:?}");
    }

    #[test]
    fn where_rows_begin() {
        check("INSERT INTO t FORMAT RowBinary", Some(14), None);
        check(" insert into t(a)format  TSV\n", Some(17), Some(28));
        check("INSERT INTO t\nFORMAT TSV\n1\n\n2\n", None, Some(24));
        check("INSERT INTO t VALUES (1)", None, None);
        check("INSERT INTO t VALUES\n(1)\n", None, None);
        check("INSERT INTO t SELECT 1 FORMAT", None, None);
        check("SELECT 1 FORMAT TSV\n", None, None);
        check("", None, None);
    }
}
