//! The gate of a running daemon: who gets in, what they may do, and what tenants see of one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use fitment_proto::v1;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use fitment_tests::{Daemon, fitment, manifest, text};
use serde_json::Value;
use tokio_stream::StreamExt;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};

use crate::matching::intent;

const ROLES: [&str; 6] = ["reader", "publisher", "certifier", "auditor", "operator", "administrator"];

/// A daemon with principals: one for each role, some of a tenant `acme`, some who may only see a part.
struct Guarded {
    folder: tempfile::TempDir,
    daemon: Daemon,
    keys: BTreeMap<String, String>,
}

/// An API key of a principal and its entry in the document.
fn new_key(principal: &str) -> anyhow::Result<(String, Value)> {
    let output = fitment()?.args(["access", "key", "create", "--json", "--principal", principal]).output()?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout)?;
    Ok((made["key"].as_str().context("a key")?.to_owned(), made["entry"].clone()))
}

impl Guarded {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut principals: Vec<Value> = ROLES
            .iter()
            .map(|role| serde_json::json!({"id": format!("the-{role}"), "grants": [{"role": role}]}))
            .collect();
        for (id, tenant, grants) in [
            ("acme-admin", "acme", serde_json::json!([{"role": "administrator"}])),
            ("open-reader", "default", serde_json::json!([{"role": "reader", "namespaces": ["open"]}])),
            ("open-publisher", "default", serde_json::json!([{"role": "publisher", "namespaces": ["open"]}])),
            ("slow", "default", serde_json::json!([{"role": "reader"}])),
        ] {
            principals.push(serde_json::json!({"id": id, "tenant": tenant, "grants": grants}));
        }
        let last = principals.len() - 1;
        principals[last]["limits"] = serde_json::json!({"requests_per_second": 1, "burst": 1});
        let (mut keys, mut entries) = (BTreeMap::new(), Vec::new());
        for principal in &principals {
            let id = principal["id"].as_str().unwrap_or_default();
            let (key, entry) = new_key(id)?;
            keys.insert(id.to_owned(), key);
            entries.push(entry);
        }
        let document = serde_json::json!({
            "version": 1, "tenants": ["acme"], "principals": principals, "api_keys": entries,
        });
        std::fs::write(folder.path().join("access.json"), document.to_string())?;
        let config = folder.path().join("fitment.toml");
        let access = folder.path().join("access.json");
        std::fs::write(
            &config,
            format!("[access]\nfile = \"{}\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n", access.display()),
        )?;
        let data = folder.path().join("data");
        let daemon = Daemon::serve(&data, &["--config", config.to_str().context("a path")?])?;
        Ok(Self { folder, daemon, keys })
    }

    fn document(&self) -> PathBuf {
        self.folder.path().join("access.json")
    }

    /// A message as a principal sends it.
    fn of<T>(&self, principal: &str, message: T) -> anyhow::Result<Request<T>> {
        bearing(self.keys.get(principal).context("a key")?, message)
    }

    async fn catalog(&self) -> anyhow::Result<CatalogServiceClient<Channel>> {
        self.daemon.catalog().await
    }

    async fn create(&self, principal: &str, manifest: String) -> anyhow::Result<Result<v1::Component, Status>> {
        let request = v1::CreateComponentRequest { manifest: manifest.into_bytes(), ..Default::default() };
        let created = self.catalog().await?.create_component(self.of(principal, request)?).await;
        Ok(created.map(tonic::Response::into_inner))
    }

    async fn matched(&self, principal: &str, words: &str) -> anyhow::Result<v1::MatchResponse> {
        let mut matcher: MatcherServiceClient<Channel> = self.daemon.matcher().await?;
        Ok(matcher.r#match(self.of(principal, intent(words))?).await?.into_inner())
    }

    async fn listed(&self, principal: &str) -> anyhow::Result<Vec<String>> {
        let request = self.of(principal, v1::ListComponentsRequest::default())?;
        let listed = self.catalog().await?.list_components(request).await?.into_inner();
        ensure!(listed.total_size == listed.components.len() as u64, "the count tells of what is hidden");
        Ok(listed.components.into_iter().map(|component| component.name).collect())
    }

    async fn audit(&self, principal: &str) -> anyhow::Result<Vec<v1::AuditRecord>> {
        let mut audit = AuditServiceClient::new(self.daemon.channel().await?);
        let request = self.of(principal, v1::ListAuditRecordsRequest::default())?;
        Ok(audit.list_audit_records(request).await?.into_inner().collect::<Result<_, _>>().await?)
    }
}

fn bearing<T>(key: &str, message: T) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse()?);
    Ok(request)
}

/// Calls with an empty message and gives the code that the call ended with, or `Ok` where an answer has begun.
async fn code_of(channel: &mut Channel, path: &str, key: Option<&str>) -> anyhow::Result<Code> {
    let mut request = http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = Body::new(http_body_util::Full::new(Bytes::from_static(&[0; 5])));
    let response = channel.ready().await?.call(request.body(body)?).await?;
    Ok(Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()))
}

#[tokio::test]
async fn every_call_of_every_role_is_decided_as_the_table_says() -> anyhow::Result<()> {
    let guarded = Guarded::start()?;
    let mut channel = guarded.daemon.channel().await?;
    let output = fitment()?.args(["access", "table", "--json"]).output()?;
    let table: Value = serde_json::from_slice(&output.stdout)?;
    let calls = table["calls"].as_array().context("calls")?;
    ensure!(calls.len() >= 70, "{} calls", calls.len());
    let stranger = "fitment_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for call in calls {
        let path = call["path"].as_str().context("a path")?;
        if path.starts_with("/grpc.health.") {
            continue;
        }
        for key in [None, Some(stranger), Some("eyJhbGciOiJub25lIn0.e30.")] {
            assert_eq!(code_of(&mut channel, path, key).await?, Code::Unauthenticated, "{path}");
        }
        let may: Vec<&str> = call["roles"].as_array().context("roles")?.iter().filter_map(Value::as_str).collect();
        for role in ROLES {
            let key = guarded.keys.get(&format!("the-{role}")).context("a key")?;
            let code = code_of(&mut channel, path, Some(key)).await?;
            let let_in = code != Code::PermissionDenied && code != Code::Unauthenticated;
            let open = call["reach"] == "open";
            assert_eq!(let_in, open || may.contains(&role), "{role} and {path}: {code:?}");
        }
        // A grant for one namespace does not reach what concerns the whole.
        if call["reach"] == "whole" {
            let key = guarded.keys.get("open-publisher").context("a key")?;
            assert_eq!(code_of(&mut channel, path, Some(key)).await?, Code::PermissionDenied, "{path}");
        }
    }
    // What watches a daemon has no credentials.
    let health = "/grpc.health.v1.Health/Check";
    assert_eq!(code_of(&mut channel, health, None).await?, Code::Ok);
    Ok(())
}

#[tokio::test]
async fn nothing_that_a_stranger_sends_reaches_the_model() -> anyhow::Result<()> {
    let guarded = Guarded::start()?;
    let encoded = || -> anyhow::Result<String> {
        let page = crate::metrics::get(guarded.daemon.metrics().context("metrics")?, "/metrics")?;
        let lines = page.lines().filter(|line| line.starts_with("fitment_encoder_batch_texts_count"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    };
    let before = encoded()?;
    let mut matcher = guarded.daemon.matcher().await?;
    for _ in 0..10 {
        let refused = matcher.r#match(intent("pay by card")).await.expect_err("nobody");
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(refused.get_details_error_info().context("details")?.metadata["why"], "credentials_missing");
        let texts = v1::EmbedRequest { texts: vec!["pay by card".into()], role: 0 };
        let refused = matcher.embed(guarded.of("the-auditor", texts)?).await.expect_err("may not");
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    assert_eq!(encoded()?, before, "no text was encoded");
    guarded.matched("the-reader", "pay by card").await?;
    assert_ne!(encoded()?, before, "what may be asked is encoded");
    Ok(())
}

#[tokio::test]
async fn tenants_see_nothing_of_one_another() -> anyhow::Result<()> {
    let guarded = Guarded::start()?;
    let secret = manifest("vault/quokka", "1.0.0", "Counts quokkas at dusk");
    guarded.create("acme-admin", secret.clone()).await??;
    guarded.create("the-administrator", manifest("open/cards", "1.0.0", "Takes card payments")).await??;
    assert_eq!(guarded.listed("acme-admin").await?, ["vault/quokka"]);
    assert_eq!(guarded.listed("the-administrator").await?, ["open/cards"], "whoever it is");
    let (own, other) =
        (guarded.matched("acme-admin", "count quokkas").await?, guarded.matched("the-reader", "count quokkas").await?);
    let names = |answer: &v1::MatchResponse| answer.candidates.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&own), names(&other)), (vec!["vault/quokka".to_owned()], vec!["open/cards".to_owned()]));
    // The same intent is encoded for each: that it was asked elsewhere does not show in how long it takes.
    assert!(other.timings.context("timings")?.encode_us > 0, "what the other asked is not remembered for this one");
    let again = guarded.matched("the-reader", "count quokkas").await?;
    assert_eq!(again.timings.context("timings")?.encode_us, 0, "its own is");

    // Ids and digests of the other tenant name nothing here: the error is that of what never was.
    let mut audit = AuditServiceClient::new(guarded.daemon.channel().await?);
    let mut decision = async |id: String| -> anyhow::Result<String> {
        let request = guarded.of("the-auditor", v1::GetDecisionRequest { decision_id: id.clone() })?;
        let missing = audit.get_decision(request).await.expect_err("not here");
        Ok(missing.message().replace(&id, "ID"))
    };
    let never = "0190163d-8694-739b-aea5-966c26f8ad90".to_owned();
    assert_eq!(decision(own.decision_id.clone()).await?, decision(never).await?);
    let digest = own.candidates[0].digest.clone();
    let request = guarded.of("the-administrator", v1::GetComponentRequest { digest, ..Default::default() })?;
    assert_eq!(guarded.catalog().await?.get_component(request).await.expect_err("not here").code(), Code::NotFound);
    // The name is free here: that it is taken there is nobody's business.
    guarded.create("the-administrator", secret).await??;

    for (principal, sees, not) in
        [("acme-admin", "vault/quokka", "open/cards"), ("the-auditor", "open/cards", "acme-admin")]
    {
        let trail = format!("{:?}", guarded.audit(principal).await?);
        assert!(trail.contains(sees) && !trail.contains(not), "{principal}: {trail}");
    }
    let page = crate::metrics::get(guarded.daemon.metrics().context("metrics")?, "/metrics")?;
    assert!(!page.contains("acme") && !page.contains("quokka"), "{page}");
    assert!(page.contains("fitment_catalog_versions 2"), "the default tenant's alone: {page}");
    assert!(guarded.folder.path().join("data/tenants/acme/catalog.redb").is_file());
    Ok(())
}

#[tokio::test]
async fn a_narrowed_grant_shows_and_writes_its_part() -> anyhow::Result<()> {
    let guarded = Guarded::start()?;
    for name in ["open/cards", "walled/cards"] {
        guarded.create("the-administrator", manifest(name, "1.0.0", "Takes card payments")).await??;
    }
    assert_eq!(guarded.listed("open-reader").await?, ["open/cards"]);
    let answer = guarded.matched("open-reader", "take card payments").await?;
    assert_eq!(answer.candidates.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["open/cards"]);
    let mut catalog = guarded.catalog().await?;
    let mut get = async |name: &str| -> anyhow::Result<String> {
        let request = v1::GetComponentRequest { name: name.into(), ..Default::default() };
        let refused = catalog.get_component(guarded.of("open-reader", request)?).await.expect_err("hidden");
        Ok(format!("{:?} {}", refused.code(), refused.message().replace(name, "NAME")))
    };
    assert_eq!(get("walled/cards").await?, get("walled/never").await?, "hidden is absent");

    let draft = |name: &str| manifest(name, "2.0.0", "Takes card payments").replace("certified", "candidate");
    let refused = guarded.create("open-publisher", draft("walled/cards")).await?.expect_err("outside");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    guarded.create("open-publisher", draft("open/cards")).await??;
    let certified = manifest("open/more", "1.0.0", "Takes card payments");
    let refused = guarded.create("open-publisher", certified).await?.expect_err("a publisher certifies nothing");
    assert_eq!(refused.get_details_error_info().context("details")?.reason, "CERTIFYING_FORBIDDEN");
    let certify = |principal: &str| {
        let request = v1::MoveComponentRequest {
            name: "open/cards".into(),
            version: "2.0.0".into(),
            lifecycle: v1::Lifecycle::Certified as i32,
            actor: "somebody else".into(),
            ..Default::default()
        };
        guarded.of(principal, request)
    };
    let refused = guarded.catalog().await?.move_component(certify("open-publisher")?).await.expect_err("forbidden");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    guarded.catalog().await?.move_component(certify("the-certifier")?).await?;

    let trail = guarded.audit("the-auditor").await?;
    let moved = trail.iter().find(|record| record.action == "component.move").context("a record")?;
    assert_eq!(moved.actor, "the-certifier for somebody else", "who was authenticated acts");
    let denied = trail.iter().filter(|record| record.action == "call.deny");
    let denied: Vec<(&str, &str)> = denied.map(|record| (record.actor.as_str(), record.subject.as_str())).collect();
    for (actor, subject) in [
        ("open-publisher", "walled/cards@2.0.0"),
        ("open-publisher", "open/more@1.0.0"),
        ("open-publisher for somebody else", "open/cards@2.0.0"),
    ] {
        assert!(denied.contains(&(actor, subject)), "{denied:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_principals_own_limits_hold() -> anyhow::Result<()> {
    let guarded = Guarded::start()?;
    let mut refused = None;
    // One a second: of so many within far less than as many seconds some are too many.
    for _ in 0..50 {
        let mut catalog = guarded.catalog().await?;
        let listed = catalog.list_components(guarded.of("slow", v1::ListComponentsRequest::default())?).await;
        refused = refused.or(listed.err());
    }
    let refused = refused.context("one too many")?;
    assert_eq!(refused.get_details_error_info().context("details")?.reason, "RATE_LIMITED");
    assert!(refused.get_details_retry_info().context("RetryInfo")?.retry_delay.is_some());
    guarded.listed("the-reader").await?;
    Ok(())
}

/// Asks until the answer is as wanted; the daemon reads its files in its own time.
async fn until(guarded: &Guarded, key: &str, wanted: bool) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let listed =
            guarded.catalog().await?.list_components(bearing(key, v1::ListComponentsRequest::default())?).await;
        if listed.is_ok() == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{listed:?}");
        tokio::task::yield_now().await;
    }
}

fn change(document: &Path, change: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
    let mut value: Value = serde_json::from_slice(&std::fs::read(document)?)?;
    change(&mut value);
    Ok(std::fs::write(document, value.to_string())?)
}

#[tokio::test]
async fn keys_are_rotated_while_it_serves_and_a_bad_document_changes_nothing() -> anyhow::Result<()> {
    let guarded = Guarded::start()?;
    let old = guarded.keys.get("the-reader").context("a key")?.clone();
    let (new, entry) = new_key("the-reader")?;
    change(&guarded.document(), |document| {
        document["api_keys"].as_array_mut().expect("a list").push(entry);
    })?;
    guarded.daemon.hang_up()?;
    until(&guarded, &new, true).await?;
    until(&guarded, &old, true).await?;
    // Without a signal: changes are noticed.
    change(&guarded.document(), |document| {
        let prefix = &old[..20];
        document["api_keys"].as_array_mut().expect("a list").retain(|entry| entry["prefix"] != prefix);
    })?;
    until(&guarded, &old, false).await?;
    std::fs::write(guarded.document(), "version: 1\nprincipals: nobody\n")?;
    guarded.daemon.hang_up()?;
    let failures = || -> anyhow::Result<bool> {
        let page = crate::metrics::get(guarded.daemon.metrics().context("metrics")?, "/metrics")?;
        Ok(page.lines().any(|line| line.starts_with("fitment_access_reload_failures_total") && !line.ends_with(" 0")))
    };
    let limit = Instant::now() + Duration::from_secs(120);
    while !failures()? {
        ensure!(Instant::now() < limit, "the failure is counted");
        tokio::task::yield_now().await;
    }
    until(&guarded, &new, true).await
}
