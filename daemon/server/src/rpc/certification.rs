//! `CertificationService`: trust roots, certificates and revocations in and out.

use fitment_engine::{Card, CertificateListing, EngineError, Recorded, StoredCertificate};
use fitment_proto::v1;
use fitment_trust::{Coverage, Finding, Standing, Support, VerifiedCertificate};
use tonic::{Request, Response, Status};

use super::assembly::touched;
use super::catalog::selector;
use super::status::status_of;
use super::{EngineSlot, convert, count};

/// The service.
pub(crate) struct CertificationService {
    pub(crate) engine: EngineSlot,
}

#[tonic::async_trait]
impl v1::certification_service_server::CertificationService for CertificationService {
    async fn install_trust_root(
        &self,
        request: Request<v1::InstallTrustRootRequest>,
    ) -> Result<Response<v1::InstallTrustRootResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::InstallTrustRootRequest { trust_root, source, actor, reason } = request.into_inner();
        let installed = async {
            convert::short("source", &source, 1024)?;
            let source = if source.is_empty() { "trust root".to_owned() } else { source };
            let (revision, root) =
                engine.install_trust_root(source, trust_root, engine.viewer().author(actor, reason)?).await?;
            Ok(v1::InstallTrustRootResponse {
                revision,
                version: root.version(),
                digest: root.digest().to_string(),
                matchable_versions: engine.info().matchable as u64,
                touched: touched(engine.touched_uncertified()),
            })
        };
        installed.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn get_trust_root(
        &self,
        request: Request<v1::GetTrustRootRequest>,
    ) -> Result<Response<v1::TrustRoot>, Status> {
        let root = self.engine.of(&request)?.trust_root().ok_or_else(|| status_of(&EngineError::NoTrustRoot))?;
        Ok(Response::new(v1::TrustRoot {
            version: root.version(),
            digest: root.digest().to_string(),
            json: root.to_value().to_string(),
        }))
    }

    async fn add_certificate(
        &self,
        request: Request<v1::AddCertificateRequest>,
    ) -> Result<Response<v1::CertificationRecord>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::AddCertificateRequest { envelope, evidence, actor, reason, earlier_roots } = request.into_inner();
        let added = async {
            engine.add_certificate(envelope, evidence, earlier_roots, engine.viewer().author(actor, reason)?).await
        };
        added.await.map(|added| Response::new(record(added, None))).map_err(|error: EngineError| status_of(&error))
    }

    async fn list_certificates(
        &self,
        request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::ListCertificatesRequest { name, version, digest } = request.into_inner();
        let listed = async { engine.certificates(selector(&name, &version, &digest)?).await };
        let CertificateListing { card, certificates, standing } =
            listed.await.map_err(|error: EngineError| status_of(&error))?;
        Ok(Response::new(v1::ListCertificatesResponse {
            certificates: certificates.into_iter().map(certificate).collect(),
            standing: standing.map(|standing| version_standing((card, standing))),
        }))
    }

    async fn revoke_certificate(
        &self,
        request: Request<v1::RevokeCertificateRequest>,
    ) -> Result<Response<v1::CertificationRecord>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::RevokeCertificateRequest { envelope, actor, reason, accepted_json } = request.into_inner();
        let revoked = async {
            let accepted = match accepted_json.as_str() {
                "" => None,
                text => Some(serde_json::from_str(text).map_err(|error| {
                    EngineError::field("accepted_json", format!("is no JSON ({error}); send what an export holds"))
                })?),
            };
            engine.revoke(envelope, accepted, engine.viewer().author(actor, reason)?).await
        };
        let revoked = revoked.await.map_err(|error: EngineError| status_of(&error))?;
        let lost = revoked.versions.iter().filter(|(_, standing)| !standing.certified).map(|(card, _)| card.digest);
        let touched = touched(engine.touched_by(&lost.collect::<Vec<_>>()));
        Ok(Response::new(record(revoked, touched)))
    }

    async fn get_evidence(&self, request: Request<v1::GetEvidenceRequest>) -> Result<Response<v1::Evidence>, Status> {
        let engine = self.engine.of(&request)?;
        let v1::GetEvidenceRequest { digest } = request.into_inner();
        let read = async {
            let digest = digest.parse().map_err(|error| EngineError::field("digest", format!("{error}")))?;
            engine.evidence(digest).await
        };
        let content = read.await.map_err(|error: EngineError| status_of(&error))?;
        Ok(Response::new(v1::Evidence { content }))
    }
}

fn record(recorded: Recorded, touched: Option<v1::TouchedAssemblies>) -> v1::CertificationRecord {
    let Recorded { digest, revision, versions, new } = recorded;
    v1::CertificationRecord {
        digest: digest.to_string(),
        revision,
        versions: versions.into_iter().map(version_standing).collect(),
        already_recorded: !new,
        touched,
    }
}

fn version_standing((card, standing): (Card, Standing)) -> v1::VersionStanding {
    let Standing { certified, changes_at, requirements, conditions, revoked_by, findings, root_version, root_digest } =
        standing;
    let finding = |Finding { certificate, reason }: Finding| format!("{certificate} {reason}");
    v1::VersionStanding {
        name: card.name.to_string(),
        version: card.version.to_string(),
        digest: card.digest.to_string(),
        lifecycle: convert::lifecycle_to(card.lifecycle) as i32,
        certified,
        changes_at: changes_at.map(convert::timestamp),
        requirements: requirements.into_iter().map(requirement).collect(),
        conditions,
        revoked_by: revoked_by.iter().map(ToString::to_string).collect(),
        findings: findings.into_iter().map(finding).collect(),
        trust_root_version: root_version,
        trust_root_digest: root_digest.to_string(),
    }
}

fn requirement(coverage: Coverage) -> v1::RequirementStanding {
    let Coverage { policy, requirement, threshold, covered, until, support } = coverage;
    let support = support.into_iter().map(|Support { certificate, key, until: _ }| format!("{certificate} {key}"));
    v1::RequirementStanding {
        policy,
        requirement,
        threshold: count(threshold),
        covered,
        until: until.map(convert::timestamp),
        support: support.collect(),
    }
}

fn certificate((stored, verified): (StoredCertificate, Option<VerifiedCertificate>)) -> v1::Certificate {
    let StoredCertificate { digest, envelope, time, revision } = stored;
    let signers = |verified: &VerifiedCertificate| {
        verified.signers().iter().map(fitment_trust::PublicKey::id).collect::<Vec<_>>()
    };
    v1::Certificate {
        digest,
        predicate_type: verified
            .as_ref()
            .map(|verified| verified.statement().predicate().type_uri().to_owned())
            .unwrap_or_default(),
        signers: verified.as_ref().map(signers).unwrap_or_default(),
        create_time: Some(convert::timestamp(time)),
        revision,
        envelope: envelope.into_bytes(),
    }
}
