//! The one table from engine errors to gRPC codes, with google.rpc details on every error.

use std::collections::HashMap;
use std::time::Duration;

use fitment_access::{Denied, Unauthenticated};
use fitment_engine::{EngineError, ErrorKind};
use fitment_proto::{ERROR_DOMAIN, v1};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt};

use crate::limits::Exceeded;
use crate::metrics::count_error;

/// Bytes of a message and of its details: all of it travels in headers, and clients take no more than 8 KiB of them.
const MAX_MESSAGE_BYTES: usize = 1536;
const MAX_VIOLATION_BYTES: usize = 1536;
const MAX_FIELD_BYTES: usize = 256;
const MAX_DESCRIPTION_BYTES: usize = 512;

/// The gRPC code of each kind of error.
pub(crate) fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Aborted => Code::Aborted,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DataLoss => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

/// An engine error as a status with its details.
pub(crate) fn status_of(error: &EngineError) -> Status {
    let (kind, reason) = error.classify();
    status_as(error, kind, reason)
}

/// The same for labelled intents that came over the wire: well formed and yet not enough to learn or to promise anything, they
/// fail on what they say, not on how the request was written.
pub(crate) fn refused(error: &EngineError) -> Status {
    match error {
        EngineError::Learning(_) => status_as(error, ErrorKind::FailedPrecondition, "NOTHING_LEARNT"),
        EngineError::Calibration(_) => status_as(error, ErrorKind::FailedPrecondition, "NOTHING_PROMISED"),
        other => status_of(other),
    }
}

fn status_as(error: &EngineError, kind: ErrorKind, reason: &'static str) -> Status {
    count_error(code_of(kind), reason);
    let message = short(&error.to_string(), MAX_MESSAGE_BYTES);
    let metadata: HashMap<String, String> =
        error.kept().map(|kept| ("kept".to_owned(), kept.as_str().to_owned())).into_iter().collect();
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    let mut room = MAX_VIOLATION_BYTES;
    let violations: Vec<FieldViolation> = error
        .violations()
        .into_iter()
        .map_while(|violation| {
            let field = short(&violation.field, MAX_FIELD_BYTES);
            let description = short(&violation.description, MAX_DESCRIPTION_BYTES);
            room = room.checked_sub(field.len() + description.len())?;
            Some(FieldViolation::new(field, description))
        })
        .collect();
    if !violations.is_empty() {
        details.set_bad_request(violations);
    }
    if let EngineError::Overloaded { retry_after, .. } | EngineError::RateLimited { retry_after, .. } = error {
        details.set_retry_info(Some(*retry_after));
    }
    if kind == ErrorKind::FailedPrecondition {
        details.set_precondition_failure(vec![PreconditionViolation::new(reason, "catalogue", message.clone())]);
    }
    if kind == ErrorKind::Internal {
        tracing::error!(%error, reason, "a request failed inside");
    }
    Status::with_error_details(code_of(kind), message, details)
}

/// A text as it travels: control characters but line feeds replaced, and cut where it would take more than `most` bytes of a
/// header, in which what is no ASCII takes three for each byte.
fn short(text: &str, most: usize) -> String {
    let mut short = String::new();
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        let c = if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
        taken += if c.is_ascii_graphic() || c == ' ' { 1 } else { 3 * c.len_utf8() };
        if taken > most {
            let left = text.len() - at;
            return format!("{short}... ({left} bytes more; mend these first, then ask again)");
        }
        short.push(c);
    }
    short
}

/// An engine error as the status of one item of a batch or a stream.
pub(crate) fn item_status_of(error: &EngineError) -> v1::ItemStatus {
    let (kind, reason) = error.classify();
    count_error(code_of(kind), reason);
    v1::ItemStatus {
        code: code_of(kind) as i32,
        message: error.to_string(),
        reason: reason.to_owned(),
        field_violations: error
            .violations()
            .into_iter()
            .map(|violation| v1::FieldViolation { field: violation.field, description: violation.description })
            .collect(),
    }
}

/// The answer to who asks for more than its limits allow.
pub(crate) fn limit_exceeded(exceeded: Exceeded) -> Status {
    let (reason, message, retry_after) = explain_limit(exceeded);
    count_error(Code::ResourceExhausted, reason);
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::<String, String>::new());
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// The same for one item of a batch or a stream.
pub(crate) fn item_limit_exceeded(exceeded: Exceeded) -> v1::ItemStatus {
    let (reason, message, _) = explain_limit(exceeded);
    count_error(Code::ResourceExhausted, reason);
    let code = Code::ResourceExhausted as i32;
    v1::ItemStatus { code, message, reason: reason.to_owned(), field_violations: Vec::new() }
}

fn explain_limit(exceeded: Exceeded) -> (&'static str, String, Duration) {
    match exceeded {
        Exceeded::Requests { allowed, retry_after } => (
            "RATE_LIMITED",
            format!(
                "more than the {allowed} requests a second that this caller is allowed; retry after {retry_after:?}, or ask \
                 the operator for a higher limit"
            ),
            retry_after,
        ),
        Exceeded::Concurrent { allowed, retry_after } => (
            "TOO_MANY_CONCURRENT",
            format!(
                "more than the {allowed} calls at once that this caller is allowed; wait for one to end, or ask the \
                 operator for a higher limit"
            ),
            retry_after,
        ),
    }
}

/// The answer to everything that needs the engine while it is still loading.
pub(crate) fn not_ready() -> Status {
    count_error(Code::Unavailable, "NOT_READY");
    let mut details = ErrorDetails::with_error_info("NOT_READY", ERROR_DOMAIN, HashMap::<String, String>::new());
    details.set_retry_info(Some(Duration::from_secs(1)));
    Status::with_error_details(
        Code::Unavailable,
        "the model and the index are still loading; retry, or wait until grpc.health.v1 says SERVING",
        details,
    )
}

/// The answer to a caller that is nobody; what was wrong is said in one stable word.
pub(crate) fn unauthenticated(why: Unauthenticated) -> Status {
    let reason = "UNAUTHENTICATED";
    count_error(Code::Unauthenticated, reason);
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, [("why".to_owned(), why.as_str().to_owned())]);
    let message = format!(
        "{why}; send an API key or a token as `authorization: Bearer ...`, or show a client certificate that is listed"
    );
    Status::with_error_details(Code::Unauthenticated, message, details)
}

/// The answer to a caller that may not.
pub(crate) fn denied(why: &Denied) -> Status {
    let reason = "PERMISSION_DENIED";
    count_error(Code::PermissionDenied, reason);
    let word = why.reason.as_str().to_owned();
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, [("why".to_owned(), word)]);
    Status::with_error_details(Code::PermissionDenied, why.to_string(), details)
}

#[cfg(test)]
mod tests {
    use fitment_engine::OverloadCause;

    use super::*;

    #[test]
    fn a_field_fault_names_its_field() {
        let status = status_of(&EngineError::field("intent", "is empty"));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(details.error_info().expect("error info").domain, ERROR_DOMAIN);
        assert_eq!(details.bad_request().expect("bad request").field_violations[0].field, "intent");
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let retry_after = Duration::from_millis(250);
        let cause = OverloadCause::Displaced;
        let status = status_of(&EngineError::Overloaded { queue: "first", cause, retry_after });
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.retry_info().expect("retry info").retry_delay, Some(retry_after));
    }
}
