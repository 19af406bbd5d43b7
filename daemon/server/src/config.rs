//! Configuration: a TOML file, then `FITMENT_*` variables, then flags; later ones win and unknown keys are refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use fitment_engine::{CatalogPolicy, EncoderLimits, FeedbackPolicy, GapPolicy, Patience, Ranking};
use fitment_models::{LoadOptions, available_threads};
use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::caller::DEFAULT_TENANT;
use crate::limits::Limits;
use crate::traces::{IntentPrivacy, TraceConfig};
use crate::transport::{self, Consent, RawHttp2, RawListen, RawTls, TransportConfig};

/// Address that is served when none is given.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7411";

/// More threads than any machine that runs this has.
const MAX_ENCODER_THREADS: usize = 1024;
/// Past this there is no less urgent thread.
const MAX_NICE: u8 = 19;

/// Tokens of a forward pass: from a short text's to what takes a small model a second.
const BATCH_TOKENS: std::ops::RangeInclusive<usize> = 64..=65_536;

/// Bytes of a file of traces: from some hundred calls' to a terabyte.
const TRACE_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=1 << 40;
/// Tokens that may wait: from one long text's to what takes a small model minutes.
const QUEUE_TOKENS: std::ops::RangeInclusive<usize> = 512..=4_194_304;

/// Bytes of a store's pages in memory.
const STORE_CACHE_BYTES: std::ops::RangeInclusive<usize> = 1 << 20..=1 << 40;

/// Longest waits.
const QUEUE_MILLIS: std::ops::RangeInclusive<u64> = 1..=600_000;

/// Variables with the prefix that are no configuration keys.
const OTHER_VARIABLES: [&str; 11] = [
    "config",
    "server",
    "ca",
    "client_cert",
    "client_key",
    "api_key",
    "api_key_file",
    "token_file",
    "actor",
    "intents_dir",
    "bin",
];

/// Keys whose variables are text whatever they look like: a folder may be called `2026`.
const TEXT_KEYS: [&str; 20] = [
    "listen",
    "unix_socket",
    "unix_socket_mode",
    "insecure_plaintext_on_network",
    "insecure_anonymous_on_network",
    "tls__certificate",
    "tls__key",
    "tls__client_ca",
    "tls__client_auth",
    "tls__min_version",
    "data_dir",
    "models_dir",
    "model",
    "log",
    "log_format",
    "metrics__listen",
    "metrics__insecure_plaintext_on_network",
    "snapshots__dir",
    "traces__file",
    "access__file",
];

/// The variables of [`TEXT_KEYS`], unparsed.
struct TextVariables;

impl Provider for TextVariables {
    fn metadata(&self) -> Metadata {
        Metadata::named("`FITMENT_` environment variable")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let variable = |key: &str| std::env::var(format!("FITMENT_{}", key.to_uppercase())).ok();
        let mut set = Dict::new();
        for key in TEXT_KEYS {
            let Some(value) = variable(key) else { continue };
            let (keys, key) = match key.split_once("__") {
                None => (&mut set, key),
                Some((section, key)) => {
                    let section = set.entry(section.to_owned()).or_insert_with(|| Dict::new().into());
                    // Each of them was made here.
                    let Value::Dict(_, keys) = section else { continue };
                    (keys, key)
                }
            };
            keys.insert(key.to_owned(), value.into());
        }
        Ok(Map::from([(Profile::Default, set)]))
    }
}

/// What a file, the environment and flags may say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    listen: String,
    unix_socket: String,
    unix_socket_mode: String,
    insecure_plaintext_on_network: String,
    insecure_anonymous_on_network: String,
    tls: RawTls,
    http2: RawHttp2,
    data_dir: Option<PathBuf>,
    models_dir: Option<PathBuf>,
    model: String,
    max_request_bytes: usize,
    queue_capacity: usize,
    drain_seconds: usize,
    log: String,
    log_format: LogFormat,
    metrics: RawMetrics,
    encoder: RawEncoder,
    store: RawStore,
    ranking: Ranking,
    feedback: FeedbackPolicy,
    catalog: CatalogPolicy,
    gaps: GapPolicy,
    limits: Limits,
    snapshots: RawSnapshots,
    access: RawAccess,
    traces: RawTraces,
    log_intents: IntentPrivacy,
}

/// Where snapshots lie.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSnapshots {
    /// `None`: `snapshots` in the data folder.
    dir: Option<PathBuf>,
}

/// Who may what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccess {
    /// Empty: nobody is asked who they are.
    file: PathBuf,
}

/// What is traced, and where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTraces {
    /// Empty: nowhere.
    file: PathBuf,
    ratio: f64,
    max_bytes: u64,
}

impl Default for RawTraces {
    fn default() -> Self {
        Self { file: PathBuf::new(), ratio: 0.01, max_bytes: 64 << 20 }
    }
}

impl RawTraces {
    fn check(self, intents: IntentPrivacy) -> anyhow::Result<Option<TraceConfig>> {
        let Self { file, ratio, max_bytes } = self;
        if !(0.0..=1.0).contains(&ratio) {
            bail!("traces.ratio: {ratio} is out of range 0..=1");
        }
        if !TRACE_BYTES.contains(&max_bytes) {
            let (least, most) = (TRACE_BYTES.start(), TRACE_BYTES.end());
            bail!("traces.max_bytes: {max_bytes} is out of range {least}..={most}");
        }
        Ok((!file.as_os_str().is_empty()).then_some(TraceConfig { file, ratio, max_bytes, intents }))
    }
}

/// Where metrics are served.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    /// Empty: nowhere.
    listen: String,
    insecure_plaintext_on_network: String,
}

impl RawMetrics {
    fn check(self) -> anyhow::Result<Option<SocketAddr>> {
        let Self { listen, insecure_plaintext_on_network } = self;
        let consent = Consent::of(
            "metrics.insecure_plaintext_on_network",
            &insecure_plaintext_on_network,
            transport::METRICS_SENTENCE,
        )?;
        if listen.is_empty() {
            return Ok(None);
        }
        let address: SocketAddr = listen
            .parse()
            .with_context(|| format!("metrics.listen: `{listen}` is not IP:PORT, for example 127.0.0.1:9464"))?;
        if !address.ip().is_loopback() {
            let danger = format!(
                "metrics.listen: {address} is reachable from the network, and metrics are sent without TLS to whoever asks"
            );
            consent.required(&danger, "have them read through a proxy on this machine")?;
        }
        Ok(Some(address))
    }
}

/// How models are run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEncoder {
    kernel: String,
    precision: String,
    device: String,
    threads: usize,
    pin: bool,
    nice: u8,
    batch_tokens: usize,
    queue_tokens: usize,
    max_queue_ms: u64,
    max_batch_queue_ms: u64,
    cache_bytes: usize,
}

impl Default for RawEncoder {
    fn default() -> Self {
        Self {
            kernel: "auto".into(),
            precision: "auto".into(),
            device: "cpu".into(),
            threads: 0,
            pin: false,
            nice: 5,
            batch_tokens: 4096,
            queue_tokens: 65_536,
            max_queue_ms: 250,
            max_batch_queue_ms: 10_000,
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

impl RawEncoder {
    /// The options of loading, and what each encoder may take.
    fn check(self, queue_capacity: usize) -> anyhow::Result<(LoadOptions, EncoderLimits)> {
        let Self {
            kernel,
            precision,
            device,
            threads,
            pin,
            nice,
            batch_tokens,
            queue_tokens,
            max_queue_ms,
            max_batch_queue_ms,
            cache_bytes,
        } = self;
        let named = |key: &str| format!("encoder.{key}");
        if threads > MAX_ENCODER_THREADS {
            bail!("encoder.threads: {threads} is out of range 0..={MAX_ENCODER_THREADS}; 0 is as many as there are");
        }
        if nice > MAX_NICE {
            bail!("encoder.nice: {nice} is out of range 0..={MAX_NICE}");
        }
        if !BATCH_TOKENS.contains(&batch_tokens) {
            let (least, most) = (BATCH_TOKENS.start(), BATCH_TOKENS.end());
            bail!("encoder.batch_tokens: {batch_tokens} is out of range {least}..={most}");
        }
        if !QUEUE_TOKENS.contains(&queue_tokens) {
            let (least, most) = (QUEUE_TOKENS.start(), QUEUE_TOKENS.end());
            bail!("encoder.queue_tokens: {queue_tokens} is out of range {least}..={most}");
        }
        for (key, value) in [("max_queue_ms", max_queue_ms), ("max_batch_queue_ms", max_batch_queue_ms)] {
            if !QUEUE_MILLIS.contains(&value) {
                let (least, most) = (QUEUE_MILLIS.start(), QUEUE_MILLIS.end());
                bail!("encoder.{key}: {value} is out of range {least}..={most}");
            }
        }
        let patience = Patience {
            single: std::time::Duration::from_millis(max_queue_ms),
            several: std::time::Duration::from_millis(max_batch_queue_ms),
        };
        let options = LoadOptions {
            max_batch_tokens: batch_tokens,
            encoder: kernel.parse().map_err(anyhow::Error::msg).with_context(|| named("kernel"))?,
            precision: match precision.as_str() {
                "auto" => None,
                precision => Some(precision.parse().map_err(anyhow::Error::msg).with_context(|| named("precision"))?),
            },
            device: device.parse().map_err(anyhow::Error::msg).with_context(|| named("device"))?,
            threads: if threads == 0 { available_threads() } else { threads },
            pin,
            nice,
        };
        Ok((options, EncoderLimits { queue_capacity, queue_tokens, patience, cache_bytes, batch_tokens }))
    }
}

/// What a tenant's store may take.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStore {
    cache_bytes: usize,
}

impl Default for RawStore {
    fn default() -> Self {
        Self { cache_bytes: fitment_engine::DEFAULT_STORE_CACHE_BYTES }
    }
}

impl RawStore {
    fn check(self) -> anyhow::Result<usize> {
        let Self { cache_bytes } = self;
        if !STORE_CACHE_BYTES.contains(&cache_bytes) {
            let (least, most) = (STORE_CACHE_BYTES.start(), STORE_CACHE_BYTES.end());
            bail!("store.cache_bytes: {cache_bytes} is out of range {least}..={most}");
        }
        Ok(cache_bytes)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN.into(),
            unix_socket: String::new(),
            unix_socket_mode: "0600".into(),
            insecure_plaintext_on_network: String::new(),
            insecure_anonymous_on_network: String::new(),
            tls: RawTls::default(),
            http2: RawHttp2::default(),
            data_dir: None,
            models_dir: None,
            model: fitment_models::DEFAULT_MODEL.into(),
            max_request_bytes: 4 * 1024 * 1024,
            queue_capacity: 256,
            drain_seconds: 10,
            log: "warn,fitment=info".into(),
            log_format: LogFormat::Text,
            metrics: RawMetrics::default(),
            encoder: RawEncoder::default(),
            store: RawStore::default(),
            ranking: Ranking::default(),
            feedback: FeedbackPolicy::default(),
            catalog: CatalogPolicy::default(),
            gaps: GapPolicy::default(),
            limits: Limits::default(),
            snapshots: RawSnapshots::default(),
            access: RawAccess::default(),
            traces: RawTraces::default(),
            log_intents: IntentPrivacy::default(),
        }
    }
}

/// Configuration that was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, and what connections may cost.
    pub transport: TransportConfig,
    /// Where the store and the index caches lie.
    pub data_dir: PathBuf,
    /// Where models lie.
    pub models_dir: PathBuf,
    /// Name of a known or imported model.
    pub model: String,
    /// Whether a file, a variable or a flag names the model; else a catalogue that has one keeps it.
    pub model_is_chosen: bool,
    /// Largest request message.
    pub max_request_bytes: usize,
    /// How long a shutdown waits for calls in flight.
    pub drain: std::time::Duration,
    /// Filter of the log.
    pub log: String,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Where to serve metrics; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// How models are run.
    pub encoder: LoadOptions,
    /// What each encoder may take.
    pub encoder_limits: EncoderLimits,
    /// Bytes of the store's pages in memory at most, for each tenant.
    pub store_cache_bytes: usize,
    /// Weights of the ranking.
    pub ranking: Ranking,
    /// What is remembered of answers.
    pub feedback: FeedbackPolicy,
    /// What is done about near-duplicates.
    pub catalog: CatalogPolicy,
    /// What is kept of unmet intents.
    pub gaps: GapPolicy,
    /// What a principal may ask for that has no limits of its own.
    pub limits: Limits,
    /// Where snapshots are written.
    pub snapshots_dir: PathBuf,
    /// The document of who may what; `None`: nobody is asked who they are.
    pub access: Option<PathBuf>,
    /// What is traced; `None`: nothing.
    pub traces: Option<TraceConfig>,
}

impl Config {
    /// The same for one tenant: a data folder of its own within the daemon's, and its own snapshots.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> Self {
        if tenant == DEFAULT_TENANT {
            return self.clone();
        }
        Self {
            data_dir: self.data_dir.join("tenants").join(tenant),
            snapshots_dir: self.snapshots_dir.join("tenants").join(tenant),
            ..self.clone()
        }
    }
}

/// Values that flags set; `None` leaves the key to the environment, the file or the default.
#[derive(Clone, Debug, Default, Serialize, clap::Args)]
pub struct ConfigFlags {
    /// Configuration file (TOML); also `FITMENT_CONFIG`.
    #[arg(long, value_name = "FILE", global = true, env = "FITMENT_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Folder of the catalogue and its index [default: the user's data folder].
    #[arg(long, value_name = "DIR", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Folder of the models [default: the user's cache folder].
    #[arg(long, value_name = "DIR", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models_dir: Option<PathBuf>,
    /// Model to encode with: a name that `fitment model list` shows [default: all-MiniLM-L6-v2].
    #[arg(long, value_name = "NAME", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What to log, for example `info` or `fitment=debug` [default: warn,fitment=info].
    #[arg(long, value_name = "FILTER", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Form of log lines [default: text].
    #[arg(long, value_name = "FORM", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Set by the commands that listen.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
}

impl ConfigFlags {
    fn figment(&self) -> anyhow::Result<Figment> {
        let mut figment = Figment::from(Serialized::defaults(RawConfig::default()));
        if let Some(file) = &self.config {
            if !file.is_file() {
                bail!(
                    "configuration file {} does not exist; `fitment config print` shows a complete one",
                    file.display()
                );
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        let environment = Env::prefixed("FITMENT_").ignore(&OTHER_VARIABLES).ignore(&TEXT_KEYS).split("__");
        Ok(figment.merge(environment).merge(TextVariables).merge(Serialized::defaults(self)))
    }

    /// Reads and checks everything.
    pub fn load(&self) -> anyhow::Result<Config> {
        Ok(self.load_with_origins()?.0)
    }

    /// The same, and every key with its value and where that came from, of one look at all of it.
    pub fn load_with_origins(&self) -> anyhow::Result<(Config, Origins)> {
        let read = || -> anyhow::Result<(Config, Origins)> {
            let (figment, raw) = self.raw()?;
            // The defaults are merged first and are the only ones that are no file, variable or flag.
            let chosen = figment.find_metadata("model").is_some_and(|metadata| !metadata.name.contains("RawConfig"));
            let origins = origins(&figment, &raw)?;
            Ok((Config { model_is_chosen: chosen, ..Config::try_from(raw)? }, origins))
        };
        read().map_err(|error| Invalid(format!("{error:#}")).into())
    }

    fn raw(&self) -> anyhow::Result<(Figment, RawConfig)> {
        let figment = self.figment()?;
        let raw = figment.extract().map_err(|error| anyhow::anyhow!(explain(&error)))?;
        Ok((figment, raw))
    }

    /// Every key with its value and where that came from; values are not checked.
    pub fn origins(&self) -> anyhow::Result<Origins> {
        let (figment, raw) = self.raw().map_err(|error| Invalid(format!("{error:#}")))?;
        origins(&figment, &raw)
    }
}

/// By key: its value as JSON, and `default`, `file`, `environment` or `flag`.
pub type Origins = BTreeMap<String, (String, String)>;

fn origins(figment: &Figment, raw: &RawConfig) -> anyhow::Result<Origins> {
    let value = serde_json::to_value(raw).context("configuration values are plain data")?;
    let mut origins = BTreeMap::new();
    flatten("", &value, &mut |key, value| {
        let origin = figment.find_metadata(key).map_or("default", |metadata| match metadata.name.as_ref() {
            name if name.contains("environment") => "environment",
            name if name.contains("TOML") => "file",
            name if name.contains("ConfigFlags") => "flag",
            _ => "default",
        });
        origins.insert(key.to_owned(), (value.to_string(), origin.to_owned()));
    });
    Ok(origins)
}

fn flatten(prefix: &str, value: &serde_json::Value, each: &mut impl FnMut(&str, &serde_json::Value)) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, each);
            }
        }
        leaf => each(prefix, leaf),
    }
}

/// A configuration error in one line: what, where it was said, the way out.
fn explain(error: &figment::Error) -> String {
    let source = error.metadata.as_ref().map_or_else(String::new, |metadata| {
        let place = metadata.source.as_ref().map_or_else(String::new, |source| format!(" {source}"));
        format!(" ({}{place})", metadata.name)
    });
    let path = error.path.join(".");
    let key = if path.is_empty() { String::new() } else { format!(" `{path}`") };
    format!("configuration{key}: {}{source}; `fitment config print` lists every key", error.kind)
}

impl TryFrom<RawConfig> for Config {
    type Error = anyhow::Error;

    fn try_from(raw: RawConfig) -> anyhow::Result<Self> {
        let RawConfig {
            listen,
            unix_socket,
            unix_socket_mode,
            insecure_plaintext_on_network,
            insecure_anonymous_on_network,
            tls,
            http2,
            data_dir,
            models_dir,
            model,
            max_request_bytes,
            queue_capacity,
            drain_seconds,
            log,
            log_format,
            metrics,
            encoder,
            store,
            ranking,
            feedback,
            catalog,
            gaps,
            limits,
            snapshots: RawSnapshots { dir: snapshots_dir },
            access: RawAccess { file: access },
            traces,
            log_intents,
        } = raw;
        let (encoder, encoder_limits) = encoder.check(queue_capacity)?;
        let store_cache_bytes = store.check()?;
        let listen = RawListen {
            listen,
            unix_socket,
            unix_socket_mode,
            insecure_plaintext_on_network,
            insecure_anonymous_on_network,
        };
        let access = (!access.as_os_str().is_empty()).then_some(access);
        let transport = TransportConfig::check(listen, tls, http2, access.is_some())?;
        let metrics = metrics.check()?;
        let traces = traces.check(log_intents)?;
        for (key, value, range) in [
            ("max_request_bytes", max_request_bytes, 64 * 1024..=256 * 1024 * 1024),
            ("queue_capacity", queue_capacity, 1..=65_536),
            ("drain_seconds", drain_seconds, 0..=3600),
        ] {
            if !range.contains(&value) {
                bail!("{key}: {value} is out of range {}..={}", range.start(), range.end());
            }
        }
        if let Some(fault) = ranking
            .fault()
            .or_else(|| feedback.fault())
            .or_else(|| catalog.fault())
            .or_else(|| gaps.fault())
            .or_else(|| limits.fault())
        {
            bail!("{fault}");
        }
        crate::telemetry::filter(&log)?;
        let second = &ranking.second_stage;
        for (key, name) in
            [("model", Some(&model)), ("ranking.second_stage.model", second.is_on().then_some(&second.model))]
        {
            if let Some(name) = name.filter(|name| !fitment_models::is_model_name(name)) {
                bail!("{key}: `{name}` is no name of a model; `fitment model list` shows them");
            }
        }
        check_folder("data_dir", data_dir.as_deref())?;
        check_folder("models_dir", models_dir.as_deref())?;
        check_folder("snapshots.dir", snapshots_dir.as_deref())?;
        let models_dir = match models_dir {
            Some(folder) => folder,
            None => fitment_models::ModelCache::default_root(|name| std::env::var_os(name))?,
        };
        let data_dir = data_dir.map_or_else(default_data_dir, Ok)?;
        Ok(Self {
            transport,
            snapshots_dir: snapshots_dir.unwrap_or_else(|| data_dir.join("snapshots")),
            data_dir,
            models_dir,
            model,
            model_is_chosen: true,
            max_request_bytes,
            drain: std::time::Duration::from_secs(drain_seconds as u64),
            log,
            log_format,
            metrics,
            encoder,
            encoder_limits,
            store_cache_bytes,
            ranking,
            feedback,
            catalog,
            gaps,
            access,
            traces,
            limits,
        })
    }
}

fn check_folder(key: &str, folder: Option<&Path>) -> anyhow::Result<()> {
    if folder.is_some_and(|folder| folder.as_os_str().is_empty()) {
        bail!("{key}: is empty; name a folder, or leave the key out for the default");
    }
    Ok(())
}

/// `$XDG_DATA_HOME/fitment`, else `$HOME/.local/share/fitment`.
fn default_data_dir() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| Path::new(value).is_absolute()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|folder| folder.join("fitment"))
        .context("neither HOME nor XDG_DATA_HOME is set; say where the catalogue lies with --data-dir DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Config, String> {
        let raw =
            Figment::from(Serialized::defaults(RawConfig::default())).merge(Toml::string(toml)).extract::<RawConfig>();
        raw.map_err(|error| explain(&error)).and_then(|raw| {
            let raw = RawConfig { models_dir: Some("m".into()), data_dir: Some("d".into()), ..raw };
            Config::try_from(raw).map_err(|error| format!("{error:#}"))
        })
    }

    #[track_caller]
    fn check(toml: &str, expect: &str) {
        let error = read(toml).expect_err("a refusal");
        assert!(error.contains(expect), "{error}");
    }

    #[track_caller]
    fn accept(toml: &str) {
        read(toml).expect("a configuration");
    }

    #[test]
    fn mistakes_are_named() {
        check("lisen = \"127.0.0.1:1\"", "lisen");
        check("listen = \"localhost\"", "neither IP:PORT nor unix:/PATH");
        check("listen = \"unix:fitment.sock\"", "listen: `unix:fitment.sock`: a socket needs an absolute path");
        check("unix_socket = \"fitment.sock\"", "unix_socket");
        check("listen = \"unix:/a\"\nunix_socket = \"/b\"", "leave one of them out");
        check("unix_socket_mode = \"0700\"", "unix_socket_mode: `0700` is out of range");
        check("unix_socket_mode = \"0060\"", "unix_socket_mode");
        let open = "listen = \"0.0.0.0:7411\"";
        let plaintext = format!("insecure_plaintext_on_network = \"{}\"", transport::PLAINTEXT_SENTENCE);
        let anonymous = format!("insecure_anonymous_on_network = \"{}\"", transport::ANONYMOUS_SENTENCE);
        let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"";
        check(open, &plaintext);
        check(&format!("{open}\n{plaintext}"), &anonymous);
        check(&format!("{open}\n{tls}"), &anonymous);
        accept(&format!("{open}\n{plaintext}\n{anonymous}"));
        accept(&format!("{open}\n{anonymous}\n{tls}"));
        accept(&format!("{open}\n{tls}\nclient_ca = \"a\"\nclient_auth = \"required\""));
        accept("listen = \"unix:/run/fitment.sock\"");
        check("insecure_plaintext_on_network = \"yes\"", "`yes` is not the sentence");
        check("insecure_anonymous_on_network = true", "insecure_anonymous_on_network");
        check("[tls]\ncertificate = \"c\"", "tls.key");
        check("[tls]\nkey = \"k\"", "tls.certificate");
        check("[tls]\nclient_auth = \"required\"", "tls.certificate");
        check(&format!("{tls}\nclient_auth = \"required\""), "tls.client_auth: needs tls.client_ca");
        check(&format!("{tls}\nclient_ca = \"a\""), "tls.client_ca: is set and tls.client_auth is off");
        check(&format!("{tls}\nmin_version = \"1.1\""), "tls.min_version: `1.1`");
        check(&format!("{tls}\nwatch_seconds = 3601"), "tls.watch_seconds");
        check("[http2]\nmax_connections = 0", "http2.max_connections: 0 is out of range 1..=1000000");
        check("[http2]\nstream_window_bytes = 1", "http2.stream_window_bytes");
        check("[http2]\nstreams = 1", "streams");
        check("[metrics]\nlisten = \"9464\"", "metrics.listen: `9464` is not IP:PORT");
        check("[metrics]\nlisten = \"[::]:9464\"", "metrics.insecure_plaintext_on_network");
        let metrics = "[metrics]\nlisten = \"0.0.0.0:9464\"";
        check(&format!("{plaintext}\n{metrics}"), transport::METRICS_SENTENCE);
        accept(&format!("{metrics}\ninsecure_plaintext_on_network = \"{}\"", transport::METRICS_SENTENCE));
        check("[metrics]\nport = 9464", "port");
        check("queue_capacity = 0", "queue_capacity");
        check("queue_capacity = \"many\"", "queue_capacity");
        check("[encoder]\nbatch_tokens = 63", "encoder.batch_tokens: 63 is out of range 64..=65536");
        check("[encoder]\npin = \"yes\"", "pin");
        check("[store]\ncache_bytes = 4096", "store.cache_bytes: 4096 is out of range 1048576..=1099511627776");
        check("[encoder]\nqueue_tokens = 0", "encoder.queue_tokens: 0 is out of range");
        check("[encoder]\nmax_queue_ms = 0", "encoder.max_queue_ms: 0 is out of range");
        check("[limits]\nburst = 5", "limits.requests_per_second");
        check("[limits]\nper_minute = 5", "per_minute");
        check("[limits]\nconcurrent = 99999999", "limits.concurrent");
        check("[ranking]\ndepth = 0", "ranking.depth");
        check("[ranking]\ndense = 2.0", "dense");
        check("[ranking.second_stage]\nbudget_ms = 0", "ranking.second_stage.budget_ms");
        check("[ranking.second_stage]\nmodel = \"../elsewhere\"", "ranking.second_stage.model");
        check("[ranking.second_stage]\nbudget = 10", "budget");
        check("[feedback]\ndecisions = 99999999", "feedback.decisions");
        check("[feedback]\nagreement = 0", "feedback.agreement");
        check("[feedback]\ngate = \"ajar\"", "feedback.gate");
        check("[feedback]\nintent_text = \"burnt\"", "feedback.intent_text");
        check("[gaps]\nintents = 50001", "gaps.intents");
        check("[gaps]\ndays = 0", "gaps.days");
        check("[gaps]\nsimilarity = -0.1", "gaps.similarity");
        check("[gaps]\ntext = \"burnt\"", "gaps.text");
        check("[catalog]\nnear_duplicates = \"maybe\"", "catalog.near_duplicates");
        check("[catalog]\nnear_duplicate_similarity = 1.5", "catalog.near_duplicate_similarity");
        check("[snapshots]\ndir = \"\"", "snapshots.dir: is empty");
        check("[snapshots]\nfolder = \"x\"", "folder");
        check("[feedback]\ngates = \"open\"", "gates");
        check("[traces]\nratio = 1.5", "traces.ratio: 1.5 is out of range");
        check("[traces]\nmax_bytes = 1", "traces.max_bytes");
        check("log_intents = \"loud\"", "log_intents");
    }
}
