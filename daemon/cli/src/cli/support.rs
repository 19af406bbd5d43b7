//! `fitment support-dump`: what somebody far away needs to find a fault, and no secret.
//!
//! It is put together from what is known to hold none: the configuration (which has paths of secrets and not secrets), figures,
//! names and sizes of files, the machine. Never read: the store's content, keys, tokens, certificates, intents, values of the
//! environment.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use fitment_proto::v1;
use serde_json::{Value, json};

use super::doctor;
use crate::client::ServerFlags;
use crate::output;
use fitment_server::config::ConfigFlags;

/// Bytes of a page of metrics that are taken at most.
const MAX_METRICS_BYTES: u64 = 8 << 20;
/// Files of the data folder that are named at most.
const MAX_FILES: usize = 10_000;
/// How long the metrics are waited for.
const METRICS_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment support-dump --out support.tar
  tar -xOf support.tar fitment-support/doctor.json

What is in it: the build and the machine, every configuration key with its value and origin, what `fitment doctor` finds, what
the daemon says of itself, its metrics where they are served, names and sizes of the data folder's files. What is not: intents,
manifests, keys, tokens, certificates, values of environment variables. Read it before you send it: names of folders are in it.")]
pub(super) struct SupportArguments {
    /// The file to write; one that is there is not replaced.
    #[arg(long, value_name = "FILE", default_value = "fitment-support.tar")]
    out: PathBuf,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn run(arguments: &SupportArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let SupportArguments { out, server } = arguments;
    let shown = || out.display().to_string();
    let file = fs::File::create_new(out).with_context(shown)?;
    let mut archive = tar::Builder::new(file);
    let mut add = |name: &str, bytes: &[u8]| -> anyhow::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default());
        Ok(archive.append_data(&mut header, format!("fitment-support/{name}"), bytes)?)
    };
    let mut add_json = |name: &str, value: &Value| add(name, serde_json::to_string_pretty(value)?.as_bytes());
    add_json("machine.json", &machine())?;
    add_json("configuration.json", &configuration(flags))?;
    add_json("doctor.json", &json!(doctor::examine(flags, server)?))?;
    let info = super::client_runtime()?.block_on(async {
        let answer = server.info().await?.get_server_info(server.request(v1::GetServerInfoRequest {})).await?;
        output::message_json("fitment.v1.GetServerInfoResponse", &answer.into_inner())
    });
    add_json("server.json", &info.unwrap_or_else(|error| json!({"error": format!("{error:#}")})))?;
    if let Ok(config) = flags.load() {
        add_json("files.json", &files(&config.data_dir))?;
        if let Some(address) = config.metrics {
            match metrics(address) {
                Ok(page) => add("metrics.txt", &page)?,
                Err(error) => add("metrics.txt", format!("# {error:#}\n").as_bytes())?,
            }
        }
    }
    archive.into_inner()?.sync_all().with_context(shown)?;
    output::line(format!("wrote {}; read it before you send it", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The build, the system and what it allows this process.
fn machine() -> Value {
    let first_line =
        |path: &str| fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().to_owned();
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value.trim()).to_owned()
    };
    // Names only: a value may be a secret, and a name that is none of ours is nobody's business.
    let mut variables: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _value)| name.into_string().ok())
        .filter(|name| name.starts_with("FITMENT_"))
        .collect();
    variables.sort();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "time": format!("{:.0}", jiff::Timestamp::now()),
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "kernel": first_line("/proc/version"),
        "processor": field("/proc/cpuinfo", "model name"),
        "threads": fitment_models::available_threads(),
        "memory": field("/proc/meminfo", "MemTotal"),
        "memory_available": field("/proc/meminfo", "MemAvailable"),
        "group_memory": first_line("/sys/fs/cgroup/memory.max"),
        "group_processor": first_line("/sys/fs/cgroup/cpu.max"),
        "open_files": field("/proc/self/limits", "Max open files"),
        "variables_set": variables,
    })
}

/// Every key with its value and origin, or why it cannot be read.
fn configuration(flags: &ConfigFlags) -> Value {
    match flags.origins() {
        Err(error) => json!({"error": format!("{error:#}")}),
        Ok(origins) => origins
            .into_iter()
            .map(|(key, (value, origin))| (key, json!({"value": value, "from": origin})))
            .collect::<serde_json::Map<String, Value>>()
            .into(),
    }
}

/// Names and sizes of what lies in the data folder.
fn files(folder: &Path) -> Value {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .take(MAX_FILES)
        .map(|entry| {
            let path = entry.path().strip_prefix(folder).unwrap_or(entry.path()).display().to_string();
            json!({"path": path, "bytes": entry.metadata().map_or(0, |metadata| metadata.len())})
        })
        .collect()
}

/// The daemon's page of metrics.
fn metrics(address: SocketAddr) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, METRICS_LIMIT).context("the metrics cannot be reached")?;
    stream.set_read_timeout(Some(METRICS_LIMIT))?;
    write!(stream, "GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_METRICS_BYTES).read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
    Ok(answer.split_off(body))
}
