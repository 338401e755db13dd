//! Failures as the real server reports them: `ClickHouse`'s code, its message, and the status that belongs to it.

/// `BAD_ARGUMENTS`: a request that makes no sense.
pub(crate) const BAD_ARGUMENTS: u32 = 36;
/// `NOT_IMPLEMENTED`: something the real server speaks and the front does not.
pub(crate) const NOT_IMPLEMENTED: u32 = 48;
/// `CANNOT_READ_ALL_DATA`: a body that ended before its time.
pub(crate) const CANNOT_READ_ALL_DATA: u32 = 33;
/// `UNKNOWN_EXCEPTION`: what the engine reports without a code.
const UNKNOWN_EXCEPTION: u32 = 1002;

/// A failed request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `ClickHouse`'s error code.
    pub(crate) code: u32,
    /// `Code: N. DB::Exception: …`
    pub(crate) message: String,
}

impl Failure {
    /// A failure that the front itself found, in the engine's words.
    pub(crate) fn new(code: u32, reason: &str) -> Self {
        Self { code, message: format!("Code: {code}. DB::Exception: {reason}") }
    }

    /// A failure that the engine reported; anything before `Code: N.` is left out, as the server has no such prefix.
    pub(crate) fn from_engine(message: &str) -> Self {
        let found = message.match_indices("Code: ").find_map(|(at, prefix)| {
            let text = &message[at..];
            let digits: String = text[prefix.len()..].chars().take_while(char::is_ascii_digit).collect();
            Some((digits.parse().ok()?, text))
        });
        match found {
            Some((code, text)) => Self { code, message: text.to_owned() },
            None => Self::new(UNKNOWN_EXCEPTION, message),
        }
    }

    /// The status with which the real server answers this code.
    pub(crate) fn status(&self) -> u16 {
        match self.code {
            // Malformed input: CANNOT_PARSE_*, SYNTAX_ERROR, TYPE_MISMATCH, BAD_ARGUMENTS and their like.
            6 | 26 | 27 | 36 | 38 | 41 | 53 | 62 | 69 | 72 | 117 | 120 | 130 | 131 | 167 | 168 => 400,
            // Unknown function, identifier, type, storage, table, aggregate function, format, query, database, setting.
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 => 404,
            159 => 408,
            NOT_IMPLEMENTED => 501,
            _ => 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[track_caller]
    fn check(engine: &str, code: u32, message: &str, status: u16) {
        let failure = Failure::from_engine(engine);
        assert_eq!(failure, Failure { code, message: message.to_owned() });
        assert_eq!(failure.status(), status);
    }

    #[test]
    fn codes_and_statuses() {
        let unknown = "Code: 60. DB::Exception: Unknown table expression identifier 'x'. (UNKNOWN_TABLE)";
        check(unknown, 60, unknown, 404);
        check(&format!("Error: {unknown}"), 60, unknown, 404);
        check("Code: 62. DB::Exception: Syntax error", 62, "Code: 62. DB::Exception: Syntax error", 400);
        check("Code: 241. DB::Exception: Memory", 241, "Code: 241. DB::Exception: Memory", 500);
        check("Code: x Code: 159. Timeout", 159, "Code: 159. Timeout", 408);
        check("out of luck", 1002, "Code: 1002. DB::Exception: out of luck", 500);
    }
}
