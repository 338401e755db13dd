//! The output that a request may have, counted while it comes.
//!
//! A token is a byte at least, so while there are no more bytes than tokens allowed nothing is counted: that is every
//! request but the longest. Beyond it a tokenizer counts, and what it has counted is not counted again.

use std::collections::BTreeMap;

use super::output::Place;
use crate::tokens;

/// The most bytes of a text that are counted more than once.
const MAX_OPEN_BYTES: usize = 4_096;

/// What of a request's output is allowed, and what of that has come.
#[derive(Debug)]
pub(crate) struct Allowance {
    /// In tokens, of all texts together.
    limit: u64,
    /// An upper bound of the tokens that came: as they were counted last, and all bytes since.
    bound: u64,
    /// Tokens that were counted for good.
    settled: u64,
    /// Bytes that came.
    bytes: u64,
    /// The rest of each text, which later pieces may still join.
    open: BTreeMap<Place, String>,
}

impl Allowance {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, bound: 0, settled: 0, bytes: 0, open: BTreeMap::new() }
    }

    /// Whether anything came.
    pub(crate) fn is_untouched(&self) -> bool {
        self.bound == 0
    }

    /// How many bytes came.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The tokens that came, by local count.
    pub(crate) fn tokens(&self) -> u64 {
        self.settled + self.open.values().map(|text| tokens::count(text)).sum::<u64>()
    }

    /// Takes a piece of output; returns how many bytes of it are allowed.
    pub(crate) fn take(&mut self, place: Place, piece: &str) -> usize {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        self.bound = self.bound.saturating_add(piece.len() as u64);
        let text = self.open.entry(place).or_default();
        let before = text.len();
        text.push_str(piece);
        if self.bound <= self.limit {
            return piece.len();
        }
        let others: u64 =
            self.open.iter().filter(|(other, _)| **other != place).map(|(_, text)| tokens::count(text)).sum();
        let room = self.limit.saturating_sub(self.settled + others);
        let Some(text) = self.open.get_mut(&place) else { return 0 };
        if let Some(count) = tokens::count_up_to(text, room) {
            self.bound = self.settled + others + count;
            self.settled += settle(text);
            return piece.len();
        }
        let kept = tokens::prefix(text, room).len().max(before);
        text.truncate(kept);
        self.bound = self.limit;
        kept - before
    }
}

/// Takes from a text what no later piece can join, and counts it.
fn settle(text: &mut String) -> u64 {
    let end = match last_word(text) {
        end if text.len() - end <= MAX_OPEN_BYTES => end,
        // One word of thousands of bytes. Where it is divided it may count as one token more.
        _ => text.len(),
    };
    let count = tokens::count(&text[..end]);
    text.drain(..end);
    count
}

/// Where the last word begins, with the space before it. The tokenizer divides its text there, whatever follows: a space
/// after anything but white space always begins a piece of its own.
fn last_word(text: &str) -> usize {
    let begins = |at: &usize| text[..*at].chars().next_back().is_some_and(|before| !before.is_whitespace());
    text.rmatch_indices(' ').map(|(at, _)| at).find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::completions::output::Channel;

    const CONTENT: Place = (0, Channel::Content);

    #[test]
    fn output_is_taken_up_to_the_limit() {
        let check = |limit: u64, pieces: &[&str], expected: &str, tokens: u64| {
            let mut allowance = Allowance::new(limit);
            let kept: String = pieces.iter().map(|piece| &piece[..allowance.take(CONTENT, piece)]).collect();
            assert_eq!((kept.as_str(), allowance.tokens()), (expected, tokens), "{limit} of {pieces:?}");
        };
        check(8, &["hello wo"], "hello wo", 2);
        check(2, &["hello wo"], "hello wo", 2);
        check(1, &["hello wo"], "hello", 1);
        check(0, &["hello wo"], "", 0);
        check(3, &["one two", " three four", " five"], "one two three", 3);
        check(3, &["one", " two", " three", " four five"], "one two three", 3);
        // What was one token becomes part of another one.
        check(1, &["hel", "lo"], "hello", 1);
    }

    #[test]
    fn all_texts_share_one_limit() {
        let mut allowance = Allowance::new(3);
        let took = |allowance: &mut Allowance, place: Place, text: &str| allowance.take(place, text);
        assert_eq!(took(&mut allowance, (0, Channel::Content), "one two"), 7);
        assert_eq!(took(&mut allowance, (1, Channel::Content), "one two"), 3);
        assert_eq!(took(&mut allowance, (0, Channel::Reasoning), "one"), 0);
        assert_eq!(allowance.tokens(), 3);
    }

    proptest! {
        /// However a text is cut into pieces, it counts as if it had come in one, but for words beyond all measure.
        #[test]
        fn pieces_count_as_the_whole(
            pieces in prop::collection::vec("[a-c ,.'\n/今天ü]{1,12}", 0..40),
            limit in 0..60_u64,
        ) {
            let whole = pieces.concat();
            let mut allowance = Allowance::new(limit);
            let mut kept = String::new();
            for piece in &pieces {
                let fits = allowance.take(CONTENT, piece);
                kept.push_str(&piece[..fits]);
                if fits < piece.len() {
                    break;
                }
            }
            prop_assert!(whole.starts_with(&kept));
            prop_assert_eq!(allowance.tokens(), tokens::count(&kept));
            // Never cut before the limit: with one piece more it would be beyond it.
            if kept != whole {
                let mut came = String::new();
                for piece in &pieces {
                    came.push_str(piece);
                    if came.len() > kept.len() {
                        break;
                    }
                }
                prop_assert!(tokens::count(&came) > limit, "{kept:?} of {came:?} at {limit}");
            }
        }

        /// A text without a space is divided now and then, which may count a token more each time.
        #[test]
        fn endless_words_are_counted_nearly(repeat in 1..2_000_usize) {
            let piece = "\n\n\n\n\n\n\n\n";
            let (whole, bytes) = (tokens::count(&piece.repeat(repeat)), 8 * repeat);
            let mut allowance = Allowance::new(bytes as u64 / 2);
            for _ in 0..repeat {
                prop_assert_eq!(allowance.take(CONTENT, piece), piece.len());
            }
            let divided = (bytes / MAX_OPEN_BYTES) as u64;
            prop_assert!((whole..=whole + divided).contains(&allowance.tokens()));
        }
    }
}
