//! The checks. Each says what it found and never fails itself.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use fitment_engine::{EngineError, stored_model};
use fitment_models::{CheckState, ModelCache, TextRole};
use fitment_proto::v1;
use fitment_server::config::Config;
use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::client::{ServerFlags, Unreachable};

/// Free bytes under which a catalogue may soon be unable to grow: a seal writes the index beside the old one.
const LITTLE_SPACE: u64 = 1 << 30;
/// The same, under which writes fail any moment.
const NO_SPACE: u64 = 64 << 20;
/// Descriptors that a daemon with many callers needs.
const DESCRIPTORS: u64 = 4096;
/// Bytes of memory that the default model, its threads and a small catalogue need.
const MEMORY: u64 = 512 << 20;
/// How far a clock may be behind the files that it dated.
const CLOCK_SLACK: Duration = Duration::from_secs(120);

/// A folder that the daemon writes to.
pub(super) fn folder(name: &'static str, folder: &Path, flag: &str) -> Check {
    let shown = folder.display();
    if !folder.exists() {
        return Check::ok(name, format!("{shown} does not exist yet; it is made when it is needed"));
    }
    let metadata = match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_file) => return Check::failure(name, format!("{shown} is no folder"), format!("name another with {flag}")),
        Err(error) => return Check::failure(name, format!("{shown}: {error}"), format!("name another with {flag}")),
    };
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    let tried = File::create_new(&probe).and_then(|_file| fs::remove_file(&probe));
    if let Err(error) = tried {
        let way_out = format!("give the daemon's user write permission, or name another folder with {flag}");
        return Check::failure(name, format!("{shown} cannot be written: {error}"), way_out);
    }
    let mode = metadata.permissions().mode();
    if mode & 0o022 != 0 {
        let found = format!("{shown} can be written by others (mode {:o})", mode & 0o7777);
        return Check::warning(name, found, format!("chmod go-w {shown}"));
    }
    Check::ok(name, format!("{shown} can be written"))
}

/// Room on the disk of a folder.
pub(super) fn space(folder: &Path) -> Check {
    const NAME: &str = "disk";
    // The nearest folder that is there already.
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else {
        return Check::failure(NAME, "no folder of its path exists", "name another with --data-dir");
    };
    match rustix::fs::statvfs(there) {
        Err(error) => Check::warning(NAME, format!("cannot be asked: {error}"), ""),
        Ok(figures) => {
            let free = figures.f_bavail.saturating_mul(figures.f_frsize);
            let found = format!("{} MiB are free", free >> 20);
            match free {
                ..NO_SPACE => Check::failure(NAME, found, "free some space: writes fail, matching goes on"),
                NO_SPACE..LITTLE_SPACE => Check::warning(NAME, found, "free some space"),
                _ => Check::ok(NAME, found),
            }
        }
    }
}

/// The catalogue's store.
pub(super) fn store(config: &Config, is_running: bool) -> Check {
    const NAME: &str = "store";
    if !config.data_dir.join("catalog.redb").exists() {
        return Check::ok(NAME, "there is none yet; the first start makes it");
    }
    match stored_model(&config.data_dir, config.store_cache_bytes) {
        Ok((_, None)) => Check::ok(NAME, "every page was checked; no model has served it yet"),
        Ok((_, Some(model))) if config.model_is_chosen && model.name != config.model => Check::failure(
            NAME,
            format!("embedded by {}, and the configuration names {}", model.name, config.model),
            "leave the key `model` out, or change the model with `fitment model migrate NAME --switch`",
        ),
        Ok((_, Some(model))) => Check::ok(NAME, format!("every page was checked; embedded by {}", model.name)),
        Err(EngineError::StoreInUse { .. }) if is_running => Check::ok(NAME, "a daemon has it open"),
        Err(error @ EngineError::StoreInUse { .. }) => {
            Check::warning(NAME, error.to_string(), "say where that daemon listens with --server")
        }
        Err(error) => Check::failure(NAME, error.to_string(), "restore a snapshot with `fitment snapshot restore`"),
    }
}

/// The model's files, and whether this machine runs it.
pub(super) fn model(config: &Config) -> Vec<Check> {
    const FILES: &str = "model";
    const RUNS: &str = "encoder";
    let cache = ModelCache::new(&config.models_dir);
    let name = match stored_model(&config.data_dir, config.store_cache_bytes) {
        Ok((_, Some(stored))) if !config.model_is_chosen && !stored.name.is_empty() => stored.name,
        _ => config.model.clone(),
    };
    let pull = format!("`fitment model pull {name}`, or `fitment model import PATH` without a network");
    let installed = match cache.get(&name) {
        Ok(installed) => installed,
        Err(error) => return vec![Check::failure(FILES, error.to_string(), pull)],
    };
    let mut checks = vec![match cache.verify(&name) {
        Err(error) => Check::failure(FILES, error.to_string(), pull.clone()),
        Ok(files) => match files.iter().find(|file| file.state != CheckState::Good) {
            Some(file) => {
                Check::failure(FILES, format!("{name}: {} is not what was promised", file.path), pull.clone())
            }
            None => Check::ok(FILES, format!("{name}: {} files have their sha256", files.len())),
        },
    }];
    checks.push(match fitment_models::load(&installed, &config.encoder) {
        Err(error) => {
            Check::failure(RUNS, error.to_string(), "set encoder.kernel and encoder.device to `auto` and `cpu`")
        }
        Ok(embedder) => {
            let started = Instant::now();
            let encoded = embedder
                .adopt_caller()
                .and_then(|()| embedder.embed(&["take a card payment at checkout"], TextRole::Query));
            let compute = &embedder.info().compute;
            match encoded {
                Err(error) => Check::failure(RUNS, error.to_string(), "set encoder.kernel to `candle`"),
                Ok(_vectors) => Check::ok(
                    RUNS,
                    format!(
                        "{} on {} threads, {}; a first text in {:.1} ms",
                        compute.kernel,
                        compute.threads,
                        compute.precision,
                        started.elapsed().as_secs_f64() * 1e3
                    ),
                ),
            }
        }
    });
    checks
}

/// Files and connections that a process may have open.
pub(super) fn file_limit() -> Check {
    const NAME: &str = "descriptors";
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < DESCRIPTORS => {
            let way_out = format!("raise it: `ulimit -n {DESCRIPTORS}`, or LimitNOFILE in the unit");
            Check::warning(NAME, format!("at most {limit}"), way_out)
        }
        Some(limit) => Check::ok(NAME, format!("at most {limit}")),
        None => Check::ok(NAME, "no limit"),
    }
}

/// Memory that is left, where the kernel says so.
pub(super) fn memory() -> Check {
    const NAME: &str = "memory";
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map(|kilobytes| kilobytes << 10);
    // The group's own limit may be far below the machine's.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let Some(least) = [available, limit].into_iter().flatten().min() else {
        return Check::ok(NAME, "this system does not say how much is left");
    };
    let found = format!("{} MiB may be had", least >> 20);
    if least < MEMORY {
        return Check::warning(NAME, found, format!("give it at least {} MiB", MEMORY >> 20));
    }
    Check::ok(NAME, found)
}

/// Whether the clock runs behind what was written by it: certificates and lifetimes are judged by it.
pub(super) fn clock(data_dir: &Path) -> Check {
    const NAME: &str = "clock";
    let now = SystemTime::now();
    let written = fs::metadata(data_dir.join("catalog.redb")).and_then(|metadata| metadata.modified());
    let shown =
        jiff::Timestamp::try_from(now).map_or_else(|_early| "before its era".to_owned(), |now| format!("{now:.0}"));
    match written {
        Ok(written) if written.duration_since(now).is_ok_and(|ahead| ahead > CLOCK_SLACK) => Check::failure(
            NAME,
            format!("it shows {shown}, and the store was written later than that"),
            "set the clock: certificates and lifetimes are judged by it",
        ),
        _ => Check::ok(NAME, shown),
    }
}

/// The addresses to serve, the certificate and the document of who may what: all that a start reads before it listens.
pub(super) async fn address(config: &Config, is_running: bool) -> Check {
    const NAME: &str = "address";
    let addresses: Vec<String> = config.transport.listen.iter().map(ToString::to_string).collect();
    let addresses = addresses.join(", ");
    match fitment_server::daemon::bind(config).await {
        Ok(listeners) => {
            let tls = if listeners.is_tls() { "; the certificate can be used" } else { "" };
            let access = if config.access.is_some() { "; the access document can be used" } else { "" };
            Check::ok(NAME, format!("{addresses} can be had{tls}{access}"))
        }
        Err(error) if is_running && is_taken(&error) => Check::ok(NAME, format!("{addresses}: a daemon has it")),
        Err(error) => Check::failure(NAME, format!("{error:#}"), "mend what it names, or choose another with `listen`"),
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    let taken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(taken))
}

/// A daemon that runs already.
pub(super) async fn daemon(server: &ServerFlags) -> Check {
    const NAME: &str = "daemon";
    const OWN: &str = env!("CARGO_PKG_VERSION");
    let asked = async {
        let mut info = server.info().await?;
        anyhow::Ok(info.get_server_info(server.request(v1::GetServerInfoRequest {})).await?.into_inner())
    };
    match asked.await {
        Ok(info) if !info.ready => Check::warning(NAME, "it is still loading", "ask again in a moment"),
        Ok(info) if info.version != OWN => Check::warning(
            NAME,
            format!("version {} serves, and this is {OWN}", info.version),
            "restart the daemon with the new binary",
        ),
        Ok(info) => {
            let catalog = info.catalog.unwrap_or_default();
            let found = format!("serves {} versions at revision {}", catalog.versions, catalog.revision);
            match catalog.calibration_id.as_str() {
                "" => Check::ok(NAME, format!("{found}; no promise: {}", catalog.calibration)),
                _ => Check::ok(NAME, format!("{found}; {}", catalog.calibration)),
            }
        }
        Err(error) if error.downcast_ref::<Unreachable>().is_some() => {
            Check { state: super::State::Warning, ..Check::ok(NAME, "none answers") }
        }
        Err(error) => Check::warning(NAME, format!("{error:#}"), "give it credentials that it knows"),
    }
}
