//! Appending spans to a file, on a thread of its own: a call never waits for a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use metrics::Counter;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::TraceConfig;
use crate::metrics::names::{TRACE_SPANS, TRACE_SPANS_LOST};

/// Calls whose spans wait for the writer; what comes then is lost, and counted.
const WAITING: usize = 1024;
/// Spans of one line at most.
const BATCH: usize = 512;
/// How long spans gather for a line.
const GATHER: Duration = Duration::from_secs(1);

/// Writes spans. Ends, with what waits written, when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct TraceWriter(Arc<Inner>);

struct Inner {
    /// `None` once it is to end.
    spans: Option<SyncSender<Vec<Span>>>,
    thread: Option<JoinHandle<()>>,
    written: Counter,
    lost: Counter,
}

impl TraceWriter {
    /// Opens the file.
    pub(crate) fn start(config: &TraceConfig) -> anyhow::Result<Self> {
        let out = Out::open(&config.file, config.max_bytes)
            .with_context(|| format!("traces.file: {} cannot be written", config.file.display()))?;
        let (spans, waiting) = sync_channel(WAITING);
        let thread = thread::Builder::new().name("traces".into()).spawn(move || write(out, &waiting))?;
        let (written, lost) = (metrics::counter!(TRACE_SPANS), metrics::counter!(TRACE_SPANS_LOST));
        Ok(Self(Arc::new(Inner { spans: Some(spans), thread: Some(thread), written, lost })))
    }

    /// Hands the spans of one call over.
    pub(super) fn write(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        match self.0.spans.as_ref().map(|sender| sender.try_send(spans)) {
            Some(Ok(())) => self.0.written.increment(count),
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => self.0.lost.increment(count),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.spans.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the traces' thread was lost");
        }
    }
}

fn write(mut out: Out, waiting: &Receiver<Vec<Span>>) {
    let mut failing = false;
    loop {
        let Ok(mut batch) = waiting.recv() else { return };
        let until = Instant::now() + GATHER;
        let ended = loop {
            if batch.len() >= BATCH {
                break false;
            }
            match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(more) => batch.extend(more),
                Err(RecvTimeoutError::Timeout) => break false,
                Err(RecvTimeoutError::Disconnected) => break true,
            }
        };
        match (out.append(batch), failing) {
            (Ok(()), _) => failing = false,
            (Err(error), false) => {
                tracing::warn!(%error, file = %out.path.display(), "traces cannot be written and are lost until they can");
                failing = true;
            }
            (Err(_), true) => {}
        }
        if ended {
            return;
        }
    }
}

/// The file, and the one before it.
struct Out {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
}

impl Out {
    fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_path_buf(), file, bytes, max_bytes })
    }

    fn append(&mut self, spans: Vec<Span>) -> io::Result<()> {
        let mut line = serde_json::to_vec(&request(spans))?;
        line.push(b'\n');
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes + length > self.max_bytes {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, aside)?;
            *self = Self::open(&self.path, self.max_bytes)?;
        }
        self.file.write_all(&line)?;
        self.bytes += length;
        Ok(())
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: "fitment".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let resource = Resource {
        attributes: vec![text("service.name", "fitment"), text("service.version", env!("CARGO_PKG_VERSION"))],
        ..Resource::default()
    };
    let spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

/// An attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// An attribute that is a whole number.
pub(super) fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path, max_bytes: u64) -> TraceConfig {
        TraceConfig {
            file: folder.join("spans.jsonl"),
            ratio: 1.0,
            max_bytes,
            intents: super::super::IntentPrivacy::Redact,
        }
    }

    fn span(name: &str) -> Span {
        Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: name.to_owned(), ..Span::default() }
    }

    #[test]
    fn what_waits_is_written_before_the_end_and_reads_as_otlp() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path(), 1 << 20);
        let writer = TraceWriter::start(&config).expect("a writer");
        writer.write(vec![span("one"), span("two")]);
        drop(writer);
        let written = std::fs::read_to_string(&config.file).expect("the file");
        let requests: Vec<ExportTraceServiceRequest> =
            written.lines().map(|line| serde_json::from_str(line).expect("OTLP")).collect();
        let spans = &requests[0].resource_spans[0].scope_spans[0].spans;
        assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert!(written.contains(r#""traceId":"01010101010101010101010101010101""#), "{written}");
    }

    #[test]
    fn files_do_not_grow_without_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path(), 1000);
        let mut out = Out::open(&config.file, config.max_bytes).expect("the file");
        for _ in 0..50 {
            out.append(vec![span("again")]).expect("written");
        }
        let bytes: u64 = std::fs::read_dir(folder.path())
            .expect("the folder")
            .map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len())
            .sum();
        assert!(bytes <= 2000, "{bytes}");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = TraceConfig { file: folder.path().join("no/spans.jsonl"), ..config(folder.path(), 1000) };
        let error = TraceWriter::start(&config).err().expect("an error");
        assert!(format!("{error:#}").contains("traces.file"), "{error:#}");
    }
}
