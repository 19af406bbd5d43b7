//! Starting, health, draining, overload.

use std::path::Path;

use anyhow::Context;
use fitment_proto::v1;
use fitment_tests::{Daemon, fitment, text};
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_types::StatusExt;

use crate::matching::{intent, small_catalog};

#[tokio::test]
async fn every_service_reports_its_health() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut health = HealthClient::new(daemon.channel().await?);
    for service in [
        "",
        "fitment.v1.MatcherService",
        "fitment.v1.CatalogService",
        "fitment.v1.FeedbackService",
        "fitment.v1.InfoService",
    ] {
        let request = HealthCheckRequest { service: service.into() };
        let status = health.check(request).await?.into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let unknown = HealthCheckRequest { service: "fitment.v1.Oracle".into() };
    assert_eq!(health.check(unknown).await.expect_err("no such service").code(), Code::NotFound);
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    assert!(info.ready);
    assert_eq!(info.catalog.expect("a catalogue").matchable_versions, 4);
    assert_eq!(info.limits.expect("limits").max_intent_bytes, 8192);
    Ok(())
}

#[tokio::test]
async fn sigterm_finishes_calls_in_flight_and_exits_zero() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let requests = (0..64).map(|n| intent(&format!("pay invoice number {n} by card"))).collect();
    let call = tokio::spawn(async move { matcher.batch_match(v1::BatchMatchRequest { requests }).await });
    // The batch has been taken once the daemon has work; asking it something else orders the two.
    daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?;
    daemon.terminate()?;
    let (status, log) = daemon.wait().await?;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("shutting down"), "{log}");
    match call.await? {
        Ok(response) => assert_eq!(response.into_inner().items.len(), 64),
        Err(status) => assert_eq!(status.code(), Code::Unavailable, "refused at the door, never cut off: {status}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("fitment.toml");
    std::fs::write(&config, "queue_capacity = 1\n")?;
    let data = folder.path().join("data");
    let daemon = Daemon::serve(&data, &["--config", config.to_str().expect("a UTF-8 path")])?;
    let long = "word ".repeat(1500);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..24 {
        // Each text is another one: none is remembered.
        let (mut matcher, request) = (daemon.matcher().await?, intent(&format!("{number} {long}")));
        calls.spawn(async move { matcher.r#match(request).await });
    }
    let (mut answered, mut refused) = (0, 0);
    while let Some(result) = calls.join_next().await {
        match result? {
            Ok(_) => answered += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                assert!(status.get_details_retry_info().expect("RetryInfo").retry_delay.is_some());
                refused += 1;
            }
        }
    }
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    Ok(())
}

#[test]
fn a_taken_address_and_an_open_network_are_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(&folder.path().join("a"), &[])?;
    let other = folder.path().join("b");
    let taken = fitment()?.args(["serve", "--listen", daemon.address(), "--data-dir"]).arg(&other).output()?;
    assert!(!taken.status.success());
    assert!(text(&taken.stderr).contains("--listen"), "{}", text(&taken.stderr));
    let open = fitment()?.args(["serve", "--listen", "0.0.0.0:0", "--data-dir"]).arg(&other).output()?;
    assert!(!open.status.success());
    assert!(
        text(&open.stderr).contains("anyone on the network can read and change what is sent"),
        "{}",
        text(&open.stderr)
    );
    Ok(())
}

/// Processors of a list as the kernel writes it, for example `0-3,8`.
fn processors(list: &str) -> anyhow::Result<Vec<usize>> {
    let mut processors = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        processors.extend(first.parse::<usize>()?..=last.parse()?);
    }
    Ok(processors)
}

/// Processors that a thread may run on, from its `status` file.
fn allowed(status: &Path) -> anyhow::Result<Vec<usize>> {
    let status = std::fs::read_to_string(status)?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).context("a mask")?;
    processors(list)
}

/// A thread's niceness, from its `stat` file.
fn niceness(stat: &Path) -> anyhow::Result<i32> {
    let stat = std::fs::read_to_string(stat)?;
    // Field 19; the second one, the name in brackets, may hold blanks.
    let (_, fields) = stat.rsplit_once(')').context("a name in brackets")?;
    Ok(fields.split_ascii_whitespace().nth(16).context("nineteen fields")?.parse()?)
}

/// One of a daemon's threads.
#[derive(Debug)]
struct Thread {
    mask: Vec<usize>,
    nice: i32,
}

/// Those that encode, and the others.
fn threads(daemon: &Daemon) -> anyhow::Result<(Vec<Thread>, Vec<Thread>)> {
    let (mut encoders, mut others) = (Vec::new(), Vec::new());
    for thread in std::fs::read_dir(format!("/proc/{}/task", daemon.id()))? {
        let thread = thread?.path();
        let encodes = std::fs::read_to_string(thread.join("comm"))?.starts_with("encoder");
        let of = if encodes { &mut encoders } else { &mut others };
        of.push(Thread { mask: allowed(&thread.join("status"))?, nice: niceness(&thread.join("stat"))? });
    }
    Ok((encoders, others))
}

#[test]
#[cfg(target_os = "linux")]
fn encoder_threads_run_as_they_are_told_to() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let everywhere = allowed(Path::new("/proc/self/status"))?;
    let nice = niceness(Path::new("/proc/self/stat"))?;
    let serve = |name: &str, encoder: &str| -> anyhow::Result<Daemon> {
        let config = folder.path().join(format!("{name}.toml"));
        std::fs::write(&config, format!("[encoder]\n{encoder}\n"))?;
        Daemon::serve(&folder.path().join(name), &["--config", config.to_str().context("a UTF-8 path")?])
    };
    let count = everywhere.len().min(2);
    let (encoders, others) = threads(&serve("told", &format!("pin = true\nnice = 0\nthreads = {count}"))?)?;
    assert_eq!(encoders.len(), count, "{encoders:?}");
    for (number, &processor) in everywhere.iter().take(count).enumerate() {
        assert_eq!(encoders.iter().filter(|thread| thread.mask == [processor]).count(), 1, "{number}: {encoders:?}");
    }
    assert!(encoders.iter().all(|thread| thread.nice == nice), "{encoders:?}");
    assert!(others.iter().any(|thread| thread.nice == nice), "{others:?}");

    let (encoders, others) = threads(&serve("free", &format!("threads = {count}"))?)?;
    assert_eq!(encoders.len(), count, "{encoders:?}");
    assert!(encoders.iter().all(|thread| thread.mask == everywhere), "{encoders:?}");
    // Behind what takes calls in, before what builds graphs.
    assert!(encoders.iter().all(|thread| thread.nice == (nice + 5).min(19)), "{encoders:?}");
    assert!(others.iter().any(|thread| thread.nice == nice), "{others:?}");

    let refused = |name: &str, encoder: &str| -> anyhow::Result<String> {
        Ok(serve(name, encoder).err().context("it started all the same")?.to_string())
    };
    let too_many = refused("crowd", &format!("pin = true\nthreads = {}", everywhere.len() + 1))?;
    assert!(too_many.contains("cannot be pinned"), "{too_many}");
    let candle = refused("candle", "pin = true\nkernel = \"candle\"")?;
    assert!(candle.contains("cannot be pinned"), "{candle}");
    let nicer = refused("nicer", "nice = 20")?;
    assert!(nicer.contains("encoder.nice: 20 is out of range 0..=19"), "{nicer}");
    Ok(())
}
