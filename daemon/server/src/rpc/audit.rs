//! `AuditService`: the audit trail, to be read and to be checked.

use fitment_engine::EngineError;
use fitment_proto::v1;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::status::status_of;
use super::{EngineSlot, convert};

/// The service.
pub(crate) struct AuditService {
    pub(crate) engine: EngineSlot,
}

#[tonic::async_trait]
impl v1::audit_service_server::AuditService for AuditService {
    type ListAuditRecordsStream = ReceiverStream<Result<v1::AuditRecord, Status>>;

    async fn list_audit_records(
        &self,
        request: Request<v1::ListAuditRecordsRequest>,
    ) -> Result<Response<Self::ListAuditRecordsStream>, Status> {
        Ok(Response::new(super::watch::records(self.engine.of(&request)?, request.into_inner())))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::VerifyAuditRequest { known_sequence, known_digest } = request.into_inner();
        let verified = async {
            let known = (known_sequence > 0).then_some((known_sequence, known_digest));
            let head = engine.verify_audit(known.as_ref().map(|(at, digest)| (*at, digest.as_str()))).await?;
            Ok(v1::VerifyAuditResponse { sequence: head.sequence, digest: head.digest })
        };
        verified.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn get_decision(
        &self,
        request: Request<v1::GetDecisionRequest>,
    ) -> Result<Response<v1::RecordedDecision>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::GetDecisionRequest { decision_id } = request.into_inner();
        let read = async {
            let id = super::feedback::decision_id_from(&decision_id)?;
            Ok(convert::decision(decision_id, engine.decision(id).await?))
        };
        read.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }
}
