//! What is kept of an answer: its status and type in a first line, and then its body, byte for byte.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

const STREAM: &[u8] = b"text/event-stream";

/// An answer while it is made, or as it was made.
pub(super) struct Kept {
    status: StatusCode,
    content_type: HeaderValue,
    /// `None` once there was more than is kept.
    body: Option<Vec<u8>>,
    most: usize,
}

impl Kept {
    /// Begins with an answer's head. Of its body at most `most` bytes are kept.
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, most: usize) -> Self {
        let json = HeaderValue::from_static("application/json");
        let content_type = headers.get(header::CONTENT_TYPE).cloned().unwrap_or(json);
        Self { status, content_type, body: Some(Vec::new()), most }
    }

    /// Whether it comes in pieces.
    pub(super) fn is_stream(&self) -> bool {
        self.content_type.as_bytes().starts_with(STREAM)
    }

    /// Adds a piece of the body.
    pub(super) fn push(&mut self, piece: &[u8]) {
        match &mut self.body {
            Some(body) if body.len() + piece.len() <= self.most => body.extend_from_slice(piece),
            body => *body = None,
        }
    }

    /// Adds the whole body.
    pub(super) fn with(mut self, body: &[u8]) -> Self {
        self.push(body);
        self
    }

    /// The form in which it is kept; `None` where it is too large.
    pub(super) fn text(self) -> Option<Vec<u8>> {
        let body = self.body?;
        let mut text = format!("{} ", self.status.as_u16()).into_bytes();
        text.extend_from_slice(self.content_type.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(&body);
        Some(text)
    }

    /// Reads what [`Kept::text`] wrote.
    pub(super) fn read(mut text: Vec<u8>) -> Option<Self> {
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let body = text.split_off(end + 1);
        let space = text.iter().position(|byte| *byte == b' ')?;
        let status = StatusCode::from_bytes(text.get(..space)?).ok()?;
        let content_type = HeaderValue::from_bytes(text.get(space + 1..end)?).ok()?;
        Some(Self { status, content_type, most: body.len(), body: Some(body) })
    }

    /// The same answer again.
    pub(super) fn replay(self) -> Response {
        let stream = self.is_stream();
        let mut response = Response::new(Body::from(self.body.unwrap_or_default()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, self.content_type);
        if stream {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn answer(content_type: &'static str, most: usize) -> Kept {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Kept::new(StatusCode::OK, &headers, most)
    }

    #[tokio::test]
    async fn an_answer_comes_back_byte_for_byte() {
        let check = async |content_type: &'static str, pieces: &[&str]| {
            let mut kept = answer(content_type, 100);
            pieces.iter().for_each(|piece| kept.push(piece.as_bytes()));
            let text = kept.text().unwrap();
            assert_eq!(text, format!("200 {content_type}\n{}", pieces.concat()).into_bytes());
            let (parts, body) = Kept::read(text).unwrap().replay().into_parts();
            assert_eq!(
                (parts.status.as_u16(), parts.headers[header::CONTENT_TYPE].to_str().unwrap()),
                (200, content_type)
            );
            assert_eq!(
                parts.headers.contains_key(header::CACHE_CONTROL),
                content_type.starts_with("text/event-stream")
            );
            assert_eq!(body.collect().await.unwrap().to_bytes(), pieces.concat());
        };
        check("application/json", &["{\"a\" :1}\n \n"]).await;
        check("text/event-stream", &["data: 1\n\n", ": c\r\n", "", "data: [DONE]\n\n"]).await;
        check("application/json; charset=utf-8", &[]).await;
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let kept = |most: usize| answer("application/json", most).with(b"12345").text().map(|text| text.len());
        assert_eq!((kept(5), kept(4)), (Some(b"200 application/json\n12345".len()), None));
        let mut pieces = answer("text/event-stream", 5);
        pieces.push(b"12345");
        pieces.push(b"6");
        pieces.push(b"");
        assert_eq!(pieces.text(), None, "what is missing in the middle is not forgotten");
    }

    #[test]
    fn nonsense_is_not_read() {
        for text in ["", "200 a", "200\n", "x a\n", "2 a\n", "200 \u{1}\n"] {
            assert!(Kept::read(text.into()).is_none(), "{text:?}");
        }
    }
}
