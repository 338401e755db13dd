//! The event log: what the rest of the system builds on, of both adapters.

#![cfg(test)]

mod append;
mod kafka;
mod read;
mod run;
mod sink;
mod stage;

/// Runs each of these tests against both adapters.
macro_rules! suite {
    ($($room:ident::$test:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$room::$test(super::stage::Stage::embedded()).await;
            })*
        }

        mod on_kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$room::$test(super::stage::Stage::kafka().await).await;
            })*
        }
    };
}

suite! {
    append::offsets_follow_each_other_in_the_partition_of_the_key,
    append::concurrent_appends_are_all_there_once,
    append::any_bytes_pass_through,
    append::a_record_that_is_too_large_is_refused_and_the_largest_is_not,
    read::a_batch_keeps_its_bounds_and_has_at_least_one_record,
    read::at_the_end_there_is_nothing_and_no_wait,
    read::a_position_that_the_log_does_not_have_is_named,
    read::partitions_are_read_in_whatever_order_and_at_once,
    run::delivers_everything_once_in_order_and_waits_for_more,
    run::goes_on_where_the_sink_is,
    run::starts_over_with_an_empty_sink,
    run::what_another_process_appends_is_run_too,
    run::a_moved_position_is_read_again,
    run::a_sink_that_is_away_skips_nothing,
    run::a_sink_without_a_position_holds_up_one_partition_only,
    run::members_of_a_group_apply_each_record_once,
    run::a_member_that_is_dropped_leaves_its_partitions_to_the_others,
    run::stops_at_once_but_never_within_an_apply,
    run::a_position_beyond_the_log_ends_the_run,
}
