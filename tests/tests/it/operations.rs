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

/// The masks of a daemon's encoder threads.
fn encoder_threads(daemon: &Daemon) -> anyhow::Result<Vec<Vec<usize>>> {
    let mut masks = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{}/task", daemon.id()))? {
        let thread = thread?.path();
        if std::fs::read_to_string(thread.join("comm"))?.starts_with("encoder") {
            masks.push(allowed(&thread.join("status"))?);
        }
    }
    Ok(masks)
}

#[test]
#[cfg(target_os = "linux")]
fn encoder_threads_are_pinned_when_that_is_asked_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let everywhere = allowed(Path::new("/proc/self/status"))?;
    let serve = |name: &str, encoder: &str| -> anyhow::Result<Daemon> {
        let config = folder.path().join(format!("{name}.toml"));
        std::fs::write(&config, format!("[encoder]\n{encoder}\n"))?;
        Daemon::serve(&folder.path().join(name), &["--config", config.to_str().context("a UTF-8 path")?])
    };
    let threads = everywhere.len().min(2);
    let pinned = encoder_threads(&serve("pinned", &format!("pin = true\nthreads = {threads}"))?)?;
    assert_eq!(pinned.len(), threads, "{pinned:?}");
    for (number, &processor) in everywhere.iter().take(threads).enumerate() {
        assert_eq!(pinned.iter().filter(|mask| **mask == [processor]).count(), 1, "thread {number}: {pinned:?}");
    }
    let free = encoder_threads(&serve("free", &format!("threads = {threads}"))?)?;
    assert!(free.len() == threads && free.iter().all(|mask| *mask == everywhere), "{free:?}");

    let too_many = format!("pin = true\nthreads = {}", everywhere.len() + 1);
    let refused = serve("refused", &too_many).err().context("there are not so many processors")?.to_string();
    assert!(refused.contains("cannot be pinned"), "{refused}");
    let candle = serve("candle", "pin = true\nkernel = \"candle\"").err().context("candle has its own threads")?;
    assert!(candle.to_string().contains("cannot be pinned"), "{candle}");
    Ok(())
}
