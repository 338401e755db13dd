//! What a request asks for: the query, the rows that came with it, its format, its database and its settings.

use std::path::Path;

use tiny_http::Request;

use crate::errors::{BAD_ARGUMENTS, CANNOT_READ_ALL_DATA, Failure, NOT_IMPLEMENTED};
use crate::insert;

/// Parameters of the HTTP interface that mean nothing here: every answer is whole before it is sent, and everybody
/// may do everything.
const IGNORED: [&str; 9] = [
    "user",
    "password",
    "quota_key",
    "role",
    "query_id",
    "wait_end_of_query",
    "buffer_size",
    "stacktrace",
    "session_timeout",
];

/// One query, ready for the engine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// The query, without the rows of an insert.
    pub(crate) sql: Vec<u8>,
    /// The rows that follow an `INSERT … FORMAT …`.
    pub(crate) rows: Option<Vec<u8>>,
    /// The format of the answer where the query names none.
    pub(crate) format: String,
    database: Option<String>,
    settings: Vec<(String, String)>,
}

impl Query {
    /// Reads a request to its end.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names what the front does not speak, or a body that ended early: such an insert must not
    /// happen at all.
    pub(crate) fn read(request: &mut Request) -> Result<Self, Failure> {
        let multipart = request
            .headers()
            .iter()
            .any(|header| header.field.equiv("Content-Type") && header.value.as_str().starts_with("multipart/"));
        if multipart {
            return Err(not_spoken("query parameters in a multipart body (bind the values instead)"));
        }
        let length = request.body_length();
        let mut body = Vec::new();
        let cut = |reason: String| Failure::new(CANNOT_READ_ALL_DATA, &format!("the body was cut off: {reason}"));
        request.as_reader().read_to_end(&mut body).map_err(|error| cut(error.to_string()))?;
        if let Some(length) = length.filter(|length| *length != body.len()) {
            return Err(cut(format!("{} of {length} bytes", body.len())));
        }
        Self::parse(request.url(), body)
    }

    fn parse(url: &str, body: Vec<u8>) -> Result<Self, Failure> {
        let mut query = Self {
            sql: Vec::new(),
            rows: None,
            format: "TabSeparated".to_owned(),
            database: None,
            settings: Vec::new(),
        };
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        for (name, value) in form_urlencoded::parse(parameters.as_bytes()).into_owned() {
            match name.as_str() {
                "query" => query.sql = value.into_bytes(),
                "default_format" => query.format = value,
                "database" if value.is_empty() => {}
                "database" => query.database = Some(value),
                "compress" | "decompress" if value == "0" => {}
                "compress" | "decompress" => return Err(not_spoken("compression (use Compression::None)")),
                "session_id" | "session_check" | "close_session" => return Err(not_spoken("sessions")),
                ignored if IGNORED.contains(&ignored) => {}
                setting if is_identifier(setting) => query.settings.push((name, value)),
                other => return Err(Failure::new(BAD_ARGUMENTS, &format!("{other:?} cannot be a setting"))),
            }
        }
        query.take_body(body);
        Ok(query)
    }

    /// The body is the query, or goes on where the URL's query ends; what follows the format of an insert is rows.
    fn take_body(&mut self, mut body: Vec<u8>) {
        if self.sql.is_empty() {
            self.sql = body;
            if let Some(end) = insert::head(&self.sql) {
                let mut rows = self.sql.split_off(end);
                rows.remove(0);
                self.rows = Some(rows);
            }
        } else if insert::format(&self.sql).is_some() {
            self.rows = Some(body);
        } else {
            self.sql.push(b'\n');
            self.sql.append(&mut body);
        }
    }

    /// The statements that set up the session for this query.
    pub(crate) fn session(&self) -> Vec<String> {
        // The library's dialect reads any expression as a query; the server's does not.
        let settings = std::iter::once("implicit_select = 0".to_owned())
            .chain(self.settings.iter().map(|(name, value)| format!("{name} = {}", quote(value, '\''))));
        let set = format!("SET {}", settings.collect::<Vec<_>>().join(", "));
        let database = self.database.iter().map(|name| format!("USE {}", quote(name, '`')));
        std::iter::once(set).chain(database).collect()
    }

    /// The insert that reads its rows from `file`.
    ///
    /// Rows cannot follow the query's text as they do over HTTP: the library cuts them off at an empty line, and two
    /// bytes of a number can be one.
    pub(crate) fn insert_from(&self, file: &Path) -> Vec<u8> {
        let (before, format) = self.sql.split_at(insert::format(&self.sql).unwrap_or(self.sql.len()));
        let source = format!("FROM INFILE {} COMPRESSION 'none' ", quote(&file.to_string_lossy(), '\''));
        [before, source.as_bytes(), format].concat()
    }
}

fn not_spoken(what: &str) -> Failure {
    Failure::new(NOT_IMPLEMENTED, &format!("the tests' front of ClickHouse does not speak {what}"))
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn quote(text: &str, mark: char) -> String {
    let mut quoted = String::from(mark);
    for character in text.chars() {
        if character == mark || character == '\\' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push(mark);
    quoted
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Query;

    /// Where there are rows, `sql` is the insert of them from the file `f`.
    #[track_caller]
    fn check(url: &str, body: &[u8], sql: &str, rows: Option<&[u8]>, format: &str, session: &[&str]) {
        let query = Query::parse(url, body.to_vec()).expect("spoken");
        let text = if rows.is_some() { query.insert_from(Path::new("f")) } else { query.sql.clone() };
        assert_eq!(String::from_utf8_lossy(&text), sql);
        assert_eq!(query.rows.as_deref(), rows);
        assert_eq!(query.format, format);
        assert_eq!(query.session(), session);
    }

    #[test]
    fn what_is_asked_for() {
        let plain = &["SET implicit_select = 0"];
        check("/", b"SELECT 1", "SELECT 1", None, "TabSeparated", plain);
        check("/?query=SELECT", b"1", "SELECT\n1", None, "TabSeparated", plain);
        check("/?default_format=RowBinary&database=", b"SELECT 1", "SELECT 1", None, "RowBinary", plain);
        check(
            "/?database=a%60b&query=INSERT+INTO+t(i)+FORMAT+RowBinary&max_threads=2&wait_end_of_query=1",
            b"\n\n\xff",
            "INSERT INTO t(i) FROM INFILE 'f' COMPRESSION 'none' FORMAT RowBinary",
            Some(b"\n\n\xff"),
            "TabSeparated",
            &["SET implicit_select = 0, max_threads = '2'", r"USE `a\`b`"],
        );
        check(
            "/?query_id=7&decompress=0",
            b"INSERT INTO t FORMAT RowBinary\n\n\n",
            "INSERT INTO t FROM INFILE 'f' COMPRESSION 'none' FORMAT RowBinary",
            Some(b"\n\n"),
            "TabSeparated",
            plain,
        );
        check(
            "/?insert_deduplication_token=it%27s%5C",
            b"",
            "",
            None,
            "TabSeparated",
            &[r"SET implicit_select = 0, insert_deduplication_token = 'it\'s\\'"],
        );
    }

    #[test]
    fn what_is_refused() {
        for (url, code) in [
            ("/?compress=1", 48),
            ("/?decompress=1", 48),
            ("/?session_id=x", 48),
            ("/?a%20b=1", 36),
            ("/?1a=1", 36),
            ("/?=1", 36),
        ] {
            let failure = Query::parse(url, Vec::new()).expect_err("refused");
            assert_eq!(failure.code, code, "{url}");
        }
    }
}
