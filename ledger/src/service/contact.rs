//! What a command's texts may be.

use schemas::api::Refusal;

/// The longest e-mail address that mail can be sent to (RFC 5321), in bytes.
const MAX_EMAIL_BYTES: usize = 254;

/// An e-mail address as it is kept: trimmed and in lower case, so that one mailbox is one contact.
///
/// Whether it exists is for whoever sends mail to find out: here it only has to look like one.
pub(super) fn email(text: &str) -> Result<String, Refusal> {
    let email = text.trim().to_lowercase();
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    let looks_like_one = email.len() <= MAX_EMAIL_BYTES
        && email.rsplit_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && user.chars().all(plain) && host.chars().all(plain) && is_host(host)
        });
    let detail = || "an e-mail address looks like name@example.com, in at most 254 bytes".to_owned();
    if looks_like_one { Ok(email) } else { Err(Refusal::Invalid { field: "email".into(), detail: detail() }) }
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.split('.').all(|label| !label.is_empty())
}

/// A text for people: trimmed, not empty, without control characters, of at most `max` characters.
pub(super) fn label(field: &str, text: &str, max: usize) -> Result<String, Refusal> {
    let text = text.trim();
    let detail = match text.chars().count() {
        0 => "is empty; give it some text".to_owned(),
        count if count > max => format!("has {count} characters; at most {max} are kept"),
        _ if text.chars().any(char::is_control) => "holds control characters; leave them out".to_owned(),
        _ => return Ok(text.to_owned()),
    };
    Err(Refusal::Invalid { field: field.into(), detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_folded_or_refused() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(email(text).ok().as_deref(), expected, "{text:?}");
        check("a@b.co", Some("a@b.co"));
        check(" Ann.Lee+x@Example.COM\n", Some("ann.lee+x@example.com"));
        check("root@localhost", Some("root@localhost"));
        check("", None);
        check("a", None);
        check("@b.co", None);
        check("a@", None);
        check("a@b..co", None);
        check("a@.co", None);
        check("a@b@c.co", None);
        check("a b@c.co", None);
        check("a\0@c.co", None);
        check("a@c\u{7}.co", None);
        check(&format!("{}@b.co", "a".repeat(249)), Some(&format!("{}@b.co", "a".repeat(249))));
        check(&format!("{}@b.co", "a".repeat(250)), None);
    }

    #[test]
    fn labels_are_trimmed_or_refused() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let refused = |refusal: Refusal| refusal.to_string();
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(label("name", text, 3).map_err(refused), expected, "{text:?}");
        };
        check(" abc ", Ok("abc"));
        check("äöü", Ok("äöü"));
        check(" ", Err("name: is empty; give it some text"));
        check("abcd", Err("name: has 4 characters; at most 3 are kept"));
        check("a\0b", Err("name: holds control characters; leave them out"));
    }
}
