//! `AssemblyService`: plans, bindings, checks, locks and reports of assemblies, and those that are kept.

mod convert;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fitment_assembly::Tree;
use fitment_catalog::ComponentName;
use fitment_engine::{
    AskedImpact, AssemblyReport, AssemblySource, BoundConfiguration, CedarText, Engine, EngineError, PlanQuery,
    Tokenizer, TouchedAssembly,
};
use fitment_proto::v1;
use jiff::civil::Date;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::EngineSlot;
use super::status::status_of;

/// Files of one tree at most.
const MAX_TREE_FILES: usize = 100_000;
/// Largest request: a tree's files.
pub(crate) const MAX_TREE_BYTES: usize = 24 * 1024 * 1024;
/// Assemblies of a page of an impact.
const DEFAULT_IMPACT: usize = 100;
const MAX_IMPACT: usize = 10_000;
/// Assemblies whose remedies one call works out.
const MAX_REMEDIED: usize = 1000;
/// Events that wait for a slow reader.
const BUFFERED: usize = 64;
/// How often a watch looks for what ended by the clock.
const LOOK: Duration = Duration::from_secs(5);
/// Names that one watch may ask for.
const MAX_WATCHED: usize = 10_000;
/// Names of a watch and ids of parts, in bytes.
const MAX_PARTS: usize = 256;

/// The service.
pub(crate) struct AssemblyService {
    pub(crate) engine: EngineSlot,
    /// True once the daemon is to end: streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Runs what a call does and answers with it.
async fn answered<T>(work: impl Future<Output = Result<T, EngineError>>) -> Result<Response<T>, Status> {
    work.await.map(Response::new).map_err(|error| status_of(&error))
}

#[tonic::async_trait]
impl v1::assembly_service_server::AssemblyService for AssemblyService {
    async fn plan_assembly(
        &self,
        request: Request<v1::PlanAssemblyRequest>,
    ) -> Result<Response<v1::PlanAssemblyResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let query: PlanQuery = convert::plan_query(request.into_inner())?;
            Ok(convert::plan(engine.plan_assembly(query).await?))
        })
        .await
    }

    async fn get_context_pack(
        &self,
        request: Request<v1::GetContextPackRequest>,
    ) -> Result<Response<v1::ContextPack>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::GetContextPackRequest { components, token_budget, tokenizer, team } = request.into_inner();
            let tokenizer: Tokenizer = tokenizer.parse()?;
            let packed = engine.context_pack(components, token_budget as usize, tokenizer, team).await?;
            Ok(convert::context_pack(packed))
        })
        .await
    }

    async fn bind_configuration(
        &self,
        request: Request<v1::BindConfigurationRequest>,
    ) -> Result<Response<v1::BindConfigurationResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::BindConfigurationRequest { component, configuration, parts, written_as } = request.into_inner();
            let form = convert::schema_form("written_as", written_as)?;
            let parts = parts.into_iter().collect();
            let BoundConfiguration { component, bound } =
                engine.bind_configuration(component, configuration, form, parts).await?;
            Ok(convert::bound(component, bound))
        })
        .await
    }

    async fn get_configuration_form(
        &self,
        request: Request<v1::GetConfigurationFormRequest>,
    ) -> Result<Response<v1::ConfigurationForm>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::GetConfigurationFormRequest { component, form } = request.into_inner();
            let form = engine.configuration_form(component, convert::schema_form("form", form)?).await?;
            Ok(convert::configuration_form(form))
        })
        .await
    }

    async fn check_assembly(
        &self,
        request: Request<v1::CheckAssemblyRequest>,
    ) -> Result<Response<v1::CheckAssemblyResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::CheckAssemblyRequest { document, name, source, min_revision } = request.into_inner();
            let checked = engine.check_assembly(asked(document, &name, source)?, min_revision).await?;
            Ok(convert::checked(&checked))
        })
        .await
    }

    async fn lock_assembly(
        &self,
        request: Request<v1::LockAssemblyRequest>,
    ) -> Result<Response<v1::LockAssemblyResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::LockAssemblyRequest { document, name, source, tree } = request.into_inner();
            let locked = engine.lock_assembly(asked(document, &name, source)?, self::tree(tree)?).await?;
            Ok(convert::locked(&locked))
        })
        .await
    }

    async fn report_assembly(
        &self,
        request: Request<v1::ReportAssemblyRequest>,
    ) -> Result<Response<v1::ReportAssemblyResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::ReportAssemblyRequest { document, name, source, time, tree } = request.into_inner();
            let at = time.map(|time| convert::instant("time", time)).transpose()?;
            let AssemblyReport { checked, files: [cyclonedx, oscal, html], statement } =
                engine.report_assembly(asked(document, &name, source)?, self::tree(tree)?, at).await?;
            let check = Some(convert::checked(&checked));
            Ok(v1::ReportAssemblyResponse { cyclonedx, oscal, html, statement, check })
        })
        .await
    }

    async fn register_assembly(
        &self,
        request: Request<v1::RegisterAssemblyRequest>,
    ) -> Result<Response<v1::AssemblyRecord>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::RegisterAssemblyRequest { document, source, etag, actor, reason } = request.into_inner();
            let author = engine.viewer().author(actor, reason)?;
            Ok(convert::kept(engine.register_assembly(source, document, etag, author).await?))
        })
        .await
    }

    async fn get_assembly(
        &self,
        request: Request<v1::GetAssemblyRequest>,
    ) -> Result<Response<v1::AssemblyRecord>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::GetAssemblyRequest { name } = request.into_inner();
            Ok(convert::kept(engine.kept_assembly(super::convert::component_name(&name)?).await?))
        })
        .await
    }

    async fn list_assemblies(
        &self,
        request: Request<v1::ListAssembliesRequest>,
    ) -> Result<Response<v1::ListAssembliesResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::ListAssembliesRequest { page_size, page_token } = request.into_inner();
            checked_token(&page_token)?;
            let listing = engine.kept_assemblies(page_size as usize, page_token).await?;
            Ok(v1::ListAssembliesResponse {
                assemblies: listing.assemblies.into_iter().map(convert::kept).collect(),
                next_page_token: listing.next_token,
                total_size: listing.total,
            })
        })
        .await
    }

    async fn delete_assembly(
        &self,
        request: Request<v1::DeleteAssemblyRequest>,
    ) -> Result<Response<v1::DeleteAssemblyResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::DeleteAssemblyRequest { name, etag, actor, reason } = request.into_inner();
            let name = super::convert::component_name(&name)?;
            engine.delete_assembly(name, etag, engine.viewer().author(actor, reason)?).await?;
            Ok(v1::DeleteAssemblyResponse {})
        })
        .await
    }

    async fn get_impact(
        &self,
        request: Request<v1::GetImpactRequest>,
    ) -> Result<Response<v1::GetImpactResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(impact(&engine, request.into_inner())).await
    }

    type WatchAssembliesStream = ReceiverStream<Result<v1::AssemblyEvent, Status>>;

    async fn watch_assemblies(
        &self,
        request: Request<v1::WatchAssembliesRequest>,
    ) -> Result<Response<Self::WatchAssembliesStream>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::WatchAssembliesRequest { names, after_revision } = request.into_inner();
        let watched = async {
            if names.len() > MAX_WATCHED {
                let fault = format!("are {}; name {MAX_WATCHED} at most, or none for all", names.len());
                return Err(EngineError::field("names", fault));
            }
            let names = names.iter().map(|name| super::convert::component_name(name)).collect::<Result<_, _>>()?;
            follow(engine, names, after_revision, self.stopping.clone()).await
        };
        watched.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn upgrade_assembly(
        &self,
        request: Request<v1::UpgradeAssemblyRequest>,
    ) -> Result<Response<v1::UpgradeAssemblyResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::UpgradeAssemblyRequest { document, name, source, parts, tree } = request.into_inner();
            if parts.len() > MAX_PARTS {
                return Err(EngineError::field("parts", format!("are {}; name {MAX_PARTS} at most", parts.len())));
            }
            let parts: BTreeSet<String> = parts.into_iter().collect();
            let tree = self::tree(tree)?;
            let proposed = engine.upgrade_assembly(asked(document, &name, source)?, parts, tree).await?;
            Ok(convert::upgrade(&proposed))
        })
        .await
    }

    async fn set_assembly_policies(
        &self,
        request: Request<v1::SetAssemblyPoliciesRequest>,
    ) -> Result<Response<v1::AssemblyPolicies>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::SetAssemblyPoliciesRequest { policies, cedar, without_cedar, etag, actor, reason } =
                request.into_inner();
            if without_cedar && !cedar.is_empty() {
                return Err(EngineError::field("without_cedar", "comes with Cedar policies; send one or the other"));
            }
            let files = cedar.into_iter().map(|v1::CedarFile { name, text }| CedarText { name, text }).collect();
            let cedar = Some(files).filter(|files: &Vec<CedarText>| without_cedar || !files.is_empty());
            let author = engine.viewer().author(actor, reason)?;
            Ok(convert::policies(engine.set_assembly_policies(policies, cedar, etag, author).await?))
        })
        .await
    }

    async fn get_assembly_policies(
        &self,
        request: Request<v1::GetAssemblyPoliciesRequest>,
    ) -> Result<Response<v1::AssemblyPolicies>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::GetAssemblyPoliciesRequest {} = request.into_inner();
        answered(async { Ok(convert::policies(engine.assembly_policies()?)) }).await
    }

    async fn get_economics(
        &self,
        request: Request<v1::GetEconomicsRequest>,
    ) -> Result<Response<v1::GetEconomicsResponse>, Status> {
        let engine = self.engine.of(&request)?;
        answered(async {
            let v1::GetEconomicsRequest { period, team, from, to } = request.into_inner();
            let period = convert::period(period)?;
            let (from, to) = (day("from", &from, Date::MIN)?, day("to", &to, Date::MAX)?);
            if from > to {
                return Err(EngineError::field("from", format!("{from} lies after {to}; swap them")));
            }
            let team = Some(team).filter(|team| !team.is_empty());
            Ok(convert::economics(&engine.economics(from, to, team).await?, period))
        })
        .await
    }
}

/// The document that was sent, or the one that is kept by a name.
fn asked(document: Vec<u8>, name: &str, source: String) -> Result<AssemblySource, EngineError> {
    match (document.is_empty(), name.is_empty()) {
        (false, true) => Ok(AssemblySource::Document { source, bytes: document }),
        (true, false) => Ok(AssemblySource::Kept(super::convert::component_name(name)?)),
        (true, true) => {
            Err(EngineError::field("document", "is empty; send a document, or the name of a kept assembly"))
        }
        (false, false) => Err(EngineError::field("name", "comes with a document; send one or the other")),
    }
}

/// The files of a tree; none where none were sent.
fn tree(files: Vec<v1::TreeFile>) -> Result<Option<Tree>, EngineError> {
    if files.is_empty() {
        return Ok(None);
    }
    if files.len() > MAX_TREE_FILES {
        return Err(EngineError::field(
            "tree",
            format!("has {} files; at most {MAX_TREE_FILES} are taken", files.len()),
        ));
    }
    let entries = files.into_iter().enumerate().map(|(at, file)| convert::tree_entry(at, file));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    if let Some((at, (path, _))) = entries.iter().enumerate().find(|(_, (path, _))| !seen.insert(path.as_str())) {
        return Err(EngineError::field(format!("tree[{at}].path"), format!("`{path}` is there twice; send it once")));
    }
    Ok(Some(Tree::new(entries)))
}

/// A page token is the name that the page before ended with.
fn checked_token(token: &str) -> Result<(), EngineError> {
    if token.is_empty() || token.parse::<ComponentName>().is_ok() {
        return Ok(());
    }
    Err(EngineError::field("page_token", "is none that was given out; send next_page_token of the page before"))
}

/// A day; the default where it is empty.
fn day(field: &str, text: &str, default: Date) -> Result<Date, EngineError> {
    if text.is_empty() {
        return Ok(default);
    }
    text.parse().map_err(|_error| EngineError::field(field, "is no day; write it as 2026-01-31"))
}

async fn impact(engine: &Engine, request: v1::GetImpactRequest) -> Result<v1::GetImpactResponse, EngineError> {
    let v1::GetImpactRequest { target, page_size, page_token, names_only } = request;
    let asked: AskedImpact = convert::target(target)?;
    let most = if names_only { MAX_IMPACT } else { MAX_REMEDIED };
    let size = fitment_engine::page_size(page_size as usize, DEFAULT_IMPACT, most)?;
    checked_token(&page_token)?;
    let touched = engine.touched_assemblies(asked).await?;
    let (total, parts) = (touched.len(), touched.iter().map(|touched| touched.parts.len()).sum::<usize>());
    let page: Vec<TouchedAssembly> =
        touched.into_iter().skip_while(|touched| touched.name.to_string() <= page_token).take(size + 1).collect();
    let next_page_token = match page.get(size) {
        Some(_) => page[size - 1].name.to_string(),
        None => String::new(),
    };
    let mut needs = if names_only {
        BTreeMap::new()
    } else {
        let asked = page.iter().take(size).map(|found| (found.name.clone(), found.parts.keys().cloned().collect()));
        engine.part_needs(asked.collect()).await?
    };
    let mut assemblies = Vec::with_capacity(page.len().min(size));
    for TouchedAssembly { name, owner, parts } in page.into_iter().take(size) {
        let parts = if names_only {
            parts.into_iter().map(|(part, component)| convert::part_in_use(part, &component)).collect()
        } else {
            // Nothing of one that was forgotten meanwhile.
            let needs = needs.remove(&name).unwrap_or_default();
            needs.into_iter().map(|(part, need)| convert::part_impact(part, need)).collect()
        };
        assemblies.push(v1::AssemblyImpact { assembly: name.to_string(), parts, owner: owner.unwrap_or_default() });
    }
    Ok(v1::GetImpactResponse { assemblies, total_size: total as u64, next_page_token, total_parts: parts as u64 })
}

/// Events of kept assemblies until either side ends the stream. A reader that stalls costs one task and a buffer.
async fn follow(
    engine: Engine,
    names: BTreeSet<ComponentName>,
    after: u64,
    mut stopping: watch::Receiver<bool>,
) -> Result<ReceiverStream<Result<v1::AssemblyEvent, Status>>, EngineError> {
    // From here on every change wakes the wait below.
    let mut revisions = engine.revisions();
    let mut watch = engine.watch_assemblies(names, after).await?;
    let (sender, stream) = mpsc::channel(BUFFERED);
    tokio::spawn(async move {
        loop {
            let (looked, changes) = match engine.assembly_changes(watch).await {
                Ok(found) => found,
                Err(error) => {
                    drop(sender.send(Err(status_of(&error))).await);
                    return;
                }
            };
            watch = looked;
            for change in changes {
                if sender.send(Ok(convert::event(change))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK) => {}
                () = sender.closed() => return,
                () = async { drop(stopping.wait_for(|&stop| stop).await) } => {
                    drop(sender.send(Err(status_of(&EngineError::Stopping))).await);
                    return;
                }
            }
        }
    });
    Ok(ReceiverStream::new(stream))
}

/// What a change touches, as answers of other services say it; `None`: nothing.
pub(super) fn touched(touched: fitment_engine::Touched) -> Option<v1::TouchedAssemblies> {
    let fitment_engine::Touched { total, parts, names } = touched;
    (total > 0).then(|| v1::TouchedAssemblies {
        total: total as u64,
        names: names.iter().map(ToString::to_string).collect(),
        parts: parts as u64,
    })
}
