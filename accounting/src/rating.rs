//! What tokens cost. Exact: a price has at most 6 decimals per 1,000,000 tokens, so a cost has at most 12.

use rust_decimal::Decimal;
use schemas::money::USD_SCALE;
use schemas::usage::{Price, TokenCounts};
use schemas::{UnitPrice, Usd};

/// The cost of `tokens` at `price`; `None` where the counts contradict each other or are beyond plausible
/// ([`TokenCounts::is_consistent`]).
///
/// (prompt − cached) × input + cached × cached input + completion × output, each per 1,000,000. Reasoning tokens are a
/// subset of the completion and cost nothing more.
pub fn cost(tokens: &TokenCounts, price: &Price) -> Option<Usd> {
    if !tokens.is_consistent() {
        return None;
    }
    // 10⁹ tokens at 9 × 10¹² each, three times: far below what 128 bits hold.
    let part = |tokens: u64, price: UnitPrice| i128::from(tokens) * i128::from(price.pico_per_token());
    let pico = part(tokens.prompt - tokens.cached_prompt, price.input)
        + part(tokens.cached_prompt, price.cached_input)
        + part(tokens.completion, price.output);
    Usd::from_decimal(Decimal::try_from_i128_with_scale(pico, USD_SCALE).ok()?).ok()
}

/// The list price of those of `tokens` that `plan_tokens` do not cover; `None` as in [`cost`], and where more are covered
/// than there are.
///
/// Plan tokens cover prompt tokens, then completion tokens, one for one. Of the prompt they cover the dearer tokens first
/// (as a rule those that were not cached), so what is left to pay is the least that this order allows.
pub fn overage(tokens: &TokenCounts, price: &Price, plan_tokens: u64) -> Option<Usd> {
    if plan_tokens == 0 || !tokens.is_consistent() {
        return cost(tokens, price);
    }
    let (dear, cheap) = (tokens.prompt - tokens.cached_prompt, tokens.cached_prompt);
    let (dear, cheap) = if price.input >= price.cached_input { (dear, cheap) } else { (cheap, dear) };
    let (dear, covered) = cover(dear, plan_tokens);
    let (cheap, covered) = cover(cheap, covered);
    let (completion, covered) = cover(tokens.completion, covered);
    if covered > 0 {
        return None;
    }
    let (fresh, cached) = if price.input >= price.cached_input { (dear, cheap) } else { (cheap, dear) };
    cost(&TokenCounts { prompt: fresh + cached, cached_prompt: cached, completion, reasoning: 0 }, price)
}

/// What is left of tokens, and of what covers them.
fn cover(tokens: u64, by: u64) -> (u64, u64) {
    (tokens.saturating_sub(by), by.saturating_sub(tokens))
}

fn part(tokens: u64, price: UnitPrice) -> Option<Decimal> {
    let per_token = price.as_decimal().checked_mul(Decimal::new(1, 6))?;
    per_token.checked_mul(Decimal::from(tokens))
}

/// The most output tokens that `budget` pays for at `price` after `prompt_tokens` uncached prompt tokens; `None` where
/// not even the prompt and one output token are affordable. Free output is bounded by `max_output_tokens` alone.
pub fn affordable_output(budget: Usd, prompt_tokens: u64, max_output_tokens: u64, price: &Price) -> Option<u64> {
    let prompt = part(prompt_tokens, price.input)?;
    let left = budget.as_decimal().checked_sub(prompt)?;
    if left.is_sign_negative() && !left.is_zero() {
        return None;
    }
    let per_token = price.output.as_decimal().checked_mul(Decimal::new(1, 6))?;
    if per_token.is_zero() {
        return Some(max_output_tokens);
    }
    let affordable = left.checked_div(per_token)?.trunc();
    let affordable = u64::try_from(affordable).unwrap_or(u64::MAX).min(max_output_tokens);
    (affordable > 0).then_some(affordable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(input: &str, cached_input: &str, output: &str) -> Price {
        Price {
            input: input.parse().unwrap(),
            cached_input: cached_input.parse().unwrap(),
            output: output.parse().unwrap(),
        }
    }

    #[test]
    fn costs_are_exact() {
        let flash = price("0.20", "0.02", "0.30");
        let finest = price("0.000001", "0.000001", "0.000001");
        let check = |price: &Price, prompt, cached_prompt, completion, reasoning, expected: Option<&str>| {
            let tokens = TokenCounts { prompt, cached_prompt, completion, reasoning };
            assert_eq!(cost(&tokens, price).map(|usd| usd.to_string()).as_deref(), expected, "{tokens:?} {price:?}");
        };
        check(&flash, 10, 0, 10, 0, Some("0.000005"));
        check(&flash, 10, 10, 10, 10, Some("0.0000032"));
        check(&flash, 0, 0, 0, 0, Some("0"));
        check(&flash, 1_000_000, 0, 1_000_000, 0, Some("0.5"));
        check(&flash, 10, 11, 0, 0, None);
        check(&flash, 0, 0, 10, 11, None);
        check(&flash, 1_000_000_001, 0, 0, 0, None);
        check(&flash, u64::MAX, 0, 0, 0, None);
        check(&finest, 1, 0, 0, 0, Some("0.000000000001"));
        check(&price("9000000", "9000000", "9000000"), 1_000_000_000, 0, 1_000_000_000, 0, Some("18000000000"));
    }

    #[test]
    fn output_is_clamped_to_what_is_affordable() {
        let flash = price("0.20", "0.02", "0.30");
        let check = |budget: &str, prompt, max, price: &Price, expected| {
            assert_eq!(affordable_output(budget.parse().unwrap(), prompt, max, price), expected, "{budget} {prompt}");
        };
        check("5", 10, 8192, &flash, Some(8192));
        check("0.000005", 10, 8192, &flash, Some(10));
        check("0.000004999999", 10, 8192, &flash, Some(9));
        check("0.0000023", 10, 8192, &flash, Some(1));
        check("0.0000022", 10, 8192, &flash, None);
        check("0.000001", 10, 8192, &flash, None);
        check("0", 0, 8192, &flash, None);
        check("-1", 0, 8192, &flash, None);
        check("0", 0, 8192, &price("0", "0", "0"), Some(8192));
    }

    #[test]
    fn plan_tokens_cover_the_prompt_then_the_completion() {
        let plain = price("1000000", "100000", "2000000");
        let odd = price("100000", "1000000", "2000000");
        let tokens = TokenCounts { prompt: 10, cached_prompt: 4, completion: 5, reasoning: 5 };
        let check = |price: &Price, plan_tokens, expected: Option<&str>| {
            let left = overage(&tokens, price, plan_tokens).map(|usd| usd.to_string());
            assert_eq!(left.as_deref(), expected, "{plan_tokens} {price:?}");
        };
        check(&plain, 0, Some("16.4"));
        check(&plain, 1, Some("15.4"));
        check(&plain, 6, Some("10.4"));
        check(&plain, 7, Some("10.3"));
        check(&plain, 10, Some("10"));
        check(&plain, 11, Some("8"));
        check(&plain, 15, Some("0"));
        check(&plain, 16, None);
        check(&odd, 0, Some("14.6"));
        check(&odd, 4, Some("10.6"));
        check(&odd, 5, Some("10.5"));
        check(&odd, 10, Some("10"));
        let broken = TokenCounts { prompt: 1, cached_prompt: 2, completion: 0, reasoning: 0 };
        assert_eq!((overage(&broken, &plain, 0), overage(&broken, &plain, 1)), (None, None));
        // Beyond plausible, though the plan covers all of it.
        for prompt in [1_000_000_001, u64::MAX] {
            let huge = TokenCounts { prompt, ..TokenCounts::default() };
            assert_eq!(overage(&huge, &plain, prompt), None);
        }
    }

    proptest! {
        /// Token by token, each one either covered or paid.
        #[test]
        fn overage_agrees_with_counting(
            input in 0_u64..10, cached in 0_u64..10, output in 0_u64..10,
            fresh in 0_u64..20, hits in 0_u64..20, completion in 0_u64..20, plan_tokens in 0_u64..70,
        ) {
            let mut prompt = [vec![input; usize::try_from(fresh).unwrap()], vec![cached; usize::try_from(hits).unwrap()]].concat();
            prompt.sort_unstable_by(|a, b| b.cmp(a));
            prompt.extend(vec![output; usize::try_from(completion).unwrap()]);
            let expected = prompt.get(usize::try_from(plan_tokens).unwrap()..).map(|paid| paid.iter().sum::<u64>());
            let micro = |units: u64| Decimal::new(i64::try_from(units).unwrap(), 6).to_string();
            let tokens = TokenCounts { prompt: fresh + hits, cached_prompt: hits, completion, reasoning: 0 };
            let left = overage(&tokens, &price(&micro(input), &micro(cached), &micro(output)), plan_tokens);
            prop_assert_eq!(left.map(|usd| u64::try_from(usd.to_pico().unwrap()).unwrap()), expected);
        }

        /// Against plain integers: prices in 10⁻⁶ USD per 10⁶ tokens are costs in 10⁻¹² USD per token.
        #[test]
        fn cost_agrees_with_integers(
            input in 0_u64..10_000_000, cached in 0_u64..10_000_000, output in 0_u64..10_000_000,
            prompt in 0_u64..1_000_000, share in 0_u64..=100, completion in 0_u64..1_000_000,
        ) {
            let micro = |units: u64| Decimal::new(i64::try_from(units).unwrap(), 6).to_string();
            let price = price(&micro(input), &micro(cached), &micro(output));
            let tokens = TokenCounts { prompt, cached_prompt: prompt * share / 100, completion, reasoning: 0 };
            let expected = (tokens.prompt - tokens.cached_prompt) * input + tokens.cached_prompt * cached + completion * output;
            prop_assert_eq!(cost(&tokens, &price).unwrap().to_pico(), Some(i64::try_from(expected).unwrap()));
        }

        /// What is affordable fits the budget, and one token more does not.
        #[test]
        fn affordable_output_is_the_most_that_fits(
            budget in 0_i64..100_000_000, prompt in 0_u64..1_000, input in 0_u64..10_000_000, output in 1_u64..10_000_000,
        ) {
            let micro = |units: u64| Decimal::new(i64::try_from(units).unwrap(), 6).to_string();
            let price = price(&micro(input), "0", &micro(output));
            let budget = Usd::from_pico(budget);
            let of = |completion| cost(&TokenCounts { prompt, completion, ..TokenCounts::default() }, &price).unwrap();
            match affordable_output(budget, prompt, 1_000_000, &price) {
                Some(most) => {
                    prop_assert!(of(most) <= budget);
                    prop_assert!(most == 1_000_000 || of(most + 1) > budget);
                }
                None => prop_assert!(of(1) > budget),
            }
        }
    }
}
