//! The ledger's store, of both adapters.

mod answers;
mod cache;
mod charges;
mod commit;
mod contacts;
mod events;
mod history;
mod invoices;
mod lease_commits;
mod lease_crowd;
mod lease_ends;
mod lease_repeats;
mod lease_resets;
mod leases;
mod quarantine;
mod reads;
mod renewals;
mod request_shares;
mod reset;
mod snapshot;
mod stage;
mod stalled;

/// Runs each of these tests against both adapters.
macro_rules! suite {
    ($($room:ident::$test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$room::$test(super::stage::Stage::sqlite().await).await;
            })*
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$room::$test(super::stage::Stage::postgres().await).await;
            })*
        }
    };
}

suite! {
    commit::the_position_moves_only_from_where_it_is,
    commit::a_commit_that_fails_leaves_nothing,
    commit::what_no_ledger_may_hold_is_refused,
    commit::of_concurrent_committers_exactly_one_wins,
    commit::an_event_id_posts_once_in_all_partitions,
    commit::a_record_that_cannot_post_is_kept_as_it_is,
    commit::emptied_lots_and_dropped_keys_are_gone,
    reads::amounts_are_exact_to_the_last_decimal,
    reads::a_statement_has_what_moved_money_page_by_page,
    reads::a_key_is_found_by_its_hash,
    reads::the_fate_of_an_event_is_known_once_it_is_applied,
    reads::amounts_are_told_record_by_record,
    reads::a_posted_event_is_known_with_its_place,
    renewals::what_is_over_is_due_until_it_is_renewed_or_ended,
    reads::nothing_asked_is_nothing_found,
    cache::a_sink_that_lost_its_partition_writes_nothing,
    cache::a_repeat_is_one_whatever_is_remembered,
    cache::an_id_used_again_for_another_fact_is_named,
    cache::a_repeat_of_another_partition_is_found,
    cache::what_was_decoded_ahead_is_used_for_those_bytes_only,
    cache::accounts_that_were_forgotten_are_loaded_again,
    contacts::one_account_gets_an_email,
    contacts::of_concurrent_claims_exactly_one_wins,
    contacts::everything_is_there_after_a_restart,
    answers::an_answer_is_claimed_held_kept_and_given_again,
    answers::a_claim_that_ran_out_is_taken_over_under_its_request,
    answers::a_claim_that_cost_nothing_is_forgotten,
    answers::an_account_s_answers_have_so_much_room,
    answers::of_concurrent_claims_of_an_answer_exactly_one_wins,
    answers::answers_are_swept_when_their_time_is_over,
    answers::any_history_of_claims_is_what_a_naive_reckoning_makes_of_it,
    invoices::an_invoice_is_there_with_its_number,
    invoices::what_is_open_is_what_no_invoice_covers,
    invoices::a_cut_is_where_a_naive_reader_makes_it,
    leases::a_message_is_answered_with_exact_amounts,
    leases::a_message_that_must_not_count_changes_nothing,
    leases::a_lease_that_spent_nothing_is_gone_when_it_is_closed,
    leases::a_lease_that_is_opened_too_late_takes_nothing_away,
    leases::no_statement_reserves_more_than_there_is,
    leases::gateways_are_told_with_what_they_reserve,
    lease_commits::what_posts_is_reserved_no_more,
    lease_commits::a_closed_lease_is_gone_when_all_of_it_posted,
    lease_commits::what_a_fact_takes_from_under_leases_is_short_until_it_is_made_up,
    lease_commits::no_funding_stops_a_commit,
    lease_commits::one_request_counts_on_its_own_lease_only,
    lease_ends::a_dead_runs_leases_end_when_the_log_is_folded_that_far,
    lease_ends::a_dead_runs_leases_end_at_once_where_it_is_folded_that_far,
    lease_ends::a_run_that_is_over_opens_no_lease,
    lease_repeats::a_second_charge_of_a_request_is_drawn_from_its_lease_once,
    lease_repeats::a_repeat_draws_no_more_than_its_lease_has,
    lease_resets::a_reset_keeps_leases_and_grants_nothing_before_it_is_folded_again,
    request_shares::shares_of_requests_never_exceed_the_limits,
    request_shares::a_message_that_must_not_count_changes_no_share,
    request_shares::shares_end_by_the_clock_and_outlast_a_reset,
    lease_resets::a_lease_that_ends_in_a_reset_is_gone_when_it_is_folded_that_far,
    charges::a_price_is_set_aside_until_its_event_posts,
    charges::a_price_that_is_not_charged_is_given_back,
    charges::no_price_is_set_aside_of_what_is_not_known,
    snapshot::nothing_that_is_committed_later_is_in_a_snapshot,
    snapshot::rows_come_in_parts_in_log_order,
    snapshot::sums_and_counts_are_of_everything,
    snapshot::rows_that_belong_to_nothing_are_told,
    reset::a_reset_keeps_contacts_and_the_log_gives_the_rest_again,
    quarantine::what_cannot_post_is_listed_page_by_page_with_where_it_posted_since,
    history::any_history_in_any_batches_is_what_the_fold_makes_of_it,
}
