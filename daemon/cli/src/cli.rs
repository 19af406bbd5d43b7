//! The command line: what can be asked, and who answers.

mod access;
mod assembly;
mod audit;
mod bundle;
mod calibrate;
mod catalog;
mod certify;
mod common;
mod configuration;
mod demo;
mod doctor;
mod eval;
mod feedback;
mod fit;
mod gaps;
mod laboratory;
mod matching;
mod migrate;
mod model;
mod ranker;
mod remote;
mod serve;
mod snapshot;
mod support;
mod traces;
mod trust;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory, Parser, Subcommand};

use fitment_engine::{EngineError, Stop, Work};

use crate::output::Steps;
use fitment_server::config::ConfigFlags;

/// Intent in, certified component out.
///
/// A daemon answers an intent in plain words with the certified component that meets it, and says how little must still
/// be generated: nothing, a configuration inside a closed schema, or everything.
#[derive(Debug, Parser)]
#[command(name = "fitment", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigFlags,
}

const EXAMPLES: &str = "\
Examples:
  fitment demo                                   fetch the default model, serve the sample catalogue
  fitment match \"let people pay by card\"         ask the daemon on 127.0.0.1:7411
  fitment catalog import ./components            write a folder of manifests into the daemon's catalogue
  fitment eval --dataset ./intents --split dev   measure the ranking on labelled intents

Exit codes:
  0 done   1 failure   2 wrong command line   3 invalid input   4 not found   5 unavailable
  6 the state forbids it (another model, store in use, name taken)   7 damaged data
  8 an assembly, a configuration, a tree or an installation does not pass
  9 no valid credentials, or they do not cover the call   130 interrupted";

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for as long as the program runs")]
enum Command {
    /// Fetch the default model if absent, load the sample catalogue, serve it and print what to try.
    Demo(demo::DemoArguments),
    /// Serve a catalogue. Never opens an outbound socket.
    Serve(serve::ServeArguments),
    /// Ask a daemon which component meets an intent.
    Match(matching::MatchArguments),
    /// Fetch, import, list and verify encoding models.
    Model(model::ModelArguments),
    /// Read and change a daemon's catalogue.
    Catalog(catalog::CatalogArguments),
    /// Say what became of answers, review labelled intents, watch drift.
    Feedback(feedback::FeedbackArguments),
    /// Show what is asked for and nothing certified meets; draft, link and report.
    Gaps(gaps::GapArguments),
    /// Plan, check, lock, report on and keep assemblies: applications made of certified components.
    Assembly(assembly::AssemblyArguments),
    /// Measure the ranking on labelled intents, in a scratch store; compare two runs.
    Eval(eval::EvalArguments),
    /// Learn how to rank from labelled intents.
    Fit(fit::FitArguments),
    /// Fit the thresholds behind a promise on labelled intents.
    Calibrate(calibrate::CalibrateArguments),
    /// List, show and choose the rankers of a daemon.
    Ranker(ranker::RankerArguments),
    /// Export and check the trail of what was done.
    Audit(audit::AuditArguments),
    /// Take, list, check, restore and prune copies of a catalogue.
    Snapshot(snapshot::SnapshotArguments),
    /// Carry a catalogue across an air gap: one signed file with its certificates, calibrations and models.
    Bundle(bundle::BundleArguments),
    /// Make keys, sign certificates, and say whether a version is certified; files only.
    Certify(certify::CertifyArguments),
    /// Check and show trust roots; files only.
    Trust(trust::TrustArguments),
    /// Check who may what, make API keys, explain decisions; files only.
    Access(access::AccessArguments),
    /// Say whether this installation would serve, and what to do where it would not.
    Doctor(doctor::DoctorArguments),
    /// Write a file with what finds a fault, without secrets.
    SupportDump(support::SupportArguments),
    /// Send the daemon's traces on to a collector.
    Traces(traces::TraceArguments),
    /// Check and show the configuration.
    Config(configuration::ConfigArguments),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  fitment completions bash > ~/.local/share/bash-completion/completions/fitment")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for every command.
    #[command(hide = true, after_help = "Example:\n  fitment man --out ./man1")]
    Man {
        /// A folder that is there; pages of the same names are replaced.
        #[arg(long, value_name = "DIR")]
        out: std::path::PathBuf,
    },
}

/// Runs one command.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { command, config } = arguments;
    match command {
        Command::Demo(arguments) => demo::run(arguments, config),
        Command::Serve(arguments) => serve::run(arguments, config),
        Command::Match(arguments) => matching::run(arguments),
        Command::Model(arguments) => model::run(arguments, &config),
        Command::Catalog(arguments) => catalog::run(arguments),
        Command::Feedback(arguments) => feedback::run(arguments),
        Command::Gaps(arguments) => gaps::run(arguments),
        Command::Assembly(arguments) => assembly::run(arguments),
        Command::Eval(arguments) => eval::run(&arguments, &config),
        Command::Fit(arguments) => fit::run(&arguments, &config),
        Command::Calibrate(arguments) => calibrate::run(&arguments, &config),
        Command::Ranker(arguments) => ranker::run(arguments),
        Command::Audit(arguments) => audit::run(arguments),
        Command::Snapshot(arguments) => snapshot::run(arguments, &config),
        Command::Bundle(arguments) => bundle::run(arguments, &config),
        Command::Certify(arguments) => certify::run(arguments),
        Command::Trust(arguments) => trust::run(arguments),
        Command::Access(arguments) => access::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments, &config),
        Command::SupportDump(arguments) => support::run(&arguments, &config),
        Command::Traces(arguments) => traces::run(arguments),
        Command::Config(arguments) => configuration::run(&arguments, &config),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "fitment", &mut script);
            crate::output::line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { out } => {
            clap_mangen::generate_to(Arguments::command(), &out)
                .with_context(|| format!("the manual pages cannot be written to {}", out.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A runtime for a client's few calls.
fn client_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Runs a daemon to its end. The encoder and the searches have threads of their own.
fn run_daemon(daemon: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    /// What still computes when the daemon has ended gets this long; a commit is done within it, a start-up need not be.
    const LEFTOVERS: Duration = Duration::from_secs(2);
    let runtime = worker_runtime()?;
    let result = runtime.block_on(async {
        fitment_server::daemon::outlive_file_limit();
        daemon.await
    });
    runtime.shutdown_timeout(LEFTOVERS);
    result
}

/// Runs work with an engine in this process, until it is done, or Ctrl-C or SIGTERM come.
fn run_interruptible<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    worker_runtime()?.block_on(async {
        tokio::select! {
            result = work => result,
            () = fitment_server::daemon::termination() => Err(Interrupted.into()),
        }
    })
}

/// Work on files on a thread of its own, with its progress shown; leaving it ends it at its next step.
async fn of_files<T: Send + 'static>(
    work: impl FnOnce(Work<'_>) -> Result<T, EngineError> + Send + 'static,
) -> anyhow::Result<T> {
    /// Left by Ctrl-C.
    struct StopWhenLeft(Stop);
    impl Drop for StopWhenLeft {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let stop = Stop::default();
    let _left = StopWhenLeft(stop.clone());
    let worked = tokio::task::spawn_blocking(move || {
        let steps = Steps::new();
        let tell = |step: &str, done, total| steps.tell(step, done, total);
        let worked = work(Work { tell: &tell, stop: &stop });
        steps.finish();
        worked
    });
    Ok(worked.await??)
}

/// Runs work that looks at a [`Stop`] between its steps; Ctrl-C and SIGTERM ask it to end.
fn run_stoppable<T>(work: impl FnOnce(&Stop) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let stop = Stop::default();
    let asked = stop.clone();
    let runtime = worker_runtime()?;
    runtime.spawn(async move {
        fitment_server::daemon::termination().await;
        asked.stop();
    });
    let done = work(&stop);
    runtime.shutdown_background();
    if stop.check().is_err() { Err(Interrupted.into()) } else { done }
}

/// How long a thread that is there for blocking work waits for more of it. Idle threads are woken by turns, so with tokio's ten
/// seconds the hundreds that one stall of the disk leaves would stay for as long as a few calls a second keep coming.
const IDLE_THREAD: std::time::Duration = std::time::Duration::from_secs(1);

fn worker_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(2).thread_name("rpc").thread_keep_alive(IDLE_THREAD).enable_all().build()?)
}

/// Ctrl-C was pressed.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;
