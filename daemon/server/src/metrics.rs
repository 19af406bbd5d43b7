//! What can be watched from outside: Prometheus metrics at `GET /metrics`, off unless `metrics.listen` is set.
//!
//! Counters and histograms are recorded where things happen, through the `metrics` facade, by handles that were looked up
//! once; what has a state is read from the engine when somebody asks for the page. Labels are of small fixed sets: rpcs,
//! codes, phases, reasons; never an intent, a name or an id that callers choose.
//!
//! `names` is the table of everything; `calls`, `connections` and `matches` record; `sample` reads the engine; `page` serves.

mod calls;
mod connections;
mod matches;
pub(crate) mod names;
mod page;
mod sample;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tonic::Code;

pub(crate) use self::calls::CallMeterLayer;
pub(crate) use self::connections::{OpenConnection, TlsMeters, connection_refused};
pub(crate) use self::matches::{MatchMeters, outcome_name};
pub(crate) use self::page::serve;

/// Records for this process from now on. Handles that were made earlier record nothing.
///
/// # Errors
/// When this process records already.
pub(crate) fn start() -> anyhow::Result<PrometheusHandle> {
    let recorder = builder()?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| anyhow::anyhow!("metrics: {error}"))?;
    names::describe();
    metrics::gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn builder() -> anyhow::Result<PrometheusBuilder> {
    names::BUCKETS.iter().try_fold(PrometheusBuilder::new(), |builder, &(name, bounds)| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds).context("a histogram has no buckets")
    })
}

/// Counts an error that goes out to a caller, of a whole call or of one item of it.
pub(crate) fn count_error(code: Code, reason: &'static str) {
    metrics::counter!(names::ERRORS, "code" => code_name(code), "reason" => reason).increment(1);
}

/// The name of a code as the gRPC specification writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
