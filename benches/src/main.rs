//! `fitment-load`: loads a running daemon, one of its own, or the encoder alone, and says how fast it answered and what it held.
//!
//! Talks to loopback only, and is bounded in count and time.

mod assemblies;
mod calls;
mod chaos;
mod forward;
mod import;
mod index;
mod overload;
mod process;
mod read;
mod recall;
mod signer;
mod soak;
mod texts;
mod vectors;

use anyhow::ensure;
use clap::{Parser, Subcommand};
use tonic::transport::{Channel, Endpoint};

/// Measures a running daemon.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  fitment-load import --tsv packages.tsv --name-column 0 --summary-column 4 --count 100000
  fitment-load match --clients 32 --count 2000
  fitment-load match --clients 32 --rate 400 --count 4000
  fitment-load overload --factor 10 --deadline-ms 1000 --pid 4711
  fitment-load assemblies --count 10000 --parts 50
  fitment-load forward --tokens 16,128 --batches 1,32
  fitment-load read --tokens 16,128
  fitment-load recall --segment DATA/index/dense.segment --queries 500
  fitment-load vectors --tsv packages.tsv --summary-column 4 --count 1000000 --out VECTORS
  sudo fitment-load chaos --fitment target/release/fitment --rounds 5 --out chaos.json
  fitment-load soak --fitment target/release/fitment --minutes 60 --out soak
  fitment-load index --vectors VECTORS --count 100000 --segment bench.segment --upserts 1000")]
struct Arguments {
    /// Address of the daemon, on loopback.
    #[arg(long, default_value = "127.0.0.1:7411", global = true)]
    server: std::net::SocketAddr,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send intents from a number of clients, each waiting for its answer.
    Match(calls::LoadArguments),
    /// Send texts to be encoded, one a call.
    Embed(calls::LoadArguments),
    /// Import components made from the names and summaries of a table.
    Import(import::ImportArguments),
    /// Send more than a daemon can take, and say what it accepts, refuses and costs.
    Overload(overload::OverloadArguments),
    /// Inject faults into a daemon of its own, and hold it against all that was acknowledged.
    Chaos(chaos::ChaosArguments),
    /// Load a daemon of its own for a long time, and say whether its memory and descriptors grow.
    Soak(soak::SoakArguments),
    /// Keep many assemblies, and time who is touched by a version.
    Assemblies(assemblies::AssembliesArguments),
    /// Time the encoder in this process, without a daemon.
    Forward(forward::ForwardArguments),
    /// Time reading texts into tokens in this process, by one thread and by several.
    Read(read::ReadArguments),
    /// Compare the served graph with exact search on the same vectors.
    Recall(recall::RecallArguments),
    /// Encode the rows of tables into files of vectors, for `index` and for peers.
    Vectors(vectors::VectorsArguments),
    /// Time the dense index in this process: build, open, recall against speed, filters, and searches while it is written to.
    Index(index::IndexArguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.server.ip().is_loopback(), "{} is not on loopback; load is for loopback only", arguments.server);
    let endpoint = Endpoint::from_shared(format!("http://{}", arguments.server))?.tcp_nodelay(true);
    match arguments.command {
        Command::Match(arguments) => calls::run(calls::Call::Match, &endpoint, &arguments).await,
        Command::Embed(arguments) => calls::run(calls::Call::Embed, &endpoint, &arguments).await,
        Command::Overload(arguments) => overload::run(&endpoint, &arguments).await,
        Command::Chaos(arguments) => until_told(chaos::run(&arguments)).await,
        Command::Soak(arguments) => until_told(soak::run(&arguments)).await,
        Command::Import(arguments) => import::run(connect(&endpoint).await?, &arguments).await,
        Command::Assemblies(arguments) => assemblies::run(connect(&endpoint).await?, &arguments).await,
        Command::Forward(arguments) => forward::run(&arguments),
        Command::Read(arguments) => read::run(&arguments),
        Command::Vectors(arguments) => vectors::run(&arguments),
        Command::Index(arguments) => index::run(&arguments),
        Command::Recall(arguments) => recall::run(connect(&endpoint).await?, &arguments).await,
    }
}

/// Runs until the end or until SIGINT or SIGTERM comes: a daemon that was started ends with what started it.
async fn until_told(run: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        ended = run => ended,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

async fn connect(endpoint: &Endpoint) -> anyhow::Result<Channel> {
    Ok(endpoint.connect().await?)
}

/// Prints one line.
#[expect(clippy::print_stdout, reason = "figures are this program's output")]
fn print(line: &str) {
    println!("{line}");
}
