//! The real services, in process, and the model beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fitment_catalog::{Digest, Format, Manifest};
use fitment_proto::v1;
use fitment_proto::v1::assembly_service_client::AssemblyServiceClient;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_proto::v1::certification_service_client::CertificationServiceClient;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use fitment_trust::{CERTIFICATION_TYPE, Envelope, PrivateKey, REVOCATION_TYPE, Statement, Subject};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::{Code, Status};

use super::model::{Model, Written, subject, window};
use super::steps::{Believed, COMPONENTS, Invalid, LIFECYCLES, Step, VERSIONS, Which};
use crate::testing::{self, Services};

/// Noon, the first of June 2026.
const BEGINNING: i64 = 1_780_315_200;

pub(super) struct World {
    model: Model,
    now: Arc<AtomicI64>,
    services: Option<Services>,
    /// The etag of each state that a version has been seen in.
    etags: BTreeMap<(Which, usize), String>,
    runtime: Runtime,
    folder: TempDir,
}

fn manifest((component, version): Which, (content, lifecycle): Written) -> String {
    format!(
        "name: {}\nversion: {}\ntitle: Thing {content}\nsummary: Does things.\nkind: service\nlifecycle: {}\nlicense: MIT\n\
         owner: team\n",
        COMPONENTS[component], VERSIONS[version], LIFECYCLES[lifecycle]
    )
}

fn key(believed: bool) -> PrivateKey {
    PrivateKey::from_seed(&[if believed { 7 } else { 8 }; 32])
}

fn root(version: u64) -> Vec<u8> {
    let value = json!({
        "version": version,
        "keys": [{ "id": "k", "public_key": key(true).public().to_base64(),
            "not_before": "2025-01-01T00:00:00Z", "not_after": "2028-01-01T00:00:00Z" }],
        "roles": [{ "id": "r", "keys": ["k"], "components": ["*"], "standards": ["*"], "may_revoke": true }],
        "policies": [{ "id": "p", "components": ["*"], "require": [{ "standard": "pci" }] }],
    });
    value.to_string().into_bytes()
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("in range").to_string()
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let now = Arc::new(AtomicI64::new(BEGINNING));
        let model = Model::new(BEGINNING);
        let mut world = Self { model, now, services: None, etags: BTreeMap::new(), runtime, folder };
        world.open();
        world
    }

    /// Closes what is open and opens the catalogue.
    fn open(&mut self) {
        self.services = None;
        let config = testing::config(self.folder.path()).expect("a configuration");
        // Threads of the engine that was dropped just now may hold the store a moment longer.
        let engine = loop {
            match testing::open(&config, &self.now) {
                Ok(engine) => break engine,
                Err(error) if error.to_string().contains("in use") => std::thread::yield_now(),
                Err(error) => panic!("{error:#}"),
            }
        };
        let (services, _stop) = self.runtime.block_on(async { testing::services(&config, engine) }).expect("services");
        self.services = Some(services);
    }

    fn services(&self) -> Services {
        self.services.clone().expect("opened")
    }

    /// Makes a call and has it end as the model says.
    pub(super) fn take(&mut self, step: &Step) {
        if let Step::Import { version, content } = *step {
            return self.import(version, content);
        }
        let answered = self.ask(step);
        let expected = self.model.take(step);
        let found = answered.as_ref().copied().map_err(Status::code);
        assert_eq!(found, expected, "{step:?}: {answered:?}");
        self.now.store(self.model.now, Ordering::SeqCst);
        if matches!(step, Step::Restart) {
            self.open();
        }
    }

    fn ask(&self, step: &Step) -> Result<(), Status> {
        let mut catalog = CatalogServiceClient::new(self.services());
        let request_id = |request: Option<usize>| request.map(|id| format!("request-{id}")).unwrap_or_default();
        let of = |(component, version): Which| (COMPONENTS[component].to_owned(), VERSIONS[version].to_owned());
        let author = || ("sequence".to_owned(), "a test".to_owned());
        self.runtime.block_on(async {
            match *step {
                Step::Create { which, content, lifecycle, request, validate_only } => {
                    let made = catalog.create_component(v1::CreateComponentRequest {
                        manifest: manifest(which, (content, lifecycle)).into_bytes(),
                        request_id: request_id(request),
                        validate_only,
                        ..Default::default()
                    });
                    let made = made.await?.into_inner();
                    let digest = digest_of(which, (content, lifecycle));
                    assert_eq!((made.name, made.version, made.digest), (of(which).0, of(which).1, digest.to_string()));
                }
                Step::Delete { which, believed, request } => {
                    let ((name, version), (actor, reason)) = (of(which), author());
                    let (etag, request_id) = (self.etag(which, believed), request_id(request));
                    let asked = v1::DeleteComponentRequest { name, version, etag, request_id, actor, reason };
                    catalog.delete_component(asked).await?;
                }
                Step::Undelete { which, believed, request } => {
                    let ((name, version), (actor, reason)) = (of(which), author());
                    let (etag, request_id) = (self.etag(which, believed), request_id(request));
                    let asked = v1::UndeleteComponentRequest { name, version, etag, request_id, actor, reason };
                    catalog.undelete_component(asked).await?;
                }
                Step::Move { which, to, believed, request } => {
                    let ((name, version), (actor, reason)) = (of(which), author());
                    let (etag, request_id) = (self.etag(which, believed), request_id(request));
                    let lifecycle = i32::try_from(to + 1).expect("one of five");
                    let asked = v1::MoveComponentRequest { name, version, lifecycle, reason, actor, etag, request_id };
                    catalog.move_component(asked).await?;
                }
                Step::Register { name, which, believed } => {
                    let document =
                        format!("name: apps/app-{name}\nparts:\n- {{id: a, component: {}}}\n", subject(which));
                    let etag = self.assembly_etag(name, believed).await;
                    let asked =
                        v1::RegisterAssemblyRequest { document: document.into_bytes(), etag, ..Default::default() };
                    AssemblyServiceClient::new(self.services()).register_assembly(asked).await?;
                }
                Step::Forget { name, believed } => {
                    let etag = self.assembly_etag(name, believed).await;
                    let asked =
                        v1::DeleteAssemblyRequest { name: format!("apps/app-{name}"), etag, ..Default::default() };
                    AssemblyServiceClient::new(self.services()).delete_assembly(asked).await?;
                }
                Step::InstallRoot { version } => {
                    let asked = v1::InstallTrustRootRequest { trust_root: root(version), ..Default::default() };
                    CertificationServiceClient::new(self.services()).install_trust_root(asked).await?;
                }
                Step::Certify { which, hours, believed_key } => {
                    let (from, until) = window(self.model.now, hours);
                    let predicate = json!({ "standards": [{ "standard": "pci" }],
                        "valid_from": time(from), "valid_until": time(until) });
                    let envelope = self.signed(which, CERTIFICATION_TYPE, &predicate, believed_key);
                    let asked = v1::AddCertificateRequest { envelope, ..Default::default() };
                    CertificationServiceClient::new(self.services()).add_certificate(asked).await?;
                }
                Step::Revoke { which, believed_key } => {
                    let target = json!({ "version": self.digest(which).to_string() });
                    let predicate = json!({ "target": target, "justification": "withdrawn" });
                    let envelope = self.signed(which, REVOCATION_TYPE, &predicate, believed_key);
                    let asked = v1::RevokeCertificateRequest { envelope, ..Default::default() };
                    CertificationServiceClient::new(self.services()).revoke_certificate(asked).await?;
                }
                Step::Import { .. } | Step::Wait { .. } | Step::Restart => {}
                Step::Invalid(invalid) => self.ask_invalid(invalid).await?,
            }
            Ok(())
        })
    }

    async fn ask_invalid(&self, invalid: Invalid) -> Result<(), Status> {
        let mut catalog = CatalogServiceClient::new(self.services());
        let mut matcher = MatcherServiceClient::new(self.services());
        let good = || manifest((0, 0), (0, 2)).into_bytes();
        let create =
            |request: v1::CreateComponentRequest| v1::CreateComponentRequest { validate_only: true, ..request };
        let (name, version) = (COMPONENTS[0].to_owned(), VERSIONS[0].to_owned());
        match invalid {
            Invalid::Manifest => {
                let manifest = b"name: [".to_vec();
                drop(
                    catalog
                        .create_component(create(v1::CreateComponentRequest { manifest, ..Default::default() }))
                        .await?,
                );
            }
            Invalid::Digest => {
                let asked = v1::GetComponentRequest { digest: "sha256:1".into(), ..Default::default() };
                drop(catalog.get_component(asked).await?);
            }
            Invalid::Name => {
                let asked = v1::DeleteComponentRequest { name: "Cart".into(), version, ..Default::default() };
                drop(catalog.delete_component(asked).await?);
            }
            Invalid::Version => {
                let asked = v1::DeleteComponentRequest { name, version: "1".into(), ..Default::default() };
                drop(catalog.delete_component(asked).await?);
            }
            Invalid::Lifecycle => {
                let asked = v1::MoveComponentRequest { name, version, lifecycle: 9, ..Default::default() };
                drop(catalog.move_component(asked).await?);
            }
            Invalid::Actor => {
                let asked =
                    v1::UndeleteComponentRequest { name, version, actor: "x".repeat(501), ..Default::default() };
                drop(catalog.undelete_component(asked).await?);
            }
            Invalid::RequestId => {
                let asked =
                    v1::CreateComponentRequest { manifest: good(), request_id: "x".repeat(129), ..Default::default() };
                drop(catalog.create_component(asked).await?);
            }
            Invalid::PageToken => {
                let asked = v1::ListComponentsRequest { page_token: "00ff".into(), ..Default::default() };
                drop(catalog.list_components(asked).await?);
            }
            Invalid::PageSize => {
                let asked = v1::ListComponentsRequest { page_size: 1001, ..Default::default() };
                drop(catalog.list_components(asked).await?);
            }
            Invalid::Filter => {
                let asked = v1::ListComponentsRequest { filter: Some(filter("kind:")), ..Default::default() };
                drop(catalog.list_components(asked).await?);
            }
            Invalid::Intent => {
                drop(matcher.r#match(v1::MatchRequest { intent: " \n".into(), ..Default::default() }).await?);
            }
            Invalid::TopK => {
                let asked = v1::MatchRequest { intent: "things".into(), top_k: 101, ..Default::default() };
                drop(matcher.r#match(asked).await?);
            }
            Invalid::Revision => {
                let asked = v1::MatchRequest { intent: "things".into(), min_revision: 1 << 40, ..Default::default() };
                drop(matcher.r#match(asked).await?);
            }
            Invalid::Envelope => {
                let asked = v1::AddCertificateRequest { envelope: b"{}".to_vec(), ..Default::default() };
                drop(CertificationServiceClient::new(self.services()).add_certificate(asked).await?);
            }
            Invalid::TrustRoot => {
                let asked = v1::InstallTrustRootRequest { trust_root: b"version: 0".to_vec(), ..Default::default() };
                drop(CertificationServiceClient::new(self.services()).install_trust_root(asked).await?);
            }
            Invalid::Assembly => {
                let asked = v1::RegisterAssemblyRequest { document: b"parts: 1".to_vec(), ..Default::default() };
                drop(AssemblyServiceClient::new(self.services()).register_assembly(asked).await?);
            }
            Invalid::Format => {
                let asked = v1::CreateComponentRequest { manifest: good(), format: 7, ..Default::default() };
                drop(catalog.create_component(asked).await?);
            }
        }
        Ok(())
    }

    fn import(&mut self, version: usize, content: usize) {
        let items: Vec<_> = (0..COMPONENTS.len())
            .map(|component| v1::ImportComponentsRequest {
                manifest: manifest((component, version), (content, 2)).into_bytes(),
                ..Default::default()
            })
            .collect();
        let services = self.services();
        let answered: Vec<v1::ImportComponentsResponse> = self.runtime.block_on(async {
            let mut stream = CatalogServiceClient::new(services)
                .import_components(tokio_stream::iter(items))
                .await
                .expect("a stream")
                .into_inner();
            let mut answered = Vec::new();
            while let Some(item) = stream.message().await.expect("an item") {
                answered.push(item);
            }
            answered
        });
        let before = self.model.revision;
        let recorded = self.model.audit.len();
        let mut found = Vec::new();
        for component in 0..COMPONENTS.len() {
            found.push(self.model.import_item((component, version), content).err().unwrap_or(Code::Ok));
        }
        self.model.imports.push(recorded..self.model.audit.len());
        let codes: Vec<Code> =
            answered.iter().map(|item| Code::from_i32(item.status.as_ref().expect("a status").code)).collect();
        assert_eq!(codes, found);
        // Items that come together are one commit.
        if self.model.revision.0 > before.0 {
            self.model.revision.0 = before.0 + 1;
        }
    }

    /// Holds everything that can be seen against the model.
    pub(super) fn compare(&mut self) {
        self.compare_list();
        self.compare_records();
        self.compare_answer();
        self.compare_audit();
        self.compare_assemblies();
    }

    fn compare_list(&mut self) {
        let services = self.services();
        let (listed, total, revision, drafts) = self.runtime.block_on(async {
            let mut catalog = CatalogServiceClient::new(services);
            let (mut listed, mut page_token) = (Vec::new(), String::new());
            loop {
                let asked = v1::ListComponentsRequest { page_size: 2, page_token, ..Default::default() };
                let page = catalog.list_components(asked).await.expect("a page").into_inner();
                listed.extend(page.components);
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    let asked =
                        v1::ListComponentsRequest { filter: Some(filter("lifecycle:draft")), ..Default::default() };
                    let drafts = catalog.list_components(asked).await.expect("a page").into_inner();
                    return (listed, page.total_size, page.revision, drafts.total_size);
                }
            }
        });
        let (least, most) = self.model.revision;
        assert!((least..=most).contains(&revision), "revision {revision} and not {least} to {most}");
        self.model.revision = (revision, revision);
        let expected = self.model.listed();
        let shown =
            |component: &v1::Component| format!("{}@{} {}", component.name, component.version, component.lifecycle);
        let listed: Vec<String> = listed.iter().map(shown).collect();
        let expected: Vec<String> =
            expected.iter().map(|(which, version)| format!("{} {}", subject(*which), version.lifecycle + 1)).collect();
        assert_eq!(listed, expected);
        assert_eq!((total, drafts), (listed.len() as u64, self.model.drafts() as u64));
    }

    fn compare_records(&mut self) {
        for component in 0..COMPONENTS.len() {
            for version in 0..VERSIONS.len() {
                let which = (component, version);
                let found = self.runtime.block_on(self.get(which));
                let Some(expected) = self.model.versions.get(&which) else {
                    assert_eq!(found.map_err(|status| status.code()).err(), Some(Code::NotFound), "{}", subject(which));
                    continue;
                };
                let found = found.expect("a record");
                assert_eq!(found.digest, digest_of(which, expected.written).to_string());
                assert_eq!((found.history.len(), found.delete_time.is_some()), (expected.moves, expected.deleted));
                assert_eq!(usize::try_from(found.lifecycle), Ok(expected.lifecycle + 1));
                // One state, one etag; another state, another.
                let state = expected.state;
                let known = self.etags.entry((which, state)).or_insert_with(|| found.etag.clone());
                assert_eq!(*known, found.etag, "the etag changed and nothing else");
                let others = self.etags.range((which, 0)..(which, state)).map(|(_, etag)| etag);
                assert!(others.into_iter().all(|etag| *etag != found.etag), "an etag came back");
            }
        }
    }

    fn compare_answer(&self) {
        let services = self.services();
        let answer = self.runtime.block_on(async {
            let asked = v1::MatchRequest { intent: "a thing for things".into(), top_k: 100, ..Default::default() };
            MatcherServiceClient::new(services).r#match(asked).await.expect("an answer").into_inner()
        });
        let found: BTreeSet<String> =
            answer.candidates.iter().map(|found| format!("{}@{}", found.name, found.version)).collect();
        assert_eq!(found.len(), answer.candidates.len(), "a candidate twice");
        assert_eq!(found, self.model.answering());
        assert_eq!(answer.provenance.expect("a provenance").revision, self.model.revision.0);
    }

    fn compare_audit(&self) {
        let services = self.services();
        let (records, head) = self.runtime.block_on(async {
            let mut audit = AuditServiceClient::new(services);
            let asked = v1::ListAuditRecordsRequest::default();
            let mut stream = audit.list_audit_records(asked).await.expect("a stream").into_inner();
            let mut records = Vec::new();
            while let Some(record) = stream.message().await.expect("a record") {
                records.push(record);
            }
            (records, audit.verify_audit(v1::VerifyAuditRequest::default()).await.expect("a whole chain").into_inner())
        });
        let mut found: Vec<(&str, &str)> = records
            .iter()
            .zip(&self.model.audit)
            // Where the model does not say of what, whatever is there is right.
            .map(|(record, (_, subject))| (&*record.action, subject.as_ref().map_or("", |_| &*record.subject)))
            .collect();
        let mut expected: Vec<(&str, &str)> = self
            .model
            .audit
            .iter()
            .map(|(action, subject)| (*action, subject.as_deref().unwrap_or_default()))
            .collect();
        for import in &self.model.imports {
            for records in [&mut found, &mut expected] {
                // One that is too short is found out below.
                records.get_mut(import.clone()).unwrap_or_default().sort_unstable();
            }
        }
        assert_eq!(found, expected);
        assert_eq!((records.len(), head.sequence), (expected.len(), expected.len() as u64));
    }

    fn compare_assemblies(&self) {
        let services = self.services();
        let listed = self.runtime.block_on(async {
            let asked = v1::ListAssembliesRequest::default();
            AssemblyServiceClient::new(services).list_assemblies(asked).await.expect("a page").into_inner()
        });
        let found: Vec<String> = listed.assemblies.into_iter().map(|assembly| assembly.name).collect();
        let expected: Vec<String> = self.model.assemblies.iter().map(|name| format!("apps/app-{name}")).collect();
        assert_eq!(found, expected);
    }

    async fn get(&self, (component, version): Which) -> Result<v1::Component, Status> {
        let asked = v1::GetComponentRequest {
            name: COMPONENTS[component].to_owned(),
            version: VERSIONS[version].to_owned(),
            show_deleted: true,
            ..Default::default()
        };
        Ok(CatalogServiceClient::new(self.services()).get_component(asked).await?.into_inner())
    }

    fn etag(&self, which: Which, believed: Believed) -> String {
        let current = || {
            let version = self.model.versions.get(&which)?;
            self.etags.get(&(which, version.state)).cloned()
        };
        match believed {
            Believed::Any => String::new(),
            Believed::Current => current().unwrap_or_default(),
            Believed::Other => "0-0000000000000000".to_owned(),
        }
    }

    async fn assembly_etag(&self, name: usize, believed: Believed) -> String {
        match believed {
            Believed::Any => String::new(),
            Believed::Other => "none of its etags".to_owned(),
            Believed::Current => {
                let asked = v1::GetAssemblyRequest { name: format!("apps/app-{name}") };
                let found = AssemblyServiceClient::new(self.services()).get_assembly(asked).await;
                found.map(|found| found.into_inner().etag).unwrap_or_default()
            }
        }
    }

    /// The digest of a version that is there, or one that no version has.
    fn digest(&self, which: Which) -> Digest {
        match self.model.versions.get(&which) {
            Some(version) => digest_of(which, version.written),
            None => Digest::of(subject(which).as_bytes()),
        }
    }

    fn signed(&self, which: Which, predicate_type: &str, predicate: &Value, believed_key: bool) -> Vec<u8> {
        let about = Subject { name: None, digest: Some(self.digest(which)) };
        let payload = Statement::compose(&[about], predicate_type, predicate).expect("a statement");
        Envelope::sign(payload, &key(believed_key)).expect("an envelope").to_json()
    }
}

fn digest_of(which: Which, written: Written) -> Digest {
    Manifest::parse("manifest", manifest(which, written).as_bytes(), Format::Yaml).expect("a manifest").digest()
}

fn filter(expression: &str) -> v1::FilterInput {
    v1::FilterInput { form: Some(v1::filter_input::Form::Expression(expression.to_owned())) }
}
