//! `fitment catalog`: reading and changing a running daemon's catalogue.

mod life;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_catalog::Manifest;
use fitment_engine::evaluate::read_catalog_folder;
use fitment_proto::v1;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use tonic::transport::Channel;

use super::laboratory::write_file;
use crate::client::{AuthorFlags, ServerFlags};
use crate::output::{self, Steps};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment catalog import ./components
  fitment catalog list --filter 'namespace:payments'
  fitment catalog get payments/card-checkout > card-checkout.yaml
  fitment catalog export ./components
  fitment catalog diff ./components
  fitment catalog move payments/card-checkout@1.2.0 deprecated --reason \"2.0.0 takes over\"
  fitment catalog delete payments/card-checkout@1.2.0
  fitment catalog history payments/card-checkout@1.2.0
  fitment catalog compatible payments/card-checkout@1.2.0 ./card-checkout-1.3.0.yaml
  fitment catalog watch --after 0 --until-now --json")]
pub(super) struct CatalogArguments {
    #[command(subcommand)]
    command: CatalogCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CatalogCommand {
    /// Write manifests (a file, or every .yaml, .yml and .json under a folder). Unchanged ones stay as they are.
    Import {
        /// The folder or file.
        path: PathBuf,
        /// Write near-duplicates of other components also where the daemon refuses them.
        #[arg(long)]
        allow_near_duplicate: bool,
        #[command(flatten)]
        author: AuthorFlags,
        #[command(flatten)]
        common: Common,
    },
    /// Write every version to a folder as NAMESPACE/NAME@VERSION.yaml.
    Export {
        /// The folder; it must be empty or absent.
        folder: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Print the manifest of one version.
    Get {
        /// NAMESPACE/NAME, NAMESPACE/NAME@VERSION, or sha256:DIGEST.
        component: String,
        #[command(flatten)]
        common: Common,
    },
    /// List versions.
    List {
        /// Which ones, for example `namespace:ui and kind:ui`.
        #[arg(long, value_name = "EXPRESSION")]
        filter: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Take one version out of every answer; `undelete` brings it back.
    Delete(life::Change),
    /// Bring a deleted version back.
    Undelete(life::Change),
    /// Move one version along its life: draft, candidate, certified, deprecated, revoked.
    Move {
        #[command(flatten)]
        change: life::Change,
        /// Where to.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(LIFECYCLES))]
        to: String,
    },
    /// Show where one version has been, deleted or not.
    History {
        /// NAMESPACE/NAME@VERSION.
        component: String,
        #[command(flatten)]
        common: Common,
    },
    /// Say whether a newer version's configuration schema accepts all that an older one's did. Ends with code 1 when not.
    Compatible(life::Compatible),
    /// Print changes of the catalogue as they come, one a line, until Ctrl-C.
    Watch(life::Watch),
    /// Compare a folder of manifests with the catalogue. Ends with code 1 when they differ.
    Diff {
        /// The folder.
        folder: PathBuf,
        #[command(flatten)]
        common: Common,
    },
}

const LIFECYCLES: [&str; 5] = ["draft", "candidate", "certified", "deprecated", "revoked"];

#[derive(Debug, clap::Args)]
struct Common {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn run(arguments: CatalogArguments) -> anyhow::Result<ExitCode> {
    super::client_runtime()?.block_on(async {
        match arguments.command {
            CatalogCommand::Import { path, allow_near_duplicate, author, common } => {
                import(&path, allow_near_duplicate, &author, &common).await
            }
            CatalogCommand::Export { folder, common } => export(&folder, &common).await,
            CatalogCommand::Get { component, common } => get(&component, &common).await,
            CatalogCommand::List { filter, common } => list(filter, &common).await,
            CatalogCommand::Delete(change) => life::delete(change).await,
            CatalogCommand::Undelete(change) => life::undelete(change).await,
            CatalogCommand::Move { to, change } => life::move_to(change, &to).await,
            CatalogCommand::History { component, common } => life::history(&component, &common).await,
            CatalogCommand::Compatible(arguments) => life::compatible(arguments).await,
            CatalogCommand::Watch(watch) => life::watch(watch).await,
            CatalogCommand::Diff { folder, common } => diff(&folder, &common).await,
        }
    })
}

async fn import(
    path: &Path,
    allow_near_duplicate: bool,
    author: &AuthorFlags,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let manifests = if path.is_file() {
        vec![(path.display().to_string(), std::fs::read(path).with_context(|| path.display().to_string())?)]
    } else {
        read_catalog_folder(path)?
    };
    let total = manifests.len() as u64;
    let (steps, started) = (Steps::new(), std::time::Instant::now());
    let mut client = common.server.catalog().await?;
    let author = author.clone();
    let items = tokio_stream::iter(manifests.into_iter().map(move |(source, manifest)| v1::ImportComponentsRequest {
        manifest,
        format: v1::ManifestFormat::Unspecified as i32,
        source,
        actor: author.actor.clone(),
        reason: author.reason.clone(),
        allow_near_duplicate,
    }));
    // No deadline: a large import takes what it takes, and every answered item is durable.
    let mut results = client.import_components(items).await?.into_inner();
    let (mut created, mut unchanged, mut failed, mut near, mut revision) = (0u64, 0u64, Vec::new(), Vec::new(), 0);
    while let Some(result) = results.message().await? {
        match result.result() {
            v1::ImportResult::Created => created += 1,
            v1::ImportResult::Unchanged => unchanged += 1,
            v1::ImportResult::Failed | v1::ImportResult::Unspecified => failed.push(result.clone()),
        }
        revision = revision.max(result.revision);
        if !result.near_duplicates.is_empty() {
            near.push(result.clone());
        }
        steps.tell("importing", result.index + 1, total);
    }
    steps.finish();
    if common.json {
        let items = |items: &[v1::ImportComponentsResponse]| -> anyhow::Result<Vec<_>> {
            items.iter().map(|item| output::message_json("fitment.v1.ImportComponentsResponse", item)).collect()
        };
        output::json(&serde_json::json!({
            "created": created, "unchanged": unchanged, "failed": items(&failed)?, "near_duplicates": items(&near)?,
            "revision": revision,
        }))?;
    } else {
        for item in &failed {
            eprintln!("{}", item.status.clone().unwrap_or_default().message);
        }
        if !near.is_empty() {
            output::line(near_table(&near))?;
        }
        let took = started.elapsed();
        let rate = f64::from(u32::try_from(total).unwrap_or(u32::MAX)) / took.as_secs_f64().max(1e-3);
        output::line(format!(
            "{created} created, {unchanged} unchanged, {} failed, {} near-duplicates; revision {revision}; {rate:.0} a second",
            failed.len(),
            near.len()
        ))?;
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(output::Exit::InvalidInput as u8) })
}

/// What was written and is nearly the same as something else; a long list is cut.
fn near_table(near: &[v1::ImportComponentsResponse]) -> comfy_table::Table {
    /// Rows that people read.
    const ROWS: usize = 20;
    let mut table = output::table(&["written", "nearly the same as", "likeness"]);
    for item in near.iter().take(ROWS) {
        let neighbours = item.near_duplicates.iter();
        let names = neighbours.clone().map(|other| format!("{}@{}", other.name, other.version)).collect::<Vec<_>>();
        let likeness = neighbours.map(|other| format!("{:.3}", other.similarity)).collect::<Vec<_>>();
        table.add_row([format!("{}@{}", item.name, item.version), names.join("\n"), likeness.join("\n")]);
    }
    if near.len() > ROWS {
        table.add_row([format!("and {} more; --json has them all", near.len() - ROWS), String::new(), String::new()]);
    }
    table
}

async fn export(folder: &Path, common: &Common) -> anyhow::Result<ExitCode> {
    let occupied =
        folder.exists() && std::fs::read_dir(folder).with_context(|| folder.display().to_string())?.next().is_some();
    anyhow::ensure!(!occupied, "{} is not empty; export into a new folder", folder.display());
    let mut client = common.server.catalog().await?;
    let versions = all_versions(&mut client, common, None, v1::ComponentView::Full).await?;
    for version in &versions {
        let manifest = Manifest::from_canonical_json(&version.name, &version.manifest_json)?;
        let file = folder.join(format!("{}@{}.yaml", version.name, version.version));
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        write_file(&file, manifest.to_yaml().trim_end())?;
    }
    if common.json {
        output::json(&serde_json::json!({"exported": versions.len(), "folder": folder}))?;
    } else {
        output::line(format!("{} versions written to {}", versions.len(), folder.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(component: &str, common: &Common) -> anyhow::Result<ExitCode> {
    let mut request = v1::GetComponentRequest::default();
    if component.starts_with("sha256:") {
        component.clone_into(&mut request.digest);
    } else {
        let (name, version) = component.split_once('@').unwrap_or((component, ""));
        (request.name, request.version) = (name.to_owned(), version.to_owned());
    }
    let found = common.server.catalog().await?.get_component(common.server.request(request)).await?.into_inner();
    if common.json {
        output::json(&serde_json::from_slice::<serde_json::Value>(&found.manifest_json)?)?;
    } else {
        let manifest = Manifest::from_canonical_json(&found.name, &found.manifest_json)?;
        output::line(format!("# {}\n{}", found.digest, manifest.to_yaml().trim_end()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(filter: Option<String>, common: &Common) -> anyhow::Result<ExitCode> {
    let mut client = common.server.catalog().await?;
    let versions = all_versions(&mut client, common, filter, v1::ComponentView::Basic).await?;
    if common.json {
        let versions: Vec<_> = versions
            .iter()
            .map(|version| output::message_json("fitment.v1.Component", version))
            .collect::<Result<_, _>>()?;
        output::json(&versions)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["component", "version", "kind", "lifecycle", "title"]);
    let count = versions.len();
    for version in versions {
        let kind = version.kind().as_str_name().trim_start_matches("KIND_").to_lowercase();
        let lifecycle = version.lifecycle().as_str_name().trim_start_matches("LIFECYCLE_").to_lowercase();
        table.add_row([version.name, version.version, kind, lifecycle, version.title]);
    }
    output::line(table)?;
    output::line(format!("{count} versions"))?;
    Ok(ExitCode::SUCCESS)
}

async fn diff(folder: &Path, common: &Common) -> anyhow::Result<ExitCode> {
    let mut here = BTreeMap::new();
    for (file, bytes) in read_catalog_folder(folder)? {
        let manifest = Manifest::parse(&file, &bytes, fitment_catalog::Format::Auto)?;
        here.insert(format!("{}@{}", manifest.name(), manifest.version()), manifest.digest().to_string());
    }
    let mut client = common.server.catalog().await?;
    let there: BTreeMap<String, String> = all_versions(&mut client, common, None, v1::ComponentView::Basic)
        .await?
        .into_iter()
        .map(|version| (format!("{}@{}", version.name, version.version), version.digest))
        .collect();
    let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
        a.keys().filter(|key| !b.contains_key(*key)).cloned().collect::<Vec<_>>()
    };
    let (added, missing) = (only(&here, &there), only(&there, &here));
    let changed: Vec<String> = here
        .iter()
        .filter(|(key, digest)| there.get(*key).is_some_and(|other| other != *digest))
        .map(|(key, _)| key.clone())
        .collect();
    if common.json {
        output::json(&serde_json::json!({"only_in_folder": added, "only_in_catalog": missing, "changed": changed}))?;
    } else {
        for (mark, keys) in [("+", &added), ("-", &missing), ("!", &changed)] {
            for key in keys {
                output::line(format!("{mark} {key}"))?;
            }
        }
        output::line(format!(
            "{} only in the folder (+), {} only in the catalogue (-), {} with another digest (!)",
            added.len(),
            missing.len(),
            changed.len()
        ))?;
    }
    let same = added.is_empty() && missing.is_empty() && changed.is_empty();
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(output::Exit::Failure as u8) })
}

/// Every version that a filter holds for, page by page.
async fn all_versions(
    client: &mut CatalogServiceClient<Channel>,
    common: &Common,
    filter: Option<String>,
    view: v1::ComponentView,
) -> anyhow::Result<Vec<v1::Component>> {
    let filter = filter.map(|text| v1::FilterInput { form: Some(v1::filter_input::Form::Expression(text)) });
    let mut versions = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListComponentsRequest {
            page_size: 1000,
            page_token,
            filter: filter.clone(),
            view: view as i32,
            min_revision: 0,
        };
        let page = client.list_components(common.server.request(request)).await?.into_inner();
        versions.extend(page.components);
        if page.next_page_token.is_empty() {
            return Ok(versions);
        }
        page_token = page.next_page_token;
    }
}
