//! The page of metrics, read over a plain socket and by Prometheus' own parser.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_tests::{Daemon, fitment, manifest, text, workspace};
use serde_json::{Map, Value};
use tonic::Code;

use crate::matching::{create, intent};
use crate::python::install;

/// The parser, at a fixed version.
const PACKAGES: [&str; 1] = ["prometheus_client==0.26.0"];
/// More than the daemon lets a connection live.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends bytes as they are and reads until the daemon closes.
fn send(address: &str, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A daemon that has refused already need not read to the end.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    // The same: what it said before it cut the connection counts.
    drop(stream.read_to_end(&mut answer));
    Ok(text(&answer))
}

pub(crate) fn get(address: &str, path: &str) -> anyhow::Result<String> {
    send(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
}

/// The samples of a page by Prometheus' parser, by name and labels.
struct Page(Map<String, Value>);

impl Page {
    fn read(daemon: &Daemon) -> anyhow::Result<Self> {
        let answer = get(daemon.metrics().context("metrics are on")?, "/metrics")?;
        ensure!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").context("an empty line")?;
        ensure!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        let mut parser = Command::new("python3")
            .arg(workspace().join("tests/clients/metrics.py"))
            .env("PYTHONPATH", install(&PACKAGES)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        parser.stdin.take().context("a pipe")?.write_all(body.as_bytes())?;
        let output = parser.wait_with_output()?;
        ensure!(output.status.success(), "{}\n{body}", text(&output.stderr));
        Ok(Self(serde_json::from_slice(&output.stdout)?))
    }

    /// `key`: name{sorted labels}; what is absent is 0, as a counter that has not begun.
    fn value(&self, key: &str) -> f64 {
        self.0.get(key).map_or(0.0, |value| value.as_f64().unwrap_or(f64::NAN))
    }
}

/// A daemon with metrics, a forced kernel and two components.
async fn watched() -> anyhow::Result<(tempfile::TempDir, Daemon)> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("fitment.toml");
    std::fs::write(&config, "[metrics]\nlisten = \"127.0.0.1:0\"\n[encoder]\nkernel = \"portable-f32\"\n")?;
    let data = folder.path().join("data");
    let daemon = Daemon::serve(&data, &["--config", config.to_str().context("a UTF-8 path")?])?;
    let mut catalog = daemon.catalog().await?;
    for (name, version, summary) in [
        ("payments/card", "1.0.0", "Takes a card payment from a buyer."),
        ("payments/card", "1.1.0", "Takes a card payment from a buyer, again if it failed."),
        ("storage/backup", "2.1.0", "Copies databases every night and restores them on request."),
    ] {
        create(&mut catalog, manifest(name, version, summary)).await?;
    }
    Ok((folder, daemon))
}

#[tokio::test]
async fn the_page_tells_what_happened() -> anyhow::Result<()> {
    let (_folder, daemon) = watched().await?;
    let mut matcher = daemon.matcher().await?;
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    let model = info.model.context("a model")?;

    let before = Page::read(&daemon)?;
    let encoder = format!(
        "fitment_encoder_info{{device=cpu,digest={},encoder=first,kernel=portable-f32,model=all-MiniLM-L6-v2,precision=f32,\
         threads={}}}",
        model.digest, model.threads
    );
    for (key, expect) in [
        (format!("fitment_build_info{{version={}}}", info.version).as_str(), 1.0),
        (encoder.as_str(), 1.0),
        ("fitment_ready{}", 1.0),
        ("fitment_catalog_components{}", 2.0),
        ("fitment_catalog_versions{}", 3.0),
        ("fitment_catalog_matchable_versions{}", 3.0),
        ("fitment_store_revision{}", 3.0),
        ("fitment_index_segments{}", 0.0),
        ("fitment_calibration_state{state=none}", 1.0),
        ("fitment_calibration_state{state=in_force}", 0.0),
        ("fitment_encoder_queue_capacity_jobs{encoder=first}", 256.0),
        ("fitment_matches_total{outcome=candidates}", 0.0),
        ("fitment_requests_total{code=OK,rpc=fitment.v1.CatalogService/CreateComponent}", 3.0),
    ] {
        assert!((before.value(key) - expect).abs() < 1e-9, "{key} is {}, not {expect}", before.value(key));
    }
    assert!(before.value("fitment_catalog_facets{}") >= 3.0);
    assert!(before.value("fitment_index_head_rows{}") >= before.value("fitment_catalog_facets{}"));
    assert!(before.value("fitment_promise_max_error_ratio{}").is_nan(), "nothing is promised");
    assert!(before.value("fitment_index_self_recall_ratio{}").is_nan(), "nothing was built");
    // Probed half a second after the start.
    let started = Instant::now();
    while !matches!(Page::read(&daemon)?.value("fitment_index_recall_ratio{}"), recall if recall >= 1.0) {
        assert!(started.elapsed() < Duration::from_secs(60), "an exact index misses nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    for text in ["let people pay by card", "restore yesterday's database", "let people pay by card"] {
        matcher.r#match(intent(text)).await?;
    }
    matcher.batch_match(v1::BatchMatchRequest { requests: vec![intent("pay"), intent(" ")] }).await?;
    assert_eq!(matcher.r#match(intent("")).await.expect_err("an empty intent").code(), Code::InvalidArgument);

    let after = Page::read(&daemon)?;
    for (key, expect) in [
        ("fitment_matches_total{outcome=candidates}", 4.0),
        ("fitment_match_seconds_count{}", 4.0),
        ("fitment_match_phase_seconds_count{phase=dense}", 4.0),
        ("fitment_match_phase_seconds_bucket{le=+Inf,phase=encode}", 4.0),
        ("fitment_match_phase_seconds_count{phase=second_stage}", 0.0),
        ("fitment_vector_cache_hits_total{encoder=first}", 1.0),
        ("fitment_vector_cache_misses_total{encoder=first}", 3.0),
        ("fitment_vector_cache_entries{encoder=first}", 3.0),
        ("fitment_encoder_batch_texts_sum{encoder=first,work=interactive}", 3.0),
        ("fitment_requests_total{code=OK,rpc=fitment.v1.MatcherService/Match}", 3.0),
        ("fitment_requests_total{code=INVALID_ARGUMENT,rpc=fitment.v1.MatcherService/Match}", 1.0),
        ("fitment_request_seconds_count{rpc=fitment.v1.MatcherService/Match}", 4.0),
        ("fitment_requests_total{code=OK,rpc=fitment.v1.MatcherService/BatchMatch}", 1.0),
        ("fitment_errors_total{code=INVALID_ARGUMENT,reason=INVALID_FIELD}", 2.0),
        ("fitment_requests_in_flight{}", 0.0),
        ("fitment_decisions{}", 4.0),
    ] {
        assert!((after.value(key) - expect).abs() < 1e-9, "{key} is {}, not {expect}", after.value(key));
    }
    let seconds = after.value("fitment_encoder_batch_seconds_sum{encoder=first,work=interactive}");
    let tokens = after.value("fitment_encoder_batch_tokens_sum{encoder=first,work=interactive}");
    assert!(seconds > 0.0 && tokens > 9.0, "{tokens} tokens in {seconds} s");
    assert!(after.value("fitment_encoder_batch_texts_sum{encoder=first,work=bulk}") >= 3.0);
    for key in after.0.keys() {
        assert!(!key.contains("card") && !key.contains("pay by"), "{key} holds what callers wrote");
    }

    daemon.terminate()?;
    let (status, log) = daemon.wait().await?;
    assert_eq!(status.code(), Some(0), "{log}");
    Ok(())
}

#[tokio::test]
async fn nothing_but_the_page_is_served_and_strangers_do_no_harm() -> anyhow::Result<()> {
    let (_folder, daemon) = watched().await?;
    let address = daemon.metrics().context("metrics are on")?;
    assert!(get(address, "/")?.starts_with("HTTP/1.1 404 "));
    for (path, says) in [("/livez", "alive"), ("/readyz", "ready")] {
        let answer = get(address, path)?;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(says), "{answer}");
    }
    assert!(get(address, "/metrics/../secret")?.starts_with("HTTP/1.1 404 "));
    let post =
        send(address, format!("POST /metrics HTTP/1.1\r\nHost: {address}\r\nContent-Length: 3\r\n\r\nabc").as_bytes())?;
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET"), "{post}");

    assert!(send(address, b"\x16\x03\x01\x02\x00\x01\xff\xfe garbage \r\n\r\n")?.starts_with("HTTP/1.1 400 "));
    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(64 << 10));
    assert!(!send(address, long.as_bytes())?.contains("fitment_"), "a head over the limit is refused");
    let many = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: x\r\n".repeat(100));
    assert!(!send(address, many.as_bytes())?.contains("fitment_"), "too many headers are refused");

    // Connections that say nothing are cut, calls go on meanwhile, and whoever waits behind them is answered.
    let silent: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    daemon.matcher().await?.r#match(intent("pay by card")).await?;
    assert!(get(address, "/metrics")?.contains("fitment_matches_total{outcome=\"candidates\"} 1\n"));
    drop(silent);
    Ok(())
}

#[test]
fn metrics_are_off_unless_they_are_asked_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(&folder.path().join("a"), &[])?;
    assert_eq!(daemon.metrics(), None);
    let printed =
        fitment()?.args(["config", "print", "--json"]).env("FITMENT_METRICS__LISTEN", "[::1]:9464").output()?;
    let printed: Value = serde_json::from_slice(&printed.stdout)?;
    assert_eq!(printed["metrics.listen"], serde_json::json!(["\"[::1]:9464\"", "environment"]));
    let open = fitment()?.args(["config", "check"]).env("FITMENT_METRICS__LISTEN", "0.0.0.0:9464").output()?;
    assert_eq!(open.status.code(), Some(3));
    assert!(text(&open.stderr).contains("metrics.insecure_plaintext_on_network = "), "{}", text(&open.stderr));
    Ok(())
}

#[tokio::test]
async fn unmet_demand_and_near_duplicates_are_on_the_page() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("fitment.toml");
    std::fs::write(&config, "[metrics]\nlisten = \"127.0.0.1:0\"\n")?;
    let daemon = Daemon::serve(&folder.path().join("data"), &["--config", config.to_str().context("a UTF-8 path")?])?;
    assert!(Page::read(&daemon)?.value("fitment_gap_zero_generation_ratio{}").is_nan());
    // Nothing is stored, so nothing certified meets it.
    let mut matcher = daemon.matcher().await?;
    for text in ["brew a cup of coffee", "brew a cup of coffee", "tune a guitar"] {
        matcher.r#match(intent(text)).await?;
    }
    let mut catalog = daemon.catalog().await?;
    for name in ["storage/backup", "team/copies"] {
        let written = manifest(name, "1.0.0", "Copies databases every night and restores them on request.");
        create(&mut catalog, written.replace(&name.replace(['/', '-'], " "), "Database backup")).await?;
    }
    let page = Page::read(&daemon)?;
    for (key, expect) in [
        ("fitment_gaps{}", 2.0),
        ("fitment_gaps_linked{}", 0.0),
        ("fitment_gap_intents{}", 2.0),
        ("fitment_gap_asked{}", 3.0),
        ("fitment_gap_intents_lost_total{}", 0.0),
        ("fitment_gap_answers{outcome=raw_generation}", 3.0),
        ("fitment_gap_zero_generation_ratio{}", 0.0),
        ("fitment_near_duplicates_total{result=written}", 1.0),
    ] {
        assert!((page.value(key) - expect).abs() < 1e-9, "{key} is {}, not {expect}", page.value(key));
    }
    let listed = fitment()?.args(["gaps", "list", "--json", "--server", daemon.address()]).output()?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    let id = listed["gaps"][0]["id"].as_str().context("a gap")?.to_owned();
    let link = fitment()?.args(["gaps", "link", &id, "storage/backup", "--server", daemon.address()]).output()?;
    ensure!(link.status.success(), "{}", text(&link.stderr));
    assert!((Page::read(&daemon)?.value("fitment_gaps_linked{}") - 1.0).abs() < 1e-9);
    Ok(())
}
