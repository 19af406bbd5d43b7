//! Spans of calls: continued from the caller's, one a phase, without the intent, and sent on to a collector.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use fitment_tests::{Daemon, fitment, manifest, text};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::matching::{create, intent};

const INTENT: &str = "charge the visitor's card";

/// Serves with traces and asks one intent as a part of somebody's trace. Returns the file of spans.
async fn traced(folder: &Path, more: &str) -> anyhow::Result<String> {
    let (config, file) = (folder.join("fitment.toml"), folder.join("spans.jsonl"));
    std::fs::write(&config, format!("{more}\n[traces]\nfile = \"{}\"\nratio = 0.0\n", file.display()))?;
    let daemon = Daemon::serve(&folder.join("data"), &["--config", config.to_str().context("a path")?])?;
    create(&mut daemon.catalog().await?, manifest("payments/cards", "1.0.0", "Takes card payments")).await?;
    let mut request = Request::new(intent(INTENT));
    let headers = request.metadata_mut();
    headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?);
    headers.insert("tracestate", "caller=1".parse()?);
    daemon.matcher().await?.r#match(request).await?;
    // Not a part of any trace, and the ratio is 0.
    daemon.matcher().await?.r#match(intent("something else")).await?;
    daemon.terminate()?;
    let (status, log) = daemon.wait().await?;
    ensure!(status.success(), "{log}");
    ensure!(!log.contains(INTENT), "intents are not logged: {log}");
    Ok(std::fs::read_to_string(&file)?)
}

fn spans(written: &str) -> anyhow::Result<Vec<Span>> {
    let requests = written.lines().map(serde_json::from_str).collect::<Result<Vec<ExportTraceServiceRequest>, _>>()?;
    let scopes = requests.into_iter().flat_map(|request| request.resource_spans).flat_map(|one| one.scope_spans);
    Ok(scopes.flat_map(|scope| scope.spans).collect())
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn a_match_is_traced_by_phase_in_its_callers_trace() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let written = traced(folder.path(), "").await?;
    ensure!(!written.contains(INTENT) && !written.contains("something else"), "no intent is written: {written}");
    let spans = spans(&written)?;
    let named = |name: &str| spans.iter().find(|span| span.name == name).with_context(|| format!("a span {name}"));
    let call = named("fitment.v1.MatcherService/Match")?;
    assert_eq!(call.trace_id[..2], [0x4b, 0xf9]);
    assert_eq!(call.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!(call.trace_state, "caller=1");
    assert_eq!(attribute(call, "rpc.grpc.status_code").as_deref(), Some("0"));
    let matched = named("match")?;
    assert_eq!(matched.parent_span_id, call.span_id);
    assert_eq!(attribute(matched, "fitment.intent.bytes"), Some(INTENT.len().to_string()));
    assert!(attribute(matched, "fitment.decision_id").is_some());
    for phase in ["encode", "dense", "lexical", "rank"] {
        let phase = named(phase)?;
        assert_eq!(phase.parent_span_id, matched.span_id);
        assert!(matched.start_time_unix_nano <= phase.start_time_unix_nano, "{phase:?}");
        assert!(phase.end_time_unix_nano <= matched.end_time_unix_nano, "{phase:?}");
    }
    assert!(spans.iter().all(|span| span.trace_id == call.trace_id), "the other call is not recorded");
    Ok(())
}

#[tokio::test]
async fn an_intents_text_is_written_only_where_the_policy_says_so() -> anyhow::Result<()> {
    let (text, digest) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let written = traced(text.path(), "log_intents = \"text\"").await?;
    assert!(written.contains(INTENT), "{written}");
    let written = traced(digest.path(), "log_intents = \"digest\"").await?;
    assert!(written.contains("fitment.intent.digest") && !written.contains(INTENT), "{written}");
    Ok(())
}

/// A collector that refuses the first request and keeps what comes then.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Option<ExportTraceServiceRequest>>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().map_err(|_poisoned| Status::internal("lost"))?;
        if kept.is_empty() {
            kept.push(None);
            return Err(Status::unavailable("not yet"));
        }
        kept.push(Some(request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn spans_are_sent_on_to_a_collector() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let written = traced(folder.path(), "").await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let collector = Collector::default();
    let service = TraceServiceServer::new(collector.clone());
    let serving = tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let mut command = fitment()?;
    command.args(["traces", "forward", "--until-end", "--to", &format!("http://{address}")]);
    command.arg(folder.path().join("spans.jsonl")).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("again in"), "the first attempt failed: {}", text(&output.stderr));
    let sent: Vec<Span> = {
        let kept = collector.0.lock().map_err(|_poisoned| anyhow::anyhow!("lost"))?;
        let scopes = kept.iter().flatten().flat_map(|one| &one.resource_spans).flat_map(|one| &one.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    };
    assert_eq!(sent, spans(&written)?);
    serving.abort();
    Ok(())
}
