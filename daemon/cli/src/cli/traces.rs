//! `fitment traces`: what `serve` wrote of its calls, on its way to a collector.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::output::{self, Invalid};

/// How often a file that has come to its end is looked at again.
const LOOK: Duration = Duration::from_millis(500);
/// Pauses between attempts at a collector that does not take spans: doubled from the first up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of one line at most.
const MAX_LINE: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment traces forward /var/log/fitment/spans.jsonl --to http://127.0.0.1:4317
  fitment traces forward spans.jsonl --to http://127.0.0.1:4317 --until-end

The daemon opens no outbound socket and writes its spans to the file that `traces.file` names (docs/operations.md); this command
is the one that talks to a collector, over OTLP/gRPC. Collectors can also read the file themselves.")]
pub(super) struct TraceArguments {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TraceCommand {
    /// Send a file's spans to a collector, and those that are still to come.
    Forward {
        /// The file that the daemon writes.
        file: PathBuf,
        /// The collector's OTLP/gRPC endpoint.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4317")]
        to: String,
        /// End with the file instead of waiting for more.
        #[arg(long)]
        until_end: bool,
        /// Begin with what is written from now on.
        #[arg(long, conflicts_with = "until_end")]
        from_now: bool,
    },
}

pub(super) fn run(arguments: TraceArguments) -> anyhow::Result<ExitCode> {
    let TraceCommand::Forward { file, to, until_end, from_now } = arguments.command;
    super::run_interruptible(forward(&file, &to, until_end, from_now))?;
    Ok(ExitCode::SUCCESS)
}

async fn forward(path: &Path, to: &str, until_end: bool, from_now: bool) -> anyhow::Result<()> {
    let endpoint = Endpoint::from_shared(to.to_owned())
        .map_err(|_no_url| Invalid(format!("`{to}` is no URL; write for example http://127.0.0.1:4317")))?;
    let mut collector = TraceServiceClient::new(endpoint.connect_lazy());
    let mut lines = Lines::open(path, from_now).await?;
    let mut sent = 0usize;
    loop {
        while let Some(line) = lines.next().await? {
            let request: ExportTraceServiceRequest = serde_json::from_slice(&line)
                .map_err(|error| Invalid(format!("{}: a line is no OTLP: {error}", path.display())))?;
            sent += spans_of(&request);
            send(&mut collector, request).await?;
        }
        if until_end {
            output::line(format!("sent {sent} spans"))?;
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        lines.follow().await?;
    }
}

fn spans_of(request: &ExportTraceServiceRequest) -> usize {
    request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
}

/// Sends until the collector takes it; a collector that refuses for good is an error.
async fn send(collector: &mut TraceServiceClient<Channel>, request: ExportTraceServiceRequest) -> anyhow::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        match collector.export(request.clone()).await {
            Ok(_taken) => return Ok(()),
            // The codes that OTLP calls retryable.
            Err(status)
                if matches!(
                    status.code(),
                    Code::Unavailable
                        | Code::Cancelled
                        | Code::DeadlineExceeded
                        | Code::Aborted
                        | Code::OutOfRange
                        | Code::DataLoss
                        | Code::ResourceExhausted
                ) =>
            {
                output::warn(format!("the collector does not take spans ({}); again in {pause:?}", status.message()));
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LAST_PAUSE);
            }
            Err(status) => return Err(status).context("the collector refuses the spans"),
        }
    }
}

/// Whole lines of a file that grows, and of the one that takes its place.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    /// What is there of a line whose end is still to come.
    begun: Vec<u8>,
}

impl Lines {
    async fn open(path: &Path, at_end: bool) -> anyhow::Result<Self> {
        let mut file = File::open(path).await.with_context(|| path.display().to_string())?;
        if at_end {
            file.seek(SeekFrom::End(0)).await?;
        }
        Ok(Self { path: path.to_path_buf(), reader: BufReader::new(file), begun: Vec::new() })
    }

    /// The next whole line; `None` where there is none yet.
    async fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let left = MAX_LINE.saturating_sub(self.begun.len() as u64);
        (&mut self.reader).take(left).read_until(b'\n', &mut self.begun).await?;
        if self.begun.last() == Some(&b'\n') {
            return Ok(Some(std::mem::take(&mut self.begun)));
        }
        if self.begun.len() as u64 >= MAX_LINE {
            return Err(Invalid(format!("{}: a line is longer than {MAX_LINE} bytes", self.path.display())).into());
        }
        Ok(None)
    }

    /// Goes on to the file that has taken the place of the one that was read to its end.
    async fn follow(&mut self) -> anyhow::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let Ok(there) = tokio::fs::metadata(&self.path).await else { return Ok(()) };
        let read = self.reader.get_ref().metadata().await?;
        if (there.dev(), there.ino()) != (read.dev(), read.ino()) && self.begun.is_empty() {
            *self = Self::open(&self.path, false).await?;
        }
        Ok(())
    }
}
