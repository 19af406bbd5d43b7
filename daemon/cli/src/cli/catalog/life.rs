//! Where versions stand: moving, deleting, bringing back, and following all of it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fitment_proto::v1;
use tonic::Code;
use tonic_types::StatusExt;

use super::super::common::{Common, Named, show_touched, time_text};
use crate::client::{AuthorFlags, ServerFlags};
use crate::output;

/// How long a daemon may be away before a watch gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pauses between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Change {
    /// NAMESPACE/NAME@VERSION.
    component: String,
    #[command(flatten)]
    author: AuthorFlags,
    /// Only in this state of the record (`etag` of `catalog history --json`).
    #[arg(long, default_value = "")]
    etag: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Begin after this revision, or after REVISION:POSITION of the last line that was seen; absent: from now on.
    #[arg(long, value_name = "PLACE", value_parser = place)]
    after: Option<v1::LogPlace>,
    /// End at the end of the log instead of waiting for more.
    #[arg(long)]
    until_now: bool,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Debug, clap::Args)]
pub(super) struct Compatible {
    /// The older: NAMESPACE/NAME@VERSION of the catalogue, or a manifest's file.
    old: String,
    /// The newer: NAMESPACE/NAME@VERSION of the catalogue, or a manifest's file.
    new: String,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn compatible(arguments: Compatible) -> anyhow::Result<ExitCode> {
    let Compatible { old, new, common } = arguments;
    let request = v1::CheckSchemaCompatibilityRequest { old: Some(source(&old)?), new: Some(source(&new)?) };
    let mut client = common.server.catalog().await?;
    let found = client.check_schema_compatibility(common.server.request(request)).await?.into_inner();
    let verdict = found.verdict();
    if common.json {
        output::json(&output::message_json("fitment.v1.CheckSchemaCompatibilityResponse", &found)?)?;
    } else {
        let word = verdict.as_str_name().trim_start_matches("SCHEMA_VERDICT_").to_lowercase();
        let v1::CheckSchemaCompatibilityResponse { verdict: _, counter_example_json, pointer, explanation } = found;
        let at = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
        output::line(format!("{word}{at}{}{explanation}", if explanation.is_empty() { "" } else { ": " }))?;
        if !counter_example_json.is_empty() {
            output::line(format!("accepted before, refused now: {counter_example_json}"))?;
        }
    }
    let passes = verdict == v1::SchemaVerdict::Compatible;
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::from(output::Exit::Failure as u8) })
}

/// A file where there is one of that name, else a stored version.
fn source(text: &str) -> anyhow::Result<v1::SchemaSource> {
    use v1::schema_source::Source;
    let path = std::path::Path::new(text);
    let source =
        if path.is_file() { Source::Manifest(std::fs::read(path)?) } else { Source::Component(text.to_owned()) };
    Ok(v1::SchemaSource { source: Some(source) })
}

/// A revision stands for all of its changes.
fn place(text: &str) -> Result<v1::LogPlace, String> {
    let fault = |_| format!("`{text}` is no place; write REVISION or REVISION:POSITION, such as 12 or 12:3");
    let (revision, position) = match text.split_once(':') {
        Some((revision, position)) => (revision, position.parse().map_err(fault)?),
        None => (text, u32::MAX),
    };
    Ok(v1::LogPlace { revision: revision.parse().map_err(fault)?, position })
}

fn done(
    common: &Common,
    component: &str,
    what: &str,
    revision: u64,
    touched: Option<v1::TouchedAssemblies>,
) -> anyhow::Result<ExitCode> {
    if common.json {
        let touched =
            touched.map(|touched| output::message_json("fitment.v1.TouchedAssemblies", &touched)).transpose()?;
        output::json(&serde_json::json!({what: component, "revision": revision, "touched": touched}))?;
    } else {
        output::line(format!("{component} {what}; revision {revision}"))?;
        show_touched(touched)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn delete(change: Change) -> anyhow::Result<ExitCode> {
    let Change { component, author: AuthorFlags { reason, actor }, etag, common } = change;
    let (name, version) = Named::exact(&component)?;
    let request = v1::DeleteComponentRequest { name, version, etag, request_id: String::new(), actor, reason };
    let done_at = common.server.catalog().await?.delete_component(common.server.request(request)).await?.into_inner();
    done(&common, &component, "deleted", done_at.revision, done_at.touched)
}

pub(super) async fn undelete(change: Change) -> anyhow::Result<ExitCode> {
    let Change { component, author: AuthorFlags { reason, actor }, etag, common } = change;
    let (name, version) = Named::exact(&component)?;
    let request = v1::UndeleteComponentRequest { name, version, etag, request_id: String::new(), actor, reason };
    let done_at = common.server.catalog().await?.undelete_component(common.server.request(request)).await?.into_inner();
    done(&common, &component, "restored", done_at.revision, None)
}

pub(super) async fn move_to(change: Change, to: &str) -> anyhow::Result<ExitCode> {
    let Change { component, author: AuthorFlags { reason, actor }, etag, common } = change;
    let (name, version) = Named::exact(&component)?;
    let lifecycle =
        v1::Lifecycle::from_str_name(&format!("LIFECYCLE_{}", to.to_uppercase())).unwrap_or_default() as i32;
    let request = v1::MoveComponentRequest { name, version, lifecycle, reason, actor, etag, request_id: String::new() };
    let done_at = common.server.catalog().await?.move_component(common.server.request(request)).await?.into_inner();
    done(&common, &component, to, done_at.revision, done_at.touched)
}

pub(super) async fn history(component: &str, common: &Common) -> anyhow::Result<ExitCode> {
    let (name, version) = Named::exact(component)?;
    let request = v1::GetComponentRequest { name, version, show_deleted: true, ..Default::default() };
    let mut found = common.server.catalog().await?.get_component(common.server.request(request)).await?.into_inner();
    found.manifest_json.clear();
    if common.json {
        output::json(&output::message_json("fitment.v1.Component", &found)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["when", "what", "who", "why", "revision"]);
    let written = found.history.first().map_or(found.lifecycle(), v1::LifecycleMove::from);
    table.add_row([
        time_text(found.create_time),
        format!("written as {}", word(written)),
        String::new(),
        String::new(),
        found.revision.to_string(),
    ]);
    for step in &found.history {
        table.add_row([
            time_text(step.time),
            word(step.to()),
            who(&step.actor, step.imported.as_ref()),
            step.reason.clone(),
            step.revision.to_string(),
        ]);
    }
    if found.delete_time.is_some() {
        table.add_row([
            time_text(found.delete_time),
            "deleted".into(),
            who(&found.deleted_by, found.delete_imported.as_ref()),
            found.delete_reason,
            String::new(),
        ]);
    }
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn watch(watch: Watch) -> anyhow::Result<ExitCode> {
    let interrupted = fitment_server::daemon::termination();
    tokio::select! {
        followed = follow(watch) => followed,
        () = interrupted => Err(super::super::Interrupted.into()),
    }
}

/// Prints changes. A connection that is cut, by its age or a restart of the daemon, is made anew after the last change that
/// was seen, and nothing is missed.
async fn follow(watch: Watch) -> anyhow::Result<ExitCode> {
    let Watch { after, until_now, json, server } = watch;
    let mut client = server.catalog().await?;
    let mut seen = match after {
        Some(place) => place,
        None => v1::LogPlace { revision: revision(&server).await?, position: u32::MAX },
    };
    // No deadline: it goes on until somebody ends it.
    let request = |after| v1::WatchCatalogRequest { after: Some(after), until_now };
    let mut changes = client.watch_catalog(request(seen)).await?.into_inner();
    loop {
        let change = match changes.message().await {
            Err(status) if is_cut(&status) => {
                output::warn(format!("the connection was cut ({}); connecting again", status.message()));
                changes = again(&server, request(seen)).await?;
                continue;
            }
            change => change?,
        };
        let Some(change) = change else { return Ok(ExitCode::SUCCESS) };
        seen = change.place.unwrap_or(seen);
        if json {
            output::line(output::message_json("fitment.v1.CatalogChange", &change)?)?;
            continue;
        }
        let v1::LogPlace { revision, position } = change.place.unwrap_or_default();
        let kind = change.kind().as_str_name().trim_start_matches("CATALOG_CHANGE_KIND_").to_lowercase();
        let (name, version, stands) = (&change.name, &change.version, word(change.lifecycle()));
        output::line(format!("{revision}:{position}\t{kind}\t{name}@{version}\t{stands}"))?;
    }
}

/// The catalogue's revision now.
async fn revision(server: &ServerFlags) -> anyhow::Result<u64> {
    let request = server.request(v1::GetServerInfoRequest {});
    let info = server.info().await?.get_server_info(request).await?.into_inner();
    Ok(info.catalog.unwrap_or_default().revision)
}

/// Whether an error is of the connection, or of a daemon that ends, and not of what was asked: those give reasons.
fn is_cut(status: &tonic::Status) -> bool {
    let of_connections =
        matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal | Code::Aborted);
    status.code() == Code::Unavailable || (of_connections && status.get_details_error_info().is_none())
}

/// Connects until it is answered, for a minute at most.
async fn again(
    server: &ServerFlags,
    request: v1::WatchCatalogRequest,
) -> anyhow::Result<tonic::Streaming<v1::CatalogChange>> {
    let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let answer = async { anyhow::Ok(server.catalog().await?.watch_catalog(request).await?.into_inner()) };
        match answer.await {
            Ok(changes) => return Ok(changes),
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            // Refusals are not mended by asking again.
            Err(error) if error.downcast_ref::<tonic::Status>().is_some_and(|status| !is_cut(status)) => {
                return Err(error);
            }
            Err(_cut) => tokio::time::sleep(pause).await,
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Who did it, and who brought the record of it here where that was elsewhere.
fn who(actor: &str, imported: Option<&v1::ImportMark>) -> String {
    match imported {
        None => actor.to_owned(),
        Some(mark) => format!("{actor}\n(imported by {}, {})", mark.actor, time_text(mark.time)),
    }
}

fn word(lifecycle: v1::Lifecycle) -> String {
    lifecycle.as_str_name().trim_start_matches("LIFECYCLE_").to_lowercase()
}
