//! The transport: TLS, Unix sockets, limits, and clients that mean no good.

mod floods;
mod limits;
mod raw;
mod tls;
mod unix;

use std::path::Path;

use anyhow::{Context, bail};
use fitment_proto::v1;
use fitment_tests::Daemon;

use crate::metrics::get;

/// A daemon with this configuration.
fn serve(folder: &Path, config: &str) -> anyhow::Result<Daemon> {
    let file = folder.join("fitment.toml");
    std::fs::write(&file, config)?;
    Daemon::serve(&folder.join("data"), &["--config", file.to_str().context("a UTF-8 path")?])
}

/// Runs what blocks, and has a well-behaved client ask all the while. Returns what came of it, and how often the client was
/// answered; it always is.
async fn while_others_are_served<T: Send + 'static>(
    daemon: &Daemon,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<(T, usize)> {
    let mut info = daemon.info().await?;
    info.get_server_info(v1::GetServerInfoRequest {}).await?;
    let mut work = tokio::task::spawn_blocking(work);
    let mut answers = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                info.get_server_info(v1::GetServerInfoRequest {}).await?;
                return Ok((done?, answers + 1));
            }
            answer = info.get_server_info(v1::GetServerInfoRequest {}) => {
                answer?;
                answers += 1;
            }
        }
    }
}

/// Looks at the metrics, each of which takes about a millisecond.
const MOST_LOOKS: usize = 100_000;

/// Reads the metrics until they say this. Returns the page.
fn until_metrics_say(daemon: &Daemon, expect: &str) -> anyhow::Result<String> {
    let address = daemon.metrics().context("metrics are on")?;
    for _ in 0..MOST_LOOKS {
        let page = get(address, "/metrics")?;
        if page.contains(expect) {
            return Ok(page);
        }
    }
    bail!("the metrics never said {expect}")
}

/// The most memory that a daemon has had, bytes.
fn peak_memory(daemon: &Daemon) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a high-water mark")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}
