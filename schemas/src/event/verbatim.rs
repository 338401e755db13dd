//! `usage.recorded` v2, read from a record that is, letter for letter, what this build writes: nearly all of a log.
//!
//! Such a record is fixed text with values between, so nothing has to be looked up. None for every other record, good or
//! bad, however little it differs: `envelope` and `codec` read those.

use std::str::FromStr;

use uuid::Uuid;

use super::{Accuracy, Event, EventData, Funding, Outcome, UsageRecordedV2};
use crate::text::digits;
use crate::usage::{Price, TokenCounts};
use crate::{AccountId, EventId, KeyId, LeaseId, RequestId};

/// Reads the record, where it is such a one.
pub(super) fn read(record: &[u8]) -> Option<Event> {
    let mut text = Text { rest: std::str::from_utf8(record).ok()? };
    text.skip(r#"{"specversion":"1.0","id":""#)?;
    let id = EventId(text.id()?);
    text.skip(r#"","source":""#)?;
    let source = text.free()?;
    text.skip(r#","type":"usage.recorded","subject":""#)?;
    let subject = AccountId(text.id()?);
    text.skip(r#"","time":""#)?;
    let time = text.quoted()?;
    text.skip(r#","datacontenttype":"application/json","dataschema":"urn:modelhub:schema:usage.recorded:v2","data":"#)?;
    let data = usage(&mut text)?;
    let event = Event { id, source, subject, time, data: EventData::UsageRecordedV2(Box::new(data)) };
    (text.rest == "}").then_some(event)
}

fn usage(text: &mut Text<'_>) -> Option<UsageRecordedV2> {
    text.skip(r#"{"request_id":""#)?;
    let request_id = RequestId(text.id()?);
    text.skip(r#"","key_id":""#)?;
    let key_id = KeyId(text.id()?);
    text.skip(r#"","model":""#)?;
    let model = text.free()?;
    text.skip(r#","upstream":""#)?;
    let upstream = text.free()?;
    text.skip(r#","stream":"#)?;
    let stream = text.boolean()?;
    text.skip(r#","outcome":""#)?;
    let outcome = text.one_of(&OUTCOMES, Outcome::as_str)?;
    text.skip(r#","accuracy":""#)?;
    let accuracy = text.one_of(&ACCURACIES, Accuracy::as_str)?;
    text.skip(r#","policy":"#)?;
    let policy = u32::try_from(text.number()?).ok()?;
    text.skip(r#","tokens":{"prompt":"#)?;
    let prompt = text.number()?;
    text.skip(r#","cached_prompt":"#)?;
    let cached_prompt = text.number()?;
    text.skip(r#","completion":"#)?;
    let completion = text.number()?;
    text.skip(r#","reasoning":"#)?;
    let reasoning = text.number()?;
    text.skip(r#"},"price":{"input":""#)?;
    let input = text.quoted()?;
    text.skip(r#","cached_input":""#)?;
    let cached_input = text.quoted()?;
    text.skip(r#","output":""#)?;
    let output = text.quoted()?;
    text.skip(r#"},"cost_usd":""#)?;
    let cost_usd = text.quoted()?;
    text.skip(r#","started_at":""#)?;
    let started_at = text.quoted()?;
    text.skip(r#","duration_ms":"#)?;
    let duration_ms = text.number()?;
    let lease_id = match text.skip(r#","lease_id":""#) {
        Some(()) => Some(LeaseId(text.id_until_quote()?)),
        None => None,
    };
    let funding = match text.skip(r#","funding":{"plan_tokens":"#) {
        Some(()) => Some(funding(text)?),
        None => None,
    };
    text.skip("}")?;
    Some(UsageRecordedV2 {
        request_id,
        key_id,
        model,
        upstream,
        stream,
        outcome,
        accuracy,
        policy,
        tokens: TokenCounts { prompt, cached_prompt, completion, reasoning },
        price: Price { input, cached_input, output },
        cost_usd,
        started_at,
        duration_ms,
        lease_id,
        funding,
    })
}

fn funding(text: &mut Text<'_>) -> Option<Funding> {
    let plan_tokens = text.number()?;
    text.skip(r#","credit_usd":""#)?;
    let credit_usd = text.quoted()?;
    text.skip("}")?;
    Some(Funding { plan_tokens, credit_usd })
}

const OUTCOMES: [Outcome; 4] = [Outcome::Completed, Outcome::ClientGone, Outcome::UpstreamFailed, Outcome::Cut];
const ACCURACIES: [Accuracy; 2] = [Accuracy::Measured, Accuracy::Estimated];

/// What is left to read.
struct Text<'a> {
    rest: &'a str,
}

impl<'a> Text<'a> {
    /// Goes past a fixed text; where it is not there, stays.
    fn skip(&mut self, fixed: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(fixed)?;
        Some(())
    }

    /// The next bytes, as many as an id has.
    fn id(&mut self) -> Option<Uuid> {
        let (id, rest) = self.rest.split_at_checked(uuid::fmt::Hyphenated::LENGTH)?;
        self.rest = rest;
        Uuid::try_parse(id).ok()
    }

    fn id_until_quote(&mut self) -> Option<Uuid> {
        let id = self.id()?;
        self.skip("\"")?;
        Some(id)
    }

    /// A text up to its quotation mark, which it goes past. None where it has what JSON escapes or forbids: the values' own
    /// parsers do not all mind that.
    fn until_quote(&mut self) -> Option<&'a str> {
        let end = self.rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '))?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.strip_prefix('"')?;
        Some(text)
    }

    /// A value whose JSON form is its text.
    fn quoted<T: FromStr>(&mut self) -> Option<T> {
        self.until_quote()?.parse().ok()
    }

    /// Any text.
    fn free(&mut self) -> Option<String> {
        self.until_quote().map(str::to_owned)
    }

    fn one_of<T: Copy>(&mut self, all: &[T], name: impl Fn(T) -> &'static str) -> Option<T> {
        let text = self.until_quote()?;
        all.iter().copied().find(|one| name(*one) == text)
    }

    fn boolean(&mut self) -> Option<bool> {
        self.skip("true").map(|()| true).or_else(|| self.skip("false").map(|()| false))
    }

    /// A whole number as JSON writes it, of at most 18 digits. What follows is for the next fixed text to refuse.
    fn number(&mut self) -> Option<u64> {
        let end = self.rest.bytes().position(|byte| !byte.is_ascii_digit())?;
        let (number, rest) = self.rest.split_at_checked(end)?;
        if number.len() > 1 && number.starts_with('0') {
            return None;
        }
        self.rest = rest;
        digits(number.as_bytes())?.try_into().ok()
    }
}

#[cfg(test)]
mod tests;
