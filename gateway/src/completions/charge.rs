//! What is charged for each ending: the outcome policy. `docs/OUTCOMES.md` publishes it, case by case.

use schemas::TokenCounts;
use schemas::event::{Accuracy, Outcome};

use crate::meter::Ending;

/// An answer that the upstream measured itself. Beyond what was held it counts as cut there: a client never pays more.
pub(crate) fn measured(tokens: TokenCounts, held: TokenCounts) -> Ending {
    let charged = tokens.within(&held);
    let outcome = if charged == tokens { Outcome::Completed } else { Outcome::Cut };
    Ending { outcome, accuracy: Accuracy::Measured, tokens: charged }
}

/// An answer, or as much of it as was delivered, by local count.
pub(crate) fn estimated(outcome: Outcome, prompt: u64, completion: u64, held: TokenCounts) -> Ending {
    let tokens = TokenCounts { prompt, completion, ..TokenCounts::default() }.within(&held);
    Ending { outcome, accuracy: Accuracy::Estimated, tokens }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_charged_beyond_the_hold() {
        let counts =
            |prompt, cached_prompt, completion, reasoning| TokenCounts { prompt, cached_prompt, completion, reasoning };
        let held = counts(10, 0, 5, 0);
        let check = |tokens: TokenCounts, outcome, expected: TokenCounts| {
            let ending = measured(tokens, held);
            assert_eq!((ending.outcome, ending.accuracy, ending.tokens), (outcome, Accuracy::Measured, expected));
        };
        check(counts(10, 10, 5, 5), Outcome::Completed, counts(10, 10, 5, 5));
        check(counts(11, 4, 5, 0), Outcome::Cut, counts(10, 4, 5, 0));
        check(counts(10, 0, 6, 6), Outcome::Cut, counts(10, 0, 5, 5));
        check(counts(99, 99, 99, 99), Outcome::Cut, counts(10, 10, 5, 5));
        let ending = estimated(Outcome::ClientGone, 99, 99, held);
        assert_eq!((ending.outcome, ending.accuracy, ending.tokens), (Outcome::ClientGone, Accuracy::Estimated, held));
    }
}
