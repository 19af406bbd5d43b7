//! A span of each call that is recorded, with one for each phase of its matches below it.

use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status as SpanStatus};
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use super::context::{TraceContext, random};
use super::writer::{number, text};
use super::{CallNotes, IntentPrivacy, MatchNote, Notes, TraceConfig, TraceWriter};
use crate::ending::{Answer, OpenCall, follow};

/// Characters of a path that no service has and of which a caller made a name.
const MAX_NAME: usize = 128;

/// Adds [`Traced`] to a service.
#[derive(Clone)]
pub(crate) struct TraceLayer(Option<Recording>);

#[derive(Clone)]
struct Recording {
    writer: TraceWriter,
    ratio: f64,
    intents: IntentPrivacy,
}

impl TraceLayer {
    /// Records nothing.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Records to a file.
    pub(crate) fn on(config: &TraceConfig) -> anyhow::Result<Self> {
        let writer = TraceWriter::start(config)?;
        Ok(Self(Some(Recording { writer, ratio: config.ratio, intents: config.intents })))
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner, recording: self.0.clone() }
    }
}

/// A service whose calls are traced.
#[derive(Clone)]
pub(crate) struct Traced<S> {
    inner: S,
    recording: Option<Recording>,
}

impl<S> Service<Request<Body>> for Traced<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer<S::Error> {
        let open = self.recording.as_ref().and_then(|recording| OpenSpan::of(&mut request, recording));
        let answer = self.inner.call(request);
        match open {
            None => Box::pin(answer),
            Some(open) => Box::pin(follow(answer, open)),
        }
    }
}

/// The span of a call that has begun; it is written when this is dropped.
struct OpenSpan {
    recording: Recording,
    context: TraceContext,
    path: String,
    started: SystemTime,
    notes: CallNotes,
    code: Option<Code>,
}

impl OpenSpan {
    fn of(request: &mut Request<Body>, recording: &Recording) -> Option<Self> {
        let context = TraceContext::of(request.headers()).unwrap_or_else(TraceContext::new);
        if !context.is_sampled(recording.ratio) {
            return None;
        }
        let notes = CallNotes::default();
        request.extensions_mut().insert(notes.clone());
        Some(Self {
            recording: recording.clone(),
            context,
            path: request.uri().path().trim_start_matches('/').chars().take(MAX_NAME).collect(),
            started: SystemTime::now(),
            notes,
            code: None,
        })
    }

    fn spans(&self) -> Vec<Span> {
        let notes = std::mem::take(&mut *self.notes.0.lock());
        let Notes { principal, matches } = notes;
        // Nothing has said how it ended: the caller left before it did.
        let code = self.code.unwrap_or(Code::Cancelled);
        let (service, method) = self.path.split_once('/').unwrap_or((&self.path, ""));
        let mut attributes = vec![
            text("rpc.system", "grpc"),
            text("rpc.service", service),
            text("rpc.method", method),
            number("rpc.grpc.status_code", i64::from(code as i32)),
        ];
        attributes.extend(principal.map(|principal| text("enduser.id", &*principal)));
        let call = Span {
            kind: SpanKind::Server as i32,
            parent_span_id: self.context.parent.map(Vec::from).unwrap_or_default(),
            attributes,
            status: Some(SpanStatus {
                code: if is_fault(code) { StatusCode::Error } else { StatusCode::Unset } as i32,
                message: String::new(),
            }),
            ..self.span(&self.path, self.started, SystemTime::now())
        };
        let parent = call.span_id.clone();
        let mut spans = vec![call];
        for note in &matches {
            self.match_spans(note, &parent, &mut spans);
        }
        spans
    }

    fn match_spans(&self, note: &MatchNote, parent: &[u8], spans: &mut Vec<Span>) {
        let MatchNote { intent, decision, outcome, phases, ended, total } = note;
        let started = *ended - *total;
        let mut attributes = vec![
            text("fitment.decision_id", decision),
            text("fitment.outcome", *outcome),
            number("fitment.intent.bytes", i64::try_from(intent.len()).unwrap_or(i64::MAX)),
        ];
        attributes.extend(self.recording.intents.shown(intent).map(|(key, value)| text(key, value)));
        let parent_span_id = parent.to_vec();
        let whole = Span { parent_span_id, attributes, ..self.span("match", started, *ended) };
        for (name, after, took) in phases {
            let parent_span_id = whole.span_id.clone();
            let begun = started + *after;
            spans.push(Span { parent_span_id, ..self.span(name, begun, begun + *took) });
        }
        spans.push(whole);
    }

    fn span(&self, name: &str, start: SystemTime, end: SystemTime) -> Span {
        Span {
            trace_id: self.context.trace_id.to_vec(),
            span_id: random::<8>().to_vec(),
            trace_state: self.context.state.clone(),
            // Bit 0: recorded.
            flags: 1,
            name: name.to_owned(),
            kind: SpanKind::Internal as i32,
            start_time_unix_nano: nanos(start),
            end_time_unix_nano: nanos(end),
            ..Span::default()
        }
    }
}

impl OpenCall for OpenSpan {
    fn ended(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.recording.writer.write(self.spans());
    }
}

/// Codes that the semantic conventions call a server's error.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
