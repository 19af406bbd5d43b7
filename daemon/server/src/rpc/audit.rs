//! `AuditService`: the audit trail, to be read and to be checked.

use fitment_catalog::Digest;
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
            let known = known(known_sequence, &known_digest)?;
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

/// The record that the chain must go through. What is no digest agrees with no record, and says nothing about the chain.
fn known(sequence: u64, digest: &str) -> Result<Option<(u64, String)>, EngineError> {
    if sequence == 0 {
        return Ok(None);
    }
    let digest: Digest = digest.parse().map_err(|error| EngineError::field("known_digest", format!("{error}")))?;
    Ok(Some((sequence, digest.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_digest_is_refused_and_never_said_back_whole() {
        assert_eq!(known(0, "anything").expect("nothing is known"), None);
        let digest = Digest::of(b"record").to_string();
        assert_eq!(known(7, &digest).expect("a digest"), Some((7, digest)));
        for bad in ["", "sha256:1", &"x".repeat(1 << 20)] {
            let refused = known(7, bad).expect_err("no digest");
            assert_eq!(status_of(&refused).code(), tonic::Code::InvalidArgument);
            assert!(refused.to_string().len() < 1000);
        }
    }
}
