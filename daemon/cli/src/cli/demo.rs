//! `fitment demo`: from nothing to an answered intent with one command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use fitment_catalog::Digest;
use fitment_engine::{Author, Calibration, Engine, evaluate};
use fitment_models::{ModelCache, TerminalBar};

use crate::output::Steps;
use fitment_server::config::{Config, ConfigFlags, DEFAULT_LISTEN};
use fitment_server::reread::ConfigSource;
use fitment_server::transport::ListenAddress;
use fitment_server::{Tenants, daemon, telemetry};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment demo
  fitment demo --listen 127.0.0.1:0

The sample catalogue is kept in the folder `demo` of the data folder, so that a second start is quick.")]
pub(super) struct DemoArguments {
    /// Address to serve, IP:PORT or `unix:/PATH` [default: 127.0.0.1:7411]; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Print what is served and what to try as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// An intent for each outcome, of the sample catalogue.
const TRY: [(&str, &str); 3] = [
    ("zero generation", "bar chart of revenue per region"),
    ("minimal generation", "take a card payment at checkout"),
    ("raw generation", "tune the strings of my guitar through the microphone"),
];

pub(super) fn run(arguments: DemoArguments, flags: ConfigFlags) -> anyhow::Result<ExitCode> {
    let quiet = ConfigFlags {
        listen: arguments.listen,
        log: Some(flags.log.clone().unwrap_or_else(|| "warn".into())),
        ..flags
    };
    let (mut config, origins) = quiet.load_with_origins()?;
    let source = ConfigSource::new(quiet, origins, telemetry::start(&config)?);
    config.data_dir = config.data_dir.join("demo").join(sample_digest());
    let cache = ModelCache::new(&config.models_dir);
    if cache.get(&config.model).is_err() {
        cache.pull(&config.model, &TerminalBar::new())?;
    }
    super::run_daemon(async {
        let termination = daemon::termination();
        let listeners = daemon::bind(&config).await?;
        let mut addresses = listeners.addresses()?;
        let (address, metrics) = (addresses.swap_remove(0), listeners.metrics_address()?);
        let scheme = if listeners.is_tls() && matches!(address, ListenAddress::Tcp(_)) { "https://" } else { "" };
        let address = format!("{scheme}{address}");
        let handle = tokio::runtime::Handle::current();
        let open = move |config: &Config| open_sample(config, &handle);
        let json = arguments.json;
        let ready = |tenants: &Tenants| {
            let Some(engine) = tenants.first() else { return };
            if json { print_json(engine, &address, metrics) } else { print_guide(engine, &address, metrics) }
        };
        daemon::serve(config, source, listeners, open, ready, termination).await
    })?;
    if !arguments.json {
        crate::output::line("stopped")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn open_sample(config: &Config, handle: &tokio::runtime::Handle) -> anyhow::Result<Tenants> {
    let steps = Steps::new();
    let tell = |what: &str, done: u64, total: u64| steps.tell(what, done, total);
    let engine = daemon::open_engine(config, &tell)?;
    let manifests = fitment_catalog::sample().map(|file| (file.path.to_owned(), file.bytes.to_vec()).into()).collect();
    handle.block_on(evaluate::load(&engine, manifests, &tell))?;
    steps.finish();
    if let Some(calibration) = sample_calibration()?
        && calibration.catalog_digest == engine.catalog_digest()
    {
        engine.put_calibration(calibration, &Author::default())?;
    }
    Ok(Tenants::open_to_all(engine))
}

/// The calibration that ships with the sample catalogue.
fn sample_calibration() -> anyhow::Result<Option<Calibration>> {
    fitment_catalog::sample_calibration()
        .map(|text| serde_json::from_str(text).context("the sample's calibration is not of its form"))
        .transpose()
}

/// Names the state of the sample, so that another version of it gets a store of its own.
fn sample_digest() -> String {
    let mut bytes = Vec::new();
    for file in fitment_catalog::sample() {
        bytes.extend_from_slice(file.path.as_bytes());
        bytes.extend_from_slice(file.bytes);
    }
    let digest = Digest::of(&bytes).to_string();
    digest.rsplit(':').next().unwrap_or_default().chars().take(12).collect()
}

fn print_guide(engine: &Engine, address: &str, metrics: Option<SocketAddr>) {
    let info = engine.info();
    let program = program();
    let server = if address == DEFAULT_LISTEN { String::new() } else { format!(" --server {address}") };
    let lines = TRY.map(|(outcome, intent)| format!("  {program} match{server} \"{intent}\"   # {outcome}"));
    let metrics = metrics.map_or_else(String::new, |address| format!("\nMetrics: http://{address}/metrics."));
    let guide = format!(
        "\nFitment serves {} certified components on {address} (model {}).\nPromise: {}.{metrics}\n\nTry in a second terminal:\n{}\n  \
         {program} match{server} --explain \"restore yesterday's files\"\n  {program} catalog list{server}\n\nStop with Ctrl-C.",
        info.matchable,
        info.model.name,
        info.calibration,
        lines.join("\n")
    );
    // A closed standard output does not stop a daemon.
    drop(std::io::Write::write_all(&mut std::io::stdout(), format!("{guide}\n").as_bytes()));
}

fn print_json(engine: &Engine, address: &str, metrics: Option<SocketAddr>) {
    let info = engine.info();
    let tried = TRY.map(|(outcome, intent)| serde_json::json!({"outcome": outcome, "intent": intent}));
    let line = serde_json::json!({
        "address": address,
        "metrics": metrics.map(|address| format!("http://{address}/metrics")),
        "components": info.matchable,
        "model": info.model.name,
        "promise": info.calibration,
        "try": tried,
    });
    drop(std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes()));
}

/// How this binary can be called from here.
fn program() -> String {
    let relative = || -> Option<PathBuf> {
        let program = std::env::current_exe().ok()?;
        let here = std::env::current_dir().ok()?;
        Some(program.strip_prefix(&here).map(PathBuf::from).unwrap_or(program))
    };
    relative().map_or_else(|| "fitment".to_owned(), |path| path.display().to_string())
}
