//! Every metric's name, kind and help, and the buckets of the histograms. `docs/operations.md` has the same table.

use fitment_engine::{BATCH_SECONDS, BATCH_TEXTS, BATCH_TOKENS, NEAR_DUPLICATES, OVERLOAD_REFUSED};
use metrics::{describe_counter, describe_gauge, describe_histogram};

pub(super) const BUILD_INFO: &str = "fitment_build_info";
pub(super) const READY: &str = "fitment_ready";
pub(super) const REQUESTS: &str = "fitment_requests_total";
pub(super) const REQUEST_SECONDS: &str = "fitment_request_seconds";
pub(super) const REQUESTS_IN_FLIGHT: &str = "fitment_requests_in_flight";
pub(super) const CONNECTIONS: &str = "fitment_connections";
pub(super) const CONNECTIONS_REFUSED: &str = "fitment_connections_refused_total";
pub(super) const CONNECTIONS_ENDED: &str = "fitment_connections_ended_total";
pub(super) const TLS_RELOADS: &str = "fitment_tls_reloads_total";
pub(super) const TLS_RELOAD_FAILURES: &str = "fitment_tls_reload_failures_total";
pub(super) const TLS_EXPIRY: &str = "fitment_tls_certificate_expiry_timestamp_seconds";
pub(super) const ERRORS: &str = "fitment_errors_total";
pub(super) const MATCHES: &str = "fitment_matches_total";
pub(super) const MATCH_SECONDS: &str = "fitment_match_seconds";
pub(super) const PHASE_SECONDS: &str = "fitment_match_phase_seconds";
pub(super) const ENCODER_INFO: &str = "fitment_encoder_info";
pub(super) const QUEUE_JOBS: &str = "fitment_encoder_queue_jobs";
pub(super) const QUEUE_CAPACITY: &str = "fitment_encoder_queue_capacity_jobs";
pub(super) const QUEUE_TOKENS: &str = "fitment_encoder_queue_tokens";
pub(super) const QUEUE_TOKENS_CAPACITY: &str = "fitment_encoder_queue_capacity_tokens";
pub(super) const QUEUE_WAIT: &str = "fitment_encoder_estimated_wait_seconds";
pub(super) const ENCODER_RATE: &str = "fitment_encoder_tokens_per_second";
pub(super) const GATE_WAITING: &str = "fitment_computations_waiting";
pub(super) const GATE_CAPACITY: &str = "fitment_computations_waiting_capacity";
pub(super) const GATE_WAIT: &str = "fitment_computations_estimated_wait_seconds";
pub(super) const CACHE_HITS: &str = "fitment_vector_cache_hits_total";
pub(super) const CACHE_MISSES: &str = "fitment_vector_cache_misses_total";
pub(super) const CACHE_ENTRIES: &str = "fitment_vector_cache_entries";
pub(super) const CACHE_BYTES: &str = "fitment_vector_cache_bytes";
pub(super) const CACHE_CAPACITY: &str = "fitment_vector_cache_capacity_bytes";
pub(super) const REVISION: &str = "fitment_store_revision";
pub(super) const COMPONENTS: &str = "fitment_catalog_components";
pub(super) const VERSIONS: &str = "fitment_catalog_versions";
pub(super) const MATCHABLE: &str = "fitment_catalog_matchable_versions";
pub(super) const EXPIRING: &str = "fitment_catalog_expiring_versions";
pub(super) const FACETS: &str = "fitment_catalog_facets";
pub(super) const SEGMENTS: &str = "fitment_index_segments";
pub(super) const SEGMENT_ROWS: &str = "fitment_index_segment_rows";
pub(super) const HEAD_ROWS: &str = "fitment_index_head_rows";
pub(super) const TOMBSTONE_ROWS: &str = "fitment_index_tombstone_rows";
pub(super) const RECALL: &str = "fitment_index_recall_ratio";
pub(super) const SELF_RECALL: &str = "fitment_index_self_recall_ratio";
pub(super) const CALIBRATION: &str = "fitment_calibration_state";
pub(super) const PROMISED_ERROR: &str = "fitment_promise_max_error_ratio";
pub(super) const PROMISE_VERDICTS: &str = "fitment_promise_verdicts";
pub(super) const PROMISE_WRONG: &str = "fitment_promise_wrong_answers";
pub(super) const PROMISE_LOWER_BOUND: &str = "fitment_promise_error_lower_bound_ratio";
pub(super) const PROMISE_BROKEN: &str = "fitment_promise_broken";
pub(super) const DRIFT_PSI: &str = "fitment_drift_psi";
pub(super) const DRIFT_DISTANCE: &str = "fitment_drift_mean_vector_distance";
pub(super) const DRIFT_WINDOW: &str = "fitment_drift_window_decisions";
pub(super) const DECISIONS: &str = "fitment_decisions";
pub(super) const DECISIONS_LOST: &str = "fitment_decisions_lost_total";
pub(super) const GAPS: &str = "fitment_gaps";
pub(super) const GAPS_LINKED: &str = "fitment_gaps_linked";
pub(super) const GAP_INTENTS: &str = "fitment_gap_intents";
pub(super) const GAP_ASKED: &str = "fitment_gap_asked";
pub(super) const GAP_INTENTS_LOST: &str = "fitment_gap_intents_lost_total";
pub(super) const GAP_ANSWERS: &str = "fitment_gap_answers";
pub(super) const ZERO_SHARE: &str = "fitment_gap_zero_generation_ratio";
pub(crate) const ACCESS_RELOAD_FAILURES: &str = "fitment_access_reload_failures_total";
pub(crate) const TRACE_SPANS: &str = "fitment_trace_spans_total";
pub(crate) const TRACE_SPANS_LOST: &str = "fitment_trace_spans_lost_total";

/// Upper bounds of calls, in seconds: a match takes milliseconds, a fit minutes.
const CALL_BOUNDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];
/// Upper bounds of what lies within a match, in seconds.
const PHASE_BOUNDS: &[f64] =
    &[0.000_025, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Upper bounds of every histogram.
pub(super) const BUCKETS: &[(&str, &[f64])] = &[
    (REQUEST_SECONDS, CALL_BOUNDS),
    (MATCH_SECONDS, PHASE_BOUNDS),
    (PHASE_SECONDS, PHASE_BOUNDS),
    (BATCH_TEXTS, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]),
    (BATCH_TOKENS, &[8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0]),
    (BATCH_SECONDS, &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]),
];

/// Says of each metric what it is.
pub(super) fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(*name, *help);
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(*name, *help);
    }
}

const COUNTERS: &[(&str, &str)] = &[
    (REQUESTS, "Calls that ended, by rpc and gRPC code; CANCELLED: the caller left."),
    (ERRORS, "Errors sent to callers, of calls and of single items of a batch or stream, by gRPC code and reason."),
    (CONNECTIONS_REFUSED, "Connections that were not taken, by the limit that forbade it."),
    (CONNECTIONS_ENDED, "Connections that ended, by the reason."),
    (TLS_RELOADS, "Times that TLS certificates were read again."),
    (TLS_RELOAD_FAILURES, "Times that TLS certificates could not be read again, so that the ones from before stayed."),
    (MATCHES, "Answered intents, by outcome."),
    (
        OVERLOAD_REFUSED,
        "Work that was refused because it could not be done in time or had no room, by queue and cause.",
    ),
    (CACHE_HITS, "Texts whose vector was remembered."),
    (CACHE_MISSES, "Texts whose vector had to be made."),
    (
        DECISIONS_LOST,
        "Decisions that were lost before they were written, since they came faster than the disk takes them.",
    ),
    (NEAR_DUPLICATES, "Versions that were written though nearly the same as another component, or refused for it."),
    (GAP_INTENTS_LOST, "Unmet intents that were lost before they were kept."),
    (ACCESS_RELOAD_FAILURES, "Changed access documents that could not be used; what was read before stays in force."),
    (TRACE_SPANS, "Spans that were handed over to be written."),
    (TRACE_SPANS_LOST, "Spans that were lost, since they came faster than the disk takes them."),
];

const GAUGES: &[(&str, &str)] = &[
    (BUILD_INFO, "1; the build is in the labels."),
    (READY, "1 once intents are answered, 0 while the model and the index are loading."),
    (REQUESTS_IN_FLIGHT, "Calls that have begun and not ended."),
    (CONNECTIONS, "Connections that are open, by transport."),
    (TLS_EXPIRY, "Unix time at which the certificate expires, or the first of the client CA's."),
    (ENCODER_INFO, "1; the model and what computes it are in the labels."),
    (QUEUE_JOBS, "Jobs that wait for the encoder."),
    (QUEUE_CAPACITY, "Interactive jobs that may wait; more are refused."),
    (QUEUE_TOKENS, "Tokens of the interactive jobs that wait for the encoder."),
    (QUEUE_TOKENS_CAPACITY, "Tokens that may wait; more are refused."),
    (QUEUE_WAIT, "Seconds until what waits for the encoder now will be encoded, estimated."),
    (ENCODER_RATE, "Tokens a second of the encoder's latest passes; 0 before the first."),
    (GATE_WAITING, "Computations that wait for a thread: searches of matches, and others."),
    (GATE_CAPACITY, "Computations that may wait; more are refused."),
    (GATE_WAIT, "Seconds until the computations that wait now will have begun, estimated."),
    (CACHE_ENTRIES, "Vectors that are remembered."),
    (CACHE_BYTES, "Bytes of the remembered vectors and their texts, about."),
    (CACHE_CAPACITY, "Bytes that remembered vectors may take; 0: none are remembered."),
    (REVISION, "Commits of the store so far."),
    (COMPONENTS, "Components of which there is a version."),
    (VERSIONS, "Versions stored."),
    (MATCHABLE, "Versions that may answer."),
    (EXPIRING, "Versions that may answer and whose certification ends by the clock within so many days."),
    (FACETS, "Vectors of facets that can be found."),
    (SEGMENTS, "Sealed segments of the dense index."),
    (SEGMENT_ROWS, "Vectors in sealed segments, dead ones counted."),
    (HEAD_ROWS, "Vectors outside of sealed segments, dead ones counted: every search scans them."),
    (TOMBSTONE_ROWS, "Dead vectors that still take their place."),
    (RECALL, "recall@10 of the graph against exact search, for the latest intents; 1 while every search is exact."),
    (SELF_RECALL, "Part of its own vectors that the graph found after it was built; NaN before the first build."),
    (CALIBRATION, "1 for the state that the calibration is in, 0 for the others."),
    (PROMISED_ERROR, "Error rate that the calibration promises not to exceed; NaN without one."),
    (PROMISE_VERDICTS, "Promised answers that got a verdict."),
    (PROMISE_WRONG, "Promised answers that were reported wrong."),
    (PROMISE_LOWER_BOUND, "Lower bound on the error rate at the latest look; NaN before the first."),
    (PROMISE_BROKEN, "1 when verdicts have broken the promise."),
    (DRIFT_PSI, "Population stability index of the latest decisions; 0.1 is moderate, 0.25 strong; NaN for too few."),
    (
        DRIFT_DISTANCE,
        "1 - cosine between the mean intent vectors of the reference and of the latest decisions, 0 to 2.",
    ),
    (DRIFT_WINDOW, "Decisions that drift is computed over."),
    (DECISIONS, "Decisions that can be given an outcome."),
    (GAPS, "Gaps: groups of intents of like meaning that nothing met."),
    (GAPS_LINKED, "Gaps of which somebody said what closes them."),
    (GAP_INTENTS, "Distinct unmet intents that are kept."),
    (GAP_ASKED, "How often the unmet intents that are kept were asked."),
    (GAP_ANSWERS, "Answers within the days that gaps reach back, by outcome."),
    (ZERO_SHARE, "Share of zero generation among the answers within those days; NaN before the first."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    (REQUEST_SECONDS, "Seconds from a call's arrival to the end of its answer."),
    (MATCH_SECONDS, "Seconds of one answered intent within the engine."),
    (
        PHASE_SECONDS,
        "Seconds that one answered intent spent in a phase; a remembered intent spends none in queue and encode.",
    ),
    (BATCH_TEXTS, "Texts encoded in one batch."),
    (BATCH_TOKENS, "Tokens encoded in one batch, special ones counted."),
    (BATCH_SECONDS, "Seconds that a batch took to encode."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_described_once_and_written_down() {
        let manual = include_str!("../../../../docs/operations.md");
        let mut seen = BTreeSet::new();
        for (name, help) in [COUNTERS, GAUGES, HISTOGRAMS].concat() {
            assert!(seen.insert(name), "{name} is described twice");
            assert!(help.ends_with('.'), "{name}: {help}");
            assert!(manual.contains(&format!("`{name}`")), "{name} is missing in docs/operations.md");
        }
        assert!(COUNTERS.iter().all(|(name, _)| name.ends_with("_total")));
        let histograms: BTreeSet<_> = HISTOGRAMS.iter().map(|(name, _)| name).collect();
        assert_eq!(histograms, BUCKETS.iter().map(|(name, _)| name).collect());
        assert!(BUCKETS.iter().all(|(_, bounds)| bounds.is_sorted()));
    }
}
