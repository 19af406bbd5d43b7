//! The configuration, read again while the daemon runs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use fitment_proto::v1;
use fitment_tests::Daemon;

/// Asks as many questions at once until some, or none, are refused for the rate.
async fn until_refused(daemon: &Daemon, wanted: bool) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let mut catalog = daemon.catalog().await?;
        let mut refused = false;
        for _ in 0..50 {
            let listed = catalog.list_components(v1::ListComponentsRequest::default()).await;
            refused |= listed.is_err_and(|status| status.code() == tonic::Code::ResourceExhausted);
        }
        if refused == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < until, "refused: {refused}");
    }
}

fn configure(file: &Path, text: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(file, text)?)
}

#[tokio::test]
async fn limits_and_the_logs_filter_change_without_a_restart_and_the_rest_is_named() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("fitment.toml");
    configure(&file, "log = 'warn'\n")?;
    let file_name = file.to_str().expect("UTF-8");
    let daemon = Daemon::serve(&folder.path().join("data"), &["--config", file_name])?;
    until_refused(&daemon, false).await?;

    configure(&file, "log = 'info'\ndrain_seconds = 7\n[limits]\nrequests_per_second = 2\n")?;
    daemon.hang_up()?;
    until_refused(&daemon, true).await?;

    configure(&file, "log = 'info'\n[limits]\nrequests_per_second = 1000000\n")?;
    daemon.hang_up()?;
    until_refused(&daemon, false).await?;

    daemon.terminate()?;
    let (status, log) = daemon.wait().await?;
    ensure!(status.success(), "{log}");
    ensure!(log.contains("in force now: limits.requests_per_second, log"), "{log}");
    ensure!(log.contains("in force after a restart: drain_seconds"), "{log}");
    Ok(())
}
