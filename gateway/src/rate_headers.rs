//! `x-ratelimit-*` on every answer to a request with a key, in the form that OpenAI's are in.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::Standing;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");

/// Adds what is left of the account's limit, as of the answer's head.
pub(crate) fn insert(headers: &mut HeaderMap, standing: Standing) {
    headers.insert(LIMIT, HeaderValue::from(standing.limit));
    headers.insert(REMAINING, HeaderValue::from(standing.remaining));
    if let Ok(reset) = HeaderValue::from_str(&format!("{}s", standing.reset_seconds)) {
        headers.insert(RESET, reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_those_that_sdks_know() {
        let mut headers = HeaderMap::new();
        insert(&mut headers, Standing { limit: 100, remaining: 7, reset_seconds: 42 });
        let text: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let expected = [
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-remaining-requests", "7"),
            ("x-ratelimit-reset-requests", "42s"),
        ];
        assert_eq!(text, expected);
    }
}
