//! `fitment serve`.

use std::process::ExitCode;

use crate::output::Steps;
use fitment_server::config::ConfigFlags;
use fitment_server::reread::ConfigSource;
use fitment_server::{Tenants, daemon, telemetry};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment serve
  fitment serve --listen 127.0.0.1:0 --data-dir ./data --model all-mpnet-base-v2
  FITMENT_LISTEN=127.0.0.1:9000 fitment serve --config fitment.toml

Each address that is served is printed on standard output as `listening on ADDR` as soon as calls are taken, that of the
metrics as `metrics on URL` where they are on (`metrics.listen`), and `ready` once intents are answered. SIGTERM and Ctrl-C drain and end with code 0;
a second one ends at once. SIGHUP has certificates, the access document, limits and the log's filter read again.")]
pub(super) struct ServeArguments {
    /// Address to serve, IP:PORT or `unix:/PATH` [default: 127.0.0.1:7411]; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

pub(super) fn run(arguments: ServeArguments, flags: ConfigFlags) -> anyhow::Result<ExitCode> {
    let flags = ConfigFlags { listen: arguments.listen, ..flags };
    let (config, origins) = flags.load_with_origins()?;
    let source = ConfigSource::new(flags, origins, telemetry::start(&config)?);
    super::run_daemon(async {
        // A signal that comes while the engine is loading must be heard too.
        let termination = daemon::termination();
        let listeners = daemon::bind(&config).await?;
        for address in listeners.addresses()? {
            crate::output::line(format!("listening on {address}"))?;
        }
        if let Some(address) = listeners.metrics_address()? {
            crate::output::line(format!("metrics on http://{address}/metrics"))?;
        }
        let open = |config: &fitment_server::config::Config| {
            let steps = Steps::new();
            let tenants = daemon::open_tenants(config, &|what, done, total| steps.tell(what, done, total));
            steps.finish();
            tenants
        };
        let ready = |tenants: &Tenants| {
            for (tenant, engine) in tenants.iter() {
                let info = engine.info();
                tracing::info!(
                    tenant,
                    model = info.model.name,
                    kernel = info.model.compute.kernel,
                    threads = info.model.compute.threads,
                    versions = info.versions,
                    matchable = info.matchable,
                    vectors = info.vectors,
                    revision = info.revision,
                    calibration = info.calibration,
                    "ready"
                );
            }
            // A closed standard output does not stop a daemon.
            drop(std::io::Write::write_all(&mut std::io::stdout(), b"ready\n"));
        };
        daemon::serve(config, source, listeners, open, ready, termination).await
    })?;
    Ok(ExitCode::SUCCESS)
}
