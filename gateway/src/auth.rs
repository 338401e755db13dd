//! Who is calling. Every route asks, but for those on [`OPEN_ROUTES`].

use accounting::api_key::ApiKey;
use http::{HeaderMap, header};

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;

/// Routes that need no key. Whatever is not here does.
pub(crate) const OPEN_ROUTES: [&str; 2] = ["/healthz", "/readyz"];

/// Who calls; nobody in particular on an open route. Else 401, or 403 where the key's time is over.
pub(crate) async fn caller(app: &App, path: &str, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    if OPEN_ROUTES.contains(&path) {
        return Ok(None);
    }
    authenticate(app, headers).await.map(Some)
}

/// The API key that a request presents, whoever's it may be.
pub(crate) fn presented(headers: &HeaderMap) -> Result<ApiKey, ApiError> {
    let header = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| ApiError::invalid_api_key("There is no API key. Send it as `Authorization: Bearer mh-sk-…`."))?;
    let key =
        header.to_str().ok().and_then(bearer).ok_or_else(|| {
            ApiError::invalid_api_key("The Authorization header is not of the form `Bearer mh-sk-…`.")
        })?;
    accounting::api_key::parse(key).ok_or_else(|| {
        ApiError::invalid_api_key("The API key is mistyped: it is not one that this service issues. Copy it again.")
    })
}

async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let hash = presented(headers)?.hash(app.key_pepper.expose().as_bytes());
    let unknown = || ApiError::invalid_api_key("The API key is unknown or was revoked. Issue a new one.");
    match app.accounts.find(hash).await {
        Ok(caller) => {
            let caller = caller.ok_or_else(unknown)?;
            caller.limits.as_ref().map_or(Ok(()), |key| key.is_live(app.context.now()))?;
            Ok(caller)
        }
        Err(error) => {
            tracing::warn!(%error, "a key could not be looked up");
            Err(ApiError::unavailable("The key can't be checked just now. Try again."))
        }
    }
}

/// The token of a `Bearer` header; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens() {
        let check = |header: &str, token: Option<&str>| assert_eq!(bearer(header), token, "{header:?}");
        check("Bearer mh-sk-x", Some("mh-sk-x"));
        check("bearer  mh-sk-x ", Some("mh-sk-x"));
        check("Basic mh-sk-x", None);
        check("Bearer", None);
        check("Bearer ", None);
        check("mh-sk-x", None);
    }
}
