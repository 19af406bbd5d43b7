//! `fitment catalog`: reading and changing a running daemon's catalogue.

mod export;
mod folder;
mod import;
mod life;

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_catalog::Manifest;
use fitment_proto::v1;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;

use super::common::{Common, Named};
use crate::client::Connection;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment catalog import ./components
  fitment catalog list --filter 'namespace:payments'
  fitment catalog get payments/card-checkout > card-checkout.yaml
  fitment catalog export ./components
  fitment catalog export ./checkout --update      # the last export, in git: what changed is written, what is gone goes
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
    ///
    /// Of an export also where versions stand and what certifies them. Each file is taken whole or not at all.
    Import(import::ImportArguments),
    /// Write the whole catalogue to a folder: NAMESPACE/NAME@VERSION.yaml, where it stands, what certifies it.
    Export(export::ExportArguments),
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
    /// Compare a folder with the catalogue: manifests, and of an export also the rest. Ends with code 1 when they differ.
    Diff {
        /// The folder.
        folder: PathBuf,
        #[command(flatten)]
        common: Common,
    },
}

const LIFECYCLES: [&str; 5] = ["draft", "candidate", "certified", "deprecated", "revoked"];

pub(super) fn run(arguments: CatalogArguments) -> anyhow::Result<ExitCode> {
    super::client_runtime()?.block_on(async {
        match arguments.command {
            CatalogCommand::Import(arguments) => import::import(arguments).await,
            CatalogCommand::Export(arguments) => export::export(arguments).await,
            CatalogCommand::Get { component, common } => get(&component, &common).await,
            CatalogCommand::List { filter, common } => list(filter, &common).await,
            CatalogCommand::Delete(change) => life::delete(change).await,
            CatalogCommand::Undelete(change) => life::undelete(change).await,
            CatalogCommand::Move { to, change } => life::move_to(change, &to).await,
            CatalogCommand::History { component, common } => life::history(&component, &common).await,
            CatalogCommand::Compatible(arguments) => life::compatible(arguments).await,
            CatalogCommand::Watch(watch) => life::watch(watch).await,
            CatalogCommand::Diff { folder, common } => export::diff(&folder, &common).await,
        }
    })
}

/// What was written, or would be, and is nearly the same as something else; a long list is cut.
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

async fn get(component: &str, common: &Common) -> anyhow::Result<ExitCode> {
    let Named { name, version, digest } = Named::read(component);
    let request = v1::GetComponentRequest { name, version, digest, ..Default::default() };
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

/// Every version that a filter holds for, page by page.
async fn all_versions(
    client: &mut CatalogServiceClient<Connection>,
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
