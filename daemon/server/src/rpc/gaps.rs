//! `GapService`: what is asked for and nothing certified meets.

use fitment_engine::{EngineError, Gap, GapCounts, GapIntent, GapLink, GapListing, GapPage, GapReport, NearComponent};
use fitment_proto::v1;
use tonic::{Request, Response, Status};

use super::status::status_of;
use super::{EngineSlot, convert};

/// Longest id that is looked for, in bytes.
const MAX_ID_BYTES: usize = 128;

/// The service.
pub(crate) struct GapService {
    pub(crate) engine: EngineSlot,
}

#[tonic::async_trait]
impl v1::gap_service_server::GapService for GapService {
    async fn list_gaps(&self, request: Request<v1::ListGapsRequest>) -> Result<Response<v1::ListGapsResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::ListGapsRequest { page_size, page_token, window_days } = request.into_inner();
        let page = GapPage { size: page_size as usize, token: page_token, window_days };
        let listing = engine.gaps(page).await.map_err(|error| status_of(&error))?;
        let GapListing { gaps, next_token, total, counts } = listing;
        Ok(Response::new(v1::ListGapsResponse {
            gaps: gaps.into_iter().map(gap_to).collect(),
            next_page_token: next_token,
            total_size: total as u64,
            counts: Some(counts_to(counts)),
        }))
    }

    async fn get_gap(&self, request: Request<v1::GetGapRequest>) -> Result<Response<v1::GetGapResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let got = async {
            let v1::GetGapRequest { id, window_days } = request.into_inner();
            let (gap, intents) = engine.gap(checked(id)?, window_days).await?;
            let intents = intents.into_iter().map(intent_to).collect();
            Ok(v1::GetGapResponse { gap: Some(gap_to(gap)), intents })
        };
        got.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn draft_manifest(
        &self,
        request: Request<v1::DraftManifestRequest>,
    ) -> Result<Response<v1::DraftManifestResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let drafted = async {
            let v1::DraftManifestRequest { id } = request.into_inner();
            let draft = engine.draft_manifest(checked(id)?).await?;
            Ok(v1::DraftManifestResponse {
                manifest_yaml: draft.manifest.to_yaml(),
                name: draft.manifest.name().to_string(),
                left_out: draft.left_out as u64,
            })
        };
        drafted.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn link_gap(&self, request: Request<v1::LinkGapRequest>) -> Result<Response<v1::LinkGapResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let linked = async {
            let v1::LinkGapRequest { id, component, actor, reason } = request.into_inner();
            let gap = engine.link_gap(checked(id)?, component, engine.viewer().author(actor, reason)?).await?;
            Ok(v1::LinkGapResponse { gap: Some(gap_to(gap)) })
        };
        linked.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn report_gap(
        &self,
        request: Request<v1::ReportGapRequest>,
    ) -> Result<Response<v1::ReportGapResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let reported = async {
            let v1::ReportGapRequest { id } = request.into_inner();
            Ok(report_to(engine.gap_report(checked(id)?).await?))
        };
        reported.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }
}

fn checked(id: String) -> Result<String, EngineError> {
    convert::short("id", &id, MAX_ID_BYTES)?;
    if id.is_empty() { Err(EngineError::field("id", "is missing; send the id of a gap")) } else { Ok(id) }
}

fn gap_to(gap: Gap) -> v1::Gap {
    let Gap {
        id,
        representatives,
        intents,
        asked,
        asked_in_window,
        asked_in_window_before,
        first,
        last,
        nearest,
        link,
        answered_by,
    } = gap;
    v1::Gap {
        id,
        representatives: representatives.into_iter().map(intent_to).collect(),
        intents: intents as u64,
        asked,
        asked_in_window,
        asked_in_window_before,
        first_time: Some(convert::timestamp(first)),
        last_time: Some(convert::timestamp(last)),
        nearest: nearest.into_iter().map(near_to).collect(),
        link: link.map(link_to),
        answered_by: answered_by.unwrap_or_default(),
    }
}

fn intent_to(intent: GapIntent) -> v1::GapIntent {
    let GapIntent { text, text_digest, asked, first, last, cosine } = intent;
    v1::GapIntent {
        text: text.unwrap_or_default(),
        text_digest: text_digest.unwrap_or_default(),
        asked,
        first_time: Some(convert::timestamp(first)),
        last_time: Some(convert::timestamp(last)),
        cosine,
    }
}

fn near_to(near: NearComponent) -> v1::NearComponent {
    let NearComponent { name, version, cosine } = near;
    v1::NearComponent { name: name.to_string(), version: version.to_string(), cosine }
}

fn link_to(link: GapLink) -> v1::GapLink {
    let GapLink { component, time, actor, reason } = link;
    v1::GapLink { component, time: Some(convert::timestamp(time)), actor, reason }
}

fn counts_to(counts: GapCounts) -> v1::GapCounts {
    let GapCounts { intents, lost, dropped, text } = counts;
    v1::GapCounts { intents: intents as u64, lost, dropped, text: text.as_str().to_owned() }
}

fn report_to(report: GapReport) -> v1::ReportGapResponse {
    let GapReport { gap, replayed, replayed_intents, not_replayed, answered_by, traffic } = report;
    let (before, since) = traffic.unzip();
    v1::ReportGapResponse {
        gap: Some(gap_to(gap)),
        replayed: Some(outcomes_to(replayed)),
        replayed_intents: replayed_intents as u64,
        not_replayed: not_replayed as u64,
        answered_by: answered_by.into_iter().map(|(name, asked)| v1::AnsweringComponent { name, asked }).collect(),
        traffic_before: before.map(outcomes_to),
        traffic_since: since.map(outcomes_to),
    }
}

fn outcomes_to([zero_generation, minimal_generation, raw_generation, candidates]: [u64; 4]) -> v1::OutcomeCounts {
    v1::OutcomeCounts { zero_generation, minimal_generation, raw_generation, candidates }
}
