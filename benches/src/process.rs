//! A daemon of the harness's own: started in a folder, signalled, looked at from outside and ended.
//!
//! Nothing but what was started here is ever signalled, and a daemon ends with its handle.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

/// How long a daemon may take to be ready; generous, since the machine may be shared.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long a process that was told to end may take for it.
const END_LIMIT: Duration = Duration::from_secs(60);
/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a call may take: longer than any pause that is injected, so that what was sent is decided when its call ends.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// Time between two looks at what cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Ticks a second of the times in `/proc/PID/stat`: the same on every Linux.
const TICKS: f64 = 100.0;

/// How a daemon is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The binary.
    pub(crate) fitment: PathBuf,
    /// Its data folder.
    pub(crate) data: PathBuf,
    /// Its models; `None`: where it looks by itself.
    pub(crate) models: Option<PathBuf>,
    /// Its log, appended to.
    pub(crate) log: PathBuf,
    /// More of its environment: keys of its configuration, and what preloaded libraries read.
    pub(crate) environment: Vec<(String, String)>,
}

/// What became of a start.
pub(crate) enum Start {
    /// It answers intents.
    Ready(Daemon),
    /// It ended by itself.
    Refused(Refusal),
}

/// A start that was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Its exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it logged.
    pub(crate) said: String,
}

impl Launch {
    /// A command of the same binary, with an environment that holds nothing of the caller's configuration.
    pub(crate) fn command(&self) -> Command {
        let mut command = fitment_tests::command(&self.fitment);
        command.stdin(Stdio::null());
        command
    }

    /// `fitment serve` on a free port of loopback, with metrics, until it is ready or has ended.
    pub(crate) async fn start(&self) -> anyhow::Result<Start> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| self.log.display().to_string())?;
        let logged = log.metadata()?.len();
        let mut command = self.command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&self.data);
        if let Some(models) = &self.models {
            command.arg("--models-dir").arg(models);
        }
        command.env("FITMENT_METRICS__LISTEN", "127.0.0.1:0");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().with_context(|| self.fitment.display().to_string())?;
        let output = child.stdout.take().context("no standard output")?;
        let mut daemon = Daemon { child, address: String::new(), metrics: String::new() };
        let (lines, mut received) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens after the start; the pipe is drained all the same.
                drop(lines.send(line));
            }
        });
        let limit = tokio::time::Instant::now() + START_LIMIT;
        loop {
            let line = tokio::time::timeout_at(limit, received.recv()).await;
            match line.with_context(|| format!("the daemon was not ready within {START_LIMIT:?}"))? {
                Some(line) if line == "ready" => return Ok(Start::Ready(daemon)),
                Some(line) => {
                    if let Some(address) = line.strip_prefix("listening on ") {
                        address.clone_into(&mut daemon.address);
                    } else if let Some(rest) = line.strip_prefix("metrics on http://") {
                        rest.split('/').next().unwrap_or_default().clone_into(&mut daemon.metrics);
                    }
                }
                None => {
                    let code = daemon.wait().await?.code();
                    return Ok(Start::Refused(Refusal { code, said: after(&self.log, logged)? }));
                }
            }
        }
    }

    /// The same; an error where it did not become ready.
    pub(crate) async fn start_ready(&self) -> anyhow::Result<Daemon> {
        match self.start().await? {
            Start::Ready(daemon) => Ok(daemon),
            Start::Refused(Refusal { code, said }) => bail!("the daemon ended with {code:?}: {}", said.trim()),
        }
    }
}

/// What a file holds after a place, a MiB of it at most.
fn after(path: &Path, place: u64) -> anyhow::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(place))?;
    let mut bytes = Vec::new();
    file.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the system says of a process in `/proc/PID/status`.
pub(crate) struct Status {
    path: PathBuf,
    text: String,
}

impl Status {
    pub(crate) fn of(id: u32) -> anyhow::Result<Self> {
        let path = PathBuf::from(format!("/proc/{id}/status"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path, text })
    }

    /// A field's number; those of memory are KiB.
    pub(crate) fn number(&self, name: &str) -> anyhow::Result<u64> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        number.with_context(|| format!("{}: no {name}", self.path.display()))
    }
}

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    address: String,
    metrics: String,
}

impl Daemon {
    /// `IP:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// `IP:PORT` of the metrics.
    pub(crate) fn metrics(&self) -> &str {
        &self.metrics
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The same for system calls.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.pid(), signal)?)
    }

    /// Waits for the end.
    pub(crate) async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(began.elapsed() < END_LIMIT, "the daemon had not ended after {END_LIMIT:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// SIGKILL, and waits.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.wait().await?;
        Ok(())
    }

    /// SIGTERM, and waits. Errors: it ended with another code than 0.
    pub(crate) async fn drain(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.wait().await?;
        ensure!(status.success(), "after SIGTERM the daemon ended with {status}");
        Ok(())
    }

    /// What the system says of it.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let folder = PathBuf::from("/proc").join(self.id().to_string());
        let status = Status::of(self.id())?;
        let stat = std::fs::read_to_string(folder.join("stat"))?;
        // The command's name, which may hold anything, ends with the last bracket; user and system time are 12 fields on.
        let times = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: f64 = times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Ok(Usage {
            resident_kib: status.number("VmRSS")?,
            anonymous_kib: status.number("RssAnon")?,
            threads: status.number("Threads")?,
            descriptors: std::fs::read_dir(folder.join("fd"))?.count() as u64,
            processor_seconds: ticks / TICKS,
        })
    }

    /// How it is connected to.
    pub(crate) fn endpoint(&self) -> anyhow::Result<Endpoint> {
        endpoint(&self.address)
    }

    /// A connection of its own.
    pub(crate) async fn channel(&self) -> anyhow::Result<Channel> {
        Ok(self.endpoint()?.connect().await?)
    }
}

/// How a daemon is connected to.
pub(crate) fn endpoint(address: &str) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.tcp_nodelay(true).connect_timeout(CONNECT_LIMIT).timeout(CALL_LIMIT))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself. A stopped one is ended too: SIGKILL needs no SIGCONT.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the system says of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Resident memory.
    pub(crate) resident_kib: u64,
    /// Of that, what no file backs.
    pub(crate) anonymous_kib: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    /// User and system time so far.
    pub(crate) processor_seconds: f64,
}

/// Bytes of the files below a folder; 0 where there is none. What goes away meanwhile does not count.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Value of a series of a page in Prometheus' text form.
pub(crate) fn series(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `GET PATH` over HTTP/1.1: the status and the body.
pub(crate) async fn http_get(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let get = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = Vec::new();
        stream.take(16 << 20).read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(CONNECT_LIMIT, get).await.with_context(|| format!("GET {path}: no answer"))??;
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status.with_context(|| format!("GET {path}: `{answer}`"))?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_their_whole_name() {
        let page = "# HELP a b\nfitment_ready_not 2\nfitment_ready 1\nfitment_errors_total{code=\"INTERNAL\"} 3\n";
        assert_eq!(series(page, "fitment_ready"), Some(1.0));
        assert_eq!(series(page, "fitment_errors_total{code=\"INTERNAL\"}"), Some(3.0));
        assert_eq!(series(page, "fitment_absent"), None);
    }
}
