//! `fitment access`: who may what, as files; keys; why a call is allowed or denied.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use fitment_access::{
    Access, ApiKey, ComponentFacts, DenialReason, KEY_RANDOMNESS, MAX_DOCUMENT_BYTES, RPCS, Reach, Role, STEPS,
    Summary, table_markdown,
};
use fitment_catalog::{Kind, Tag};
use fitment_engine::EngineError;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::output::{self, Exit, Invalid};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment access check access.yaml                                     # all faults, or what it holds
  fitment access key create --principal ci --expires-days 90           # prints the key once, and its entry
  fitment access explain access.yaml --principal ci --rpc /fitment.v1.CatalogService/CreateComponent --namespace payments
  fitment access table                                                 # which role may make which call

The document is described in docs/authorization.md. A daemon is told of it in its configuration.")]
pub(super) struct AccessArguments {
    #[command(subcommand)]
    command: AccessCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AccessCommand {
    /// Check a document and the files that it names: all faults at once, or what it holds.
    #[command(after_help = "Example:\n  fitment access check access.yaml --json")]
    Check {
        /// The document, YAML or JSON; files that it names lie beside it.
        document: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make API keys.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Say whether a principal may make a call, and why.
    #[command(after_help = "\
Examples:
  fitment access explain access.yaml --principal ci --rpc match --namespace payments --tag web
  fitment access explain access.yaml --principal anonymous --rpc /fitment.v1.AuditService/ListAuditRecords

Ends with 0 where it may and with 8 where it may not.")]
    Explain(ExplainArguments),
    /// Show which role may make which call.
    #[command(after_help = "Example:\n  fitment access table --markdown")]
    Table {
        /// Print Markdown.
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    /// Make a key, print it once, and print the entry that the document keeps of it.
    #[command(after_help = "\
Example:
  fitment access key create --principal ci --expires-days 90

Hand the key to whoever shall have it and put the entry under `api_keys`. Two keys of a principal may be in force at the same
time: add the new one, let its user change over, remove the old one.")]
    Create {
        /// Id of the principal, as the document lists it.
        #[arg(long, value_name = "ID")]
        principal: String,
        /// Days until it no longer counts; absent: it has no end.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_days: Option<u32>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct ExplainArguments {
    /// The document, YAML or JSON; files that it names lie beside it.
    document: PathBuf,
    /// Id of a listed principal, or `anonymous`.
    #[arg(long, value_name = "ID")]
    principal: String,
    /// The call: its path, or its action as `fitment access table` shows it.
    #[arg(long, value_name = "PATH")]
    rpc: String,
    /// Namespace of a component that it is about.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// A tag of the component; several times.
    #[arg(long, value_name = "TAG", requires = "namespace")]
    tag: Vec<Tag>,
    /// The component's kind.
    #[arg(long, default_value = "service", requires = "namespace")]
    kind: Kind,
    /// The team that answers for the component.
    #[arg(long, default_value = "", requires = "namespace")]
    owner: String,
    /// A role that the component's manifest names under `access`; several times.
    #[arg(long, value_name = "ROLE", requires = "namespace")]
    access: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: AccessArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        AccessCommand::Check { document, json } => check(&document, json)?,
        AccessCommand::Key { command: KeyCommand::Create { principal, expires_days, json } } => {
            create_key(&principal, expires_days, json)?;
        }
        AccessCommand::Explain(arguments) => return explain(&arguments),
        AccessCommand::Table { markdown: true, .. } => output::line(table_markdown().trim_end())?,
        AccessCommand::Table { json, .. } => table(json)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a document and the files that it names, which lie beside it.
fn load(path: &Path) -> anyhow::Result<Access> {
    let bytes = read_bounded(path).map_err(|source| EngineError::Io { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let attached = |name: &str| read_bounded(&folder.join(name)).map_err(|error| error.to_string());
    Ok(Access::load(&path.display().to_string(), &bytes, &attached)?)
}

/// Reads a file up to one byte more than any that is accepted.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_DOCUMENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check(path: &Path, json: bool) -> anyhow::Result<()> {
    let Summary { tenants, principals, api_keys, jwt_issuers, certificates, unix, anonymous, policies } =
        load(path)?.summary();
    if json {
        return output::json(&json!({
            "valid": true, "tenants": tenants, "principals": principals, "api_keys": api_keys,
            "jwt_issuers": jwt_issuers, "certificates": certificates, "unix": unix, "anonymous": anonymous,
            "policies": policies,
        }));
    }
    let listed = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    output::line(format!("{} is valid", path.display()))?;
    output::line(format!("tenants: {}", listed(&tenants)))?;
    output::line(format!(
        "{principals} principals, {api_keys} API keys, {certificates} certificate names, {unix} Unix users and groups"
    ))?;
    output::line(format!("token issuers: {}", listed(&jwt_issuers)))?;
    output::line(format!("Cedar policies: {}", listed(&policies)))?;
    output::line(format!("calls without credentials: {}", if anonymous { "anonymous" } else { "refused" }))
}

fn create_key(principal: &str, expires_days: Option<u32>, json: bool) -> anyhow::Result<()> {
    // The document's own reader says whether the id has its form.
    let asked = json!({ "version": 1, "principals": [{ "id": principal }] }).to_string();
    Access::load("--principal", asked.as_bytes(), &|_| Err(String::new()))?;
    let mut random = [0; KEY_RANDOMNESS];
    getrandom::fill(&mut random).context("the system gives no randomness")?;
    let key = ApiKey::generate(&random);
    let created = Timestamp::from_second(Timestamp::now().as_second())?;
    let lasts = expires_days.map(|days| SignedDuration::from_hours(24 * i64::from(days)));
    let expires = lasts.map(|lasts| created.checked_add(lasts)).transpose()?;
    if json {
        let mut entry = json!({
            "prefix": key.prefix(), "sha256": key.sha256(), "principal": principal, "created": created.to_string(),
        });
        // An entry is a part of a document, where what is absent is left out.
        if let Some(expires) = expires {
            entry["expires"] = expires.to_string().into();
        }
        return output::json(&json!({"key": key.reveal(), "entry": entry}));
    }
    output::line(key.reveal())?;
    output::line("\n# Above: the key, shown this once. Below: its entry for `api_keys`.")?;
    output::line(key.entry(principal, created, expires).trim_end())
}

fn explain(arguments: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let ExplainArguments { document, principal, rpc, namespace, tag, kind, owner, access: roles, json } = arguments;
    let access = load(document)?;
    let Some(who) = access.principal(principal) else {
        let way_out = "name a listed one, or `anonymous` where that is on";
        return Err(Invalid(format!("{} lists no principal `{principal}`; {way_out}", document.display())).into());
    };
    let facts = namespace.as_ref().map(|namespace| ComponentFacts {
        namespace: namespace.clone(),
        tags: tag.iter().cloned().collect(),
        kind: *kind,
        owner: owner.clone(),
        roles: roles.iter().cloned().collect::<BTreeSet<String>>(),
    });
    let told = access.explain(who, rpc, facts.as_ref()).map_err(|denied| match denied.reason {
        DenialReason::UnknownRpc => {
            let shown = denied.action;
            Invalid(format!("there is no call `{shown}`; `fitment access table` shows them all"))
        }
        _ => Invalid(denied.to_string()),
    })?;
    let because: Vec<String> = told.because.iter().map(ToString::to_string).collect();
    if *json {
        output::json(&json!({
            "principal": principal, "tenant": who.tenant(), "action": told.action, "reach": told.reach.as_str(),
            "allowed": told.allowed, "narrowed": told.narrowed, "because": because,
        }))?;
    } else {
        let may = if told.allowed { "may" } else { "may not" };
        let limit = match (told.allowed && told.narrowed && facts.is_none(), told.reach) {
            (true, Reach::Component) => ", for some components",
            _ => "",
        };
        output::line(format!("`{principal}` of tenant `{}` {may} `{}`{limit}", who.tenant(), told.action))?;
        for reason in because {
            output::line(format!("  {reason}"))?;
        }
    }
    Ok(if told.allowed { ExitCode::SUCCESS } else { ExitCode::from(Exit::Findings as u8) })
}

fn table(json: bool) -> anyhow::Result<()> {
    let words = |roles: &[Role]| roles.iter().map(|role| role.as_str()).collect::<Vec<_>>();
    if json {
        let calls = RPCS.iter().map(|rpc| {
            json!({ "path": rpc.path, "action": rpc.action, "reach": rpc.reach.as_str(), "roles": words(rpc.roles) })
        });
        let steps = STEPS.iter().map(|step| {
            json!({ "action": step.action, "when": step.when, "reach": step.reach.as_str(), "roles": words(step.roles) })
        });
        return output::json(&json!({ "calls": calls.collect::<Vec<_>>(), "steps": steps.collect::<Vec<_>>() }));
    }
    let header: Vec<&str> =
        ["call", "action", "reach"].into_iter().chain(Role::ALL.iter().map(|role| role.as_str())).collect();
    let mut table = output::table(&header);
    let marks = |roles: &[Role]| Role::ALL.map(|role| if roles.contains(&role) { "x" } else { "" }.to_owned());
    for rpc in RPCS {
        let call = rpc.path.trim_start_matches('/').trim_start_matches("fitment.v1.");
        let start = [call, rpc.action, rpc.reach.as_str()].map(str::to_owned);
        table.add_row(start.into_iter().chain(marks(rpc.roles)));
    }
    for step in STEPS {
        let start = [format!("besides, when {}", step.when), step.action.to_owned(), step.reach.as_str().to_owned()];
        table.add_row(start.into_iter().chain(marks(step.roles)));
    }
    output::line(table)
}
