//! Running the real binary in tests: building it, starting a daemon on a free port, stopping or killing it.
//!
//! A daemon started here is ended when its handle is dropped; nothing else is ever signalled.

mod dice;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_proto::v1::feedback_service_client::FeedbackServiceClient;
use fitment_proto::v1::info_service_client::InfoServiceClient;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use tonic::transport::Channel;

pub use self::dice::Dice;

/// How long a daemon may take to come up; generous, since tests share two cores.
const START_LIMIT: Duration = Duration::from_secs(300);

/// What stands before the metrics' address where a daemon prints it.
const METRICS: &str = "metrics on http://";

/// The default model.
pub const MODEL: &str = "all-MiniLM-L6-v2";

/// The workspace's root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Path of the `fitment` binary, built once for this process in the profile of the tests.
pub fn binary() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BINARY
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow::anyhow!(error.clone()))
}

fn build() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("FITMENT_BIN") {
        return Ok(path.into());
    }
    // The test binary lies in TARGET/PROFILE/deps.
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("the test binary lies in no target folder")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With a test named, dependencies have the features that `cargo test` gave them: nothing is compiled a second time.
    cargo.args(["build", "--workspace", "--bin", "fitment", "--test", "it"]).current_dir(workspace());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // What `cargo test` says of this package is no concern of the build: build scripts that look at it would run again, and all
    // that stands on them would be compiled again.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"]
            .iter()
            .any(|ours| name_text.starts_with(ours))
        {
            cargo.env_remove(name);
        }
    }
    ensure!(cargo.status()?.success(), "`cargo build --workspace --bin fitment --test it` failed");
    Ok(profile.join("fitment"))
}

/// A command of the binary, with an environment that holds nothing of the caller's configuration.
pub fn fitment() -> anyhow::Result<Command> {
    Ok(command(binary()?))
}

/// The same of another binary.
pub fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        let ours = name.to_string_lossy().starts_with("FITMENT_");
        if ours && name != "FITMENT_MODELS_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Fetches the default model once for this process.
pub fn pull_model() -> anyhow::Result<()> {
    static PULLED: OnceLock<Result<(), String>> = OnceLock::new();
    PULLED
        .get_or_init(|| {
            let pull = || -> anyhow::Result<()> {
                let output = fitment()?.args(["model", "pull", MODEL]).output()?;
                ensure!(output.status.success(), "{}", text(&output.stderr));
                Ok(())
            };
            pull().map_err(|error| format!("{error:#}"))
        })
        .clone()
        .map_err(|error| anyhow::anyhow!(error))
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(fitment()?.args(arguments).output()?)
}

/// Bytes of an output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    address: String,
    metrics: Option<String>,
    log: Option<JoinHandle<String>>,
}

impl Daemon {
    /// `fitment serve` on a free port, ready to answer.
    pub fn serve(data_dir: &Path, more: &[&str]) -> anyhow::Result<Self> {
        pull_model()?;
        let mut command = fitment()?;
        command.arg("serve").args(["--listen", "127.0.0.1:0"]).arg("--data-dir").arg(data_dir).args(more);
        Self::start(command, "listening on ", "ready")
    }

    /// `fitment serve`, killed so long after its start, ready or not.
    pub fn serve_and_kill(data_dir: &Path, after: Duration) -> anyhow::Result<()> {
        pull_model()?;
        let mut command = fitment()?;
        command.arg("serve").args(["--listen", "127.0.0.1:0"]).arg("--data-dir").arg(data_dir);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Nothing is waited for: this is when the kill comes.
        thread::sleep(after);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// `fitment demo` on a free port, ready to answer.
    pub fn demo(data_dir: &Path) -> anyhow::Result<Self> {
        let mut command = fitment()?;
        command.arg("demo").args(["--listen", "127.0.0.1:0"]).arg("--data-dir").arg(data_dir);
        Self::start(command, "components on ", "Stop with Ctrl-C.")
    }

    /// Starts a command and waits until it has printed its address after `before` and a line that is `ready`.
    fn start(mut command: Command, before: &str, ready: &str) -> anyhow::Result<Self> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("spawn")?;
        let log = child.stderr.take().map(keep_log);
        let output = child.stdout.take().context("no standard output")?;
        let mut daemon = Self { child, address: String::new(), metrics: None, log };
        let (lines, received) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens after the start; the pipe is drained all the same.
                drop(lines.send(line));
            }
        });
        loop {
            match received.recv_timeout(START_LIMIT) {
                Ok(line) if line.contains(before) && daemon.address.is_empty() => {
                    let rest = line.split(before).nth(1).unwrap_or_default();
                    rest.split_whitespace().next().unwrap_or_default().clone_into(&mut daemon.address);
                }
                Ok(line) if line.starts_with(METRICS) => {
                    daemon.metrics =
                        line.strip_prefix(METRICS).and_then(|rest| rest.split('/').next()).map(str::to_owned);
                }
                Ok(line) if line.trim() == ready => return Ok(daemon),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("the daemon was not ready within {START_LIMIT:?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = daemon.child.wait()?;
                    bail!("the daemon ended with {status}: {}", daemon.take_log());
                }
            }
        }
    }

    /// `IP:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `IP:PORT` of the metrics, where they are on.
    pub fn metrics(&self) -> Option<&str> {
        self.metrics.as_deref()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A connection.
    pub async fn channel(&self) -> anyhow::Result<Channel> {
        Ok(Channel::from_shared(format!("http://{}", self.address))?.connect().await?)
    }

    /// A client for intents.
    pub async fn matcher(&self) -> anyhow::Result<MatcherServiceClient<Channel>> {
        Ok(MatcherServiceClient::new(self.channel().await?).max_encoding_message_size(64 << 20))
    }

    /// A client for the catalogue.
    pub async fn catalog(&self) -> anyhow::Result<CatalogServiceClient<Channel>> {
        Ok(CatalogServiceClient::new(self.channel().await?).max_encoding_message_size(64 << 20))
    }

    /// A client for verdicts.
    pub async fn feedback(&self) -> anyhow::Result<FeedbackServiceClient<Channel>> {
        Ok(FeedbackServiceClient::new(self.channel().await?))
    }

    /// A client for server information.
    pub async fn info(&self) -> anyhow::Result<InfoServiceClient<Channel>> {
        Ok(InfoServiceClient::new(self.channel().await?))
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal("-TERM")
    }

    /// SIGHUP, without waiting.
    pub fn hang_up(&self) -> anyhow::Result<()> {
        self.signal("-HUP")
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill failed");
        Ok(())
    }

    /// Waits for the end. Returns the status and the log.
    pub async fn wait(mut self) -> anyhow::Result<(ExitStatus, String)> {
        tokio::task::spawn_blocking(move || {
            let status = self.child.wait()?;
            Ok((status, self.take_log()))
        })
        .await?
    }

    /// SIGKILL, and waits.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn take_log(&mut self) -> String {
        self.log.take().and_then(|log| log.join().ok()).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn keep_log(mut stderr: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut log = Vec::new();
        // What cannot be read is not worth failing for.
        drop(stderr.read_to_end(&mut log));
        text(&log)
    })
}

/// A valid manifest, as YAML.
pub fn manifest(name: &str, version: &str, summary: &str) -> String {
    format!(
        "name: {name}\nversion: {version}\ntitle: {title}\nsummary: {summary}\nkind: service\nlifecycle: certified\n\
         license: Apache-2.0\nowner: team-tests\ntags: [tests]\n",
        title = name.replace(['/', '-'], " ")
    )
}
