//! `FeedbackService`: verdicts in; labelled intents, example intents and drift out.

use std::pin::Pin;

use fitment_engine::{
    Disposition, DriftLevel, DriftReport, EngineError, ExampleProposal, ExportCursor, FeedbackCounts, FeedbackSummary,
    IntentDrift, Label, LabelPage, LabelState, OutcomeReport, PromiseRecord, PromiseWatch, Verdict,
};
use fitment_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::status::status_of;
use super::{EngineSlot, convert};

/// Rows of a stream that wait for a slow receiver.
const STREAM_BUFFER: usize = 64;

/// The service.
pub(crate) struct FeedbackService {
    pub(crate) engine: EngineSlot,
}

/// Messages of one kind as they come.
type Rows<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::feedback_service_server::FeedbackService for FeedbackService {
    async fn record_outcome(
        &self,
        request: Request<v1::RecordOutcomeRequest>,
    ) -> Result<Response<v1::RecordOutcomeResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let recorded = async {
            let report = report(request.into_inner())?;
            let decision_id = report.decision_id.to_string();
            let recorded = engine.record_outcome(report).await?;
            Ok(v1::RecordOutcomeResponse {
                decision_id,
                disposition: disposition_to(recorded.disposition) as i32,
                label_id: recorded.label_id.unwrap_or_default(),
                detail: recorded.detail,
            })
        };
        recorded.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn list_labels(
        &self,
        request: Request<v1::ListLabelsRequest>,
    ) -> Result<Response<v1::ListLabelsResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let listed = async {
            let v1::ListLabelsRequest { page_size, page_token, state } = request.into_inner();
            let page = LabelPage { size: page_size as usize, token: page_token, state: state_from(state)? };
            let listing = engine.labels(page).await?;
            Ok(v1::ListLabelsResponse {
                labels: listing.labels.into_iter().map(label_to).collect(),
                next_page_token: listing.next_token,
                total_size: listing.total,
            })
        };
        listed.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn review_labels(
        &self,
        request: Request<v1::ReviewLabelsRequest>,
    ) -> Result<Response<v1::ReviewLabelsResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let reviewed = async {
            let v1::ReviewLabelsRequest { label_ids, decision } = request.into_inner();
            let approve = match v1::ReviewDecision::try_from(decision) {
                Ok(v1::ReviewDecision::Approve) => true,
                Ok(v1::ReviewDecision::Refuse) => false,
                Ok(v1::ReviewDecision::Unspecified) => {
                    return Err(EngineError::field("decision", "is missing; approve or refuse"));
                }
                Err(_) => return Err(convert::unknown("decision", decision)),
            };
            let labels = engine.review_labels(label_ids, approve).await?;
            Ok(v1::ReviewLabelsResponse { labels: labels.into_iter().map(label_to).collect() })
        };
        reviewed.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    type ExportLabelsStream = Rows<v1::ExportLabelsResponse>;

    async fn export_labels(
        &self,
        request: Request<v1::ExportLabelsRequest>,
    ) -> Result<Response<Self::ExportLabelsStream>, Status> {
        let engine = self.engine.of(&request)?;
        Ok(stream(move |rows| {
            let mut cursor = ExportCursor::default();
            while let Some(intents) = engine.export_labels(&mut cursor)? {
                for intent in intents {
                    if rows.blocking_send(Ok(row(intent))).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        }))
    }

    type ProposeExamplesStream = Rows<v1::ProposeExamplesResponse>;

    async fn propose_examples(
        &self,
        request: Request<v1::ProposeExamplesRequest>,
    ) -> Result<Response<Self::ProposeExamplesStream>, Status> {
        let engine = self.engine.of(&request)?;
        Ok(stream(move |rows| {
            for (name, intents) in engine.example_candidates()? {
                if let Some(proposal) = engine.propose_examples(&name, &intents)?
                    && rows.blocking_send(Ok(proposal_to(proposal))).is_err()
                {
                    return Ok(());
                }
            }
            Ok(())
        }))
    }

    async fn get_drift(&self, request: Request<v1::GetDriftRequest>) -> Result<Response<v1::GetDriftResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let DriftReport { intents, promise, counts } = engine.drift().await.map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::GetDriftResponse {
            intents: Some(drift_to(intents)),
            promise: promise.map(promise_to),
            counts: Some(counts_to(counts)),
        }))
    }
}

/// Runs a reader on the blocking pool and streams what it sends; it ends when its receiver has left.
fn stream<T: Send + 'static>(
    read: impl FnOnce(&mpsc::Sender<Result<T, Status>>) -> Result<(), EngineError> + Send + 'static,
) -> Response<Rows<T>> {
    let (rows, stream) = mpsc::channel(STREAM_BUFFER);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(&rows) {
            // A receiver that left needs no answer.
            drop(rows.blocking_send(Err(status_of(&error))));
        }
    });
    Response::new(Box::pin(ReceiverStream::new(stream)))
}

fn report(request: v1::RecordOutcomeRequest) -> Result<OutcomeReport, EngineError> {
    use v1::record_outcome_request::Verdict as Wire;
    let v1::RecordOutcomeRequest { decision_id, verdict, note, request_id } = request;
    let verdict = match verdict {
        None => {
            let fault = "is missing; send accepted, rejected, chosen_component or none_fits";
            return Err(EngineError::field("verdict", fault));
        }
        Some(Wire::Accepted(())) => Verdict::Accepted,
        Some(Wire::Rejected(())) => Verdict::Rejected,
        Some(Wire::NoneFits(())) => Verdict::NoneFits,
        Some(Wire::ChosenComponent(name)) => {
            Verdict::Chosen(name.parse().map_err(|error: fitment_catalog::CatalogError| {
                EngineError::field("chosen_component", error.to_string())
            })?)
        }
    };
    Ok(OutcomeReport { decision_id: decision_id_from(&decision_id)?, verdict, note, request_id })
}

pub(super) fn decision_id_from(text: &str) -> Result<Uuid, EngineError> {
    Uuid::try_parse(text).map_err(|_error| {
        let shown: String = text.chars().take(80).filter(|character| !character.is_control()).collect();
        EngineError::field("decision_id", format!("`{shown}` is no UUID; send the decision_id of an answer"))
    })
}

fn disposition_to(disposition: Disposition) -> v1::LabelDisposition {
    match disposition {
        Disposition::Recorded => v1::LabelDisposition::Recorded,
        Disposition::Waiting => v1::LabelDisposition::Waiting,
        Disposition::Approved => v1::LabelDisposition::Approved,
        Disposition::Refused => v1::LabelDisposition::Refused,
    }
}

fn state_from(value: i32) -> Result<Option<LabelState>, EngineError> {
    match v1::LabelState::try_from(value) {
        Ok(v1::LabelState::Unspecified) => Ok(None),
        Ok(v1::LabelState::Waiting) => Ok(Some(LabelState::Waiting)),
        Ok(v1::LabelState::Approved) => Ok(Some(LabelState::Approved)),
        Ok(v1::LabelState::Refused) => Ok(Some(LabelState::Refused)),
        Err(_) => Err(convert::unknown("state", value)),
    }
}

fn label_to((id, label): (String, Label)) -> v1::Label {
    let Label { intent, component, state, count, decision_ids, reviewed, note, create_time, update_time } = label;
    let state = match state {
        LabelState::Waiting => v1::LabelState::Waiting,
        LabelState::Approved => v1::LabelState::Approved,
        LabelState::Refused => v1::LabelState::Refused,
    };
    v1::Label {
        id,
        intent,
        component: component.unwrap_or_default(),
        state: state as i32,
        count,
        decision_ids,
        reviewed,
        note,
        create_time: Some(convert::timestamp(create_time)),
        update_time: Some(convert::timestamp(update_time)),
    }
}

fn row(intent: fitment_catalog::LabelledIntent) -> v1::ExportLabelsResponse {
    let fitment_catalog::LabelledIntent {
        id: _,
        text,
        split,
        example_type: _,
        judgements,
        candidates: _,
        outcome: _,
        rationale,
        ..
    } = intent;
    let (expected, alternates): (Vec<_>, Vec<_>) = judgements.into_iter().partition(|&(_, relevance)| relevance > 1);
    v1::ExportLabelsResponse {
        split,
        intent: text,
        expected: expected.first().map(|(name, _)| name.to_string()).unwrap_or_default(),
        alternates: alternates.into_iter().map(|(name, _)| name.to_string()).collect(),
        rationale: rationale.unwrap_or_default(),
    }
}

fn proposal_to(proposal: ExampleProposal) -> v1::ProposeExamplesResponse {
    let ExampleProposal { base_version, manifest, added, left_out } = proposal;
    v1::ProposeExamplesResponse {
        name: manifest.name().to_string(),
        base_version: base_version.to_string(),
        version: manifest.version().to_string(),
        manifest_yaml: manifest.to_yaml(),
        added,
        left_out: left_out as u64,
    }
}

fn level_to(level: Option<DriftLevel>) -> v1::DriftLevel {
    match level {
        None => v1::DriftLevel::Unspecified,
        Some(DriftLevel::Stable) => v1::DriftLevel::Stable,
        Some(DriftLevel::Moderate) => v1::DriftLevel::Moderate,
        Some(DriftLevel::Strong) => v1::DriftLevel::Strong,
    }
}

fn drift_to(drift: IntentDrift) -> v1::IntentDrift {
    let IntentDrift { measured, reference_size, window_size, from_calibration } = drift;
    v1::IntentDrift {
        level: level_to(measured.map(|measured| measured.level)) as i32,
        confidence_psi: measured.map(|measured| measured.confidence_psi),
        top_dense_psi: measured.map(|measured| measured.top_cosine_psi),
        mean_vector_distance: measured.and_then(|measured| measured.mean_distance),
        reference_size,
        window_size,
        reference_from_calibration: from_calibration,
    }
}

fn promise_to(promise: PromiseWatch) -> v1::PromiseWatch {
    let detail = promise.detail();
    let next_look = promise.record.next_look();
    let PromiseWatch { calibration_id, max_error, confidence_level, record } = promise;
    let PromiseRecord { verdicts, errors, looks: _, lower_bound, broken } = record;
    v1::PromiseWatch {
        calibration_id,
        max_error,
        confidence_level,
        verdicts,
        errors,
        lower_bound,
        next_look,
        broken: broken.is_some(),
        detail,
    }
}

fn counts_to(counts: FeedbackCounts) -> v1::FeedbackCounts {
    let FeedbackCounts { decisions, decisions_lost, labels_waiting, labels_approved, labels_refused } = counts;
    v1::FeedbackCounts { decisions, decisions_lost, labels_waiting, labels_approved, labels_refused }
}

/// What use says, in a few words.
pub(super) fn summary(summary: FeedbackSummary) -> v1::FeedbackInfo {
    let FeedbackSummary { decisions, level, promise } = summary;
    let PromiseRecord { verdicts, errors, looks: _, lower_bound: _, broken } = promise.unwrap_or_default();
    v1::FeedbackInfo {
        decisions,
        drift: level_to(level) as i32,
        promise_verdicts: verdicts,
        promise_errors: errors,
        promise_broken: broken.is_some(),
    }
}
