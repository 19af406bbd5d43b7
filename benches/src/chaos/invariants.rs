//! What must hold of a daemon whatever happened to it. Clients hold still meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_proto::v1::certification_service_client::CertificationServiceClient;
use fitment_proto::v1::info_service_client::InfoServiceClient;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use jiff::Timestamp;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::clients::{Change, Hub, Place, only, read_change};
use super::ledger::{Found, Key};
use super::world::World;
use crate::process::{Usage, http_get, series};
use fitment_tests::Dice;

/// Components that are asked for by name.
const ASKED: usize = 20;
/// How long what is given back a little later may take: connections, the watch's last changes.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// Least recall of the daemon's own probe.
const LEAST_RECALL: f64 = 0.95;
/// Descriptors and anonymous memory that a daemon may hold above what the first one held. Files of the lexical index and of caches
/// come and go; memory is bounded by what may be remembered.
const MORE_DESCRIPTORS: u64 = 32;
const MORE_KIB: u64 = 128 * 1024;

/// What is remembered from one look to the next.
#[derive(Default)]
pub(super) struct Before {
    usage: Option<Usage>,
    audit: (u64, String),
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Unanswered writes that turned out to have been done.
    pub(super) done: u64,
    pub(super) live: u64,
    pub(super) wrong: Vec<String>,
}

/// Holds the daemon against everything that is known. Errors: it does not answer at all.
pub(super) async fn check(world: &mut World, hub: &Hub, before: &mut Before, dice: &mut Dice) -> anyhow::Result<Look> {
    let daemon = world.daemon()?;
    ensure!(daemon.runs()?, "the daemon is not there any more");
    let channel = daemon.channel().await.context("it takes no connection")?;
    let metrics = daemon.metrics().to_owned();
    let mut look = Look::default();
    health(&channel, &metrics, &mut look).await?;
    let (found, log) = replay(&channel).await?;
    let found = with_certificates(&channel, found).await?;
    let (done, wrong) = hub.ledger.lock().compare(found);
    look.done = done;
    look.wrong.extend(wrong);
    answers(&channel, hub, dice, &mut look).await?;
    counts(&channel, hub, &mut look).await?;
    listing(&channel, hub, &mut look).await?;
    audit(&channel, before, &mut look).await?;
    watched(hub, &log, &mut look).await;
    held(world, before, &mut look).await?;
    Ok(look)
}

async fn health(channel: &Channel, metrics: &str, look: &mut Look) -> anyhow::Result<()> {
    for service in ["", "fitment.v1.MatcherService", "fitment.v1.CatalogService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = HealthClient::new(channel.clone()).check(request).await?.into_inner().status();
        if status != ServingStatus::Serving {
            look.wrong.push(format!("health of `{service}` is {status:?}"));
        }
    }
    for path in ["/livez", "/readyz"] {
        let (status, body) = http_get(metrics, path).await?;
        if status != 200 {
            look.wrong.push(format!("{path} answers {status}: {body}"));
        }
    }
    let (_, page) = http_get(metrics, "/metrics").await?;
    // NaN where nothing was probed.
    if let Some(recall) = series(&page, "fitment_index_recall_ratio")
        && recall < LEAST_RECALL
    {
        look.wrong.push(format!("the index finds {recall} of what exact search finds"));
    }
    Ok(())
}

type Log = BTreeMap<Place, Change>;

/// Where every version stands by the log, and the log.
async fn replay(channel: &Channel) -> anyhow::Result<(BTreeMap<Key, Found>, Log)> {
    let request = v1::WatchCatalogRequest { after: Some(v1::LogPlace::default()), until_now: true };
    let mut changes = CatalogServiceClient::new(channel.clone()).watch_catalog(request).await?.into_inner();
    let (mut found, mut log): (BTreeMap<Key, Found>, Log) = (BTreeMap::new(), BTreeMap::new());
    while let Some(change) = changes.message().await? {
        let key = Key::read(&change.name, &change.version);
        let key = key.with_context(|| format!("nobody writes {}@{}", change.name, change.version))?;
        let moved = u64::from(change.kind() == v1::CatalogChangeKind::Moved);
        let moves = found.get(&key).map_or(0, |found| found.moves) + moved;
        let digest = change.digest.clone();
        let standing =
            Found { digest, lifecycle: change.lifecycle(), deleted: change.deleted, moves, certificate: None };
        found.insert(key, standing);
        let (place, change) = read_change(change);
        log.insert(place, change);
    }
    Ok((found, log))
}

/// The same with the certificates of what is live.
async fn with_certificates(channel: &Channel, mut found: BTreeMap<Key, Found>) -> anyhow::Result<BTreeMap<Key, Found>> {
    let mut client = CertificationServiceClient::new(channel.clone());
    for (key, found) in found.iter_mut().filter(|(_, found)| !found.deleted) {
        let (name, version) = (key.name.clone(), key.version());
        let request = v1::ListCertificatesRequest { name, version, ..Default::default() };
        let listed = client.list_certificates(request).await?.into_inner();
        // `revoked_by` is about the version; why a certificate does not count is said in words.
        let revoked =
            listed.standing.is_some_and(|standing| standing.findings.iter().any(|one| one.contains("is revoked")));
        found.certificate = listed.certificates.into_iter().next().map(|certificate| (certificate.digest, revoked));
    }
    Ok(found)
}

/// What the daemon counts, against what is known.
async fn counts(channel: &Channel, hub: &Hub, look: &mut Look) -> anyhow::Result<()> {
    let mut client = InfoServiceClient::new(channel.clone());
    let info = client.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    let stored = info.catalog.context("GetServerInfo without a catalogue")?;
    // What changes by the clock alone takes effect with a match: there were some just now.
    let now = Timestamp::now() + hub.offsets.lock().low;
    let ledger = hub.ledger.lock();
    let live = ledger.live().count() as u64;
    let answers = ledger.live().filter(|(_, state)| state.answers(ledger.base(), now)).count() as u64;
    look.live = live;
    if !info.ready || (stored.versions, stored.vectors) != (live, live) {
        let (versions, vectors) = (stored.versions, stored.vectors);
        look.wrong
            .push(format!("{live} versions are live; ready {}, {versions} versions, {vectors} vectors", info.ready));
    }
    if stored.matchable_versions != answers {
        look.wrong.push(format!("{answers} versions may answer; the daemon counts {}", stored.matchable_versions));
    }
    Ok(())
}

/// The list, against what is known.
async fn listing(channel: &Channel, hub: &Hub, look: &mut Look) -> anyhow::Result<()> {
    let mut client = CatalogServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let mut request = v1::ListComponentsRequest { page_size: 100, ..Default::default() };
    let mut listed = Vec::new();
    loop {
        let page = client.list_components(request.clone()).await?.into_inner();
        let keys = page
            .components
            .into_iter()
            .map(|component| (Key::read(&component.name, &component.version), component.digest, component.lifecycle));
        listed.extend(keys);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let ledger = hub.ledger.lock();
    let mut known: Vec<_> = ledger
        .live()
        .map(|(key, state)| (Some(key.clone()), state.digest.clone(), i32::from(state.lifecycle)))
        .collect();
    listed.sort_unstable();
    known.sort_unstable();
    if listed != known {
        let differs = listed.iter().zip(&known).find(|(listed, known)| listed != known);
        look.wrong.push(format!("{} are listed, {} are live; first difference {differs:?}", listed.len(), known.len()));
    }
    Ok(())
}

/// Certified components are found by their names and words; nothing that may not answer is in any answer.
async fn answers(channel: &Channel, hub: &Hub, dice: &mut Dice, look: &mut Look) -> anyhow::Result<()> {
    let mut matcher = MatcherServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let offsets = *hub.offsets.lock();
    let expected = hub.ledger.lock().expectations(Timestamp::now(), offsets);
    let names: Vec<&String> = expected.keys().collect();
    for _ in 0..ASKED.min(names.len()) {
        let Some(name) = names.get(dice.place(names.len())) else { break };
        let answer = matcher.r#match(only(name)).await?.into_inner();
        let seen: Vec<(String, String, bool)> =
            answer.candidates.into_iter().map(|found| (found.name, found.version, found.lexical_score > 0.0)).collect();
        let version = expected.get(*name).and_then(Option::as_ref).map(|expectation| expectation.version);
        let Some(version) = version else {
            look.wrong.push(format!("{name} is undecided after a look at the log"));
            continue;
        };
        let wanted: Vec<(String, String, bool)> =
            version.iter().map(|version| ((*name).clone(), format!("1.{version}.0"), true)).collect();
        if seen != wanted {
            look.wrong.push(format!("asked for {name}: {seen:?} instead of {wanted:?}"));
        }
    }
    let request = v1::MatchRequest { intent: hub.fresh(), top_k: 100, ..Default::default() };
    for found in matcher.r#match(request).await?.into_inner().candidates {
        let version = Key::read(&found.name, &found.version).map(|key| key.version);
        let may = expected.get(&found.name).and_then(Option::as_ref).and_then(|expectation| expectation.version);
        if version != may {
            look.wrong.push(format!("{}@{} answers, and {may:?} may", found.name, found.version));
        }
    }
    Ok(())
}

/// The audit chain holds, and goes on from the head that was noted before.
async fn audit(channel: &Channel, before: &mut Before, look: &mut Look) -> anyhow::Result<()> {
    let (known_sequence, known_digest) = before.audit.clone();
    let request = v1::VerifyAuditRequest { known_sequence, known_digest };
    match AuditServiceClient::new(channel.clone()).verify_audit(request).await {
        Ok(head) => {
            let head = head.into_inner();
            before.audit = (head.sequence, head.digest);
        }
        Err(status) => look.wrong.push(format!("the audit chain: {status}")),
    }
    Ok(())
}

/// The watcher has seen the whole log, once it had the time to.
async fn watched(hub: &Hub, log: &Log, look: &mut Look) {
    let began = Instant::now();
    loop {
        let missing = {
            let watched = hub.watched.lock();
            let differs = log.iter().find(|(place, change)| watched.get(place) != Some(change));
            differs.map(|(place, change)| (*place, change.clone(), watched.get(place).cloned(), watched.len()))
        };
        match missing {
            None => return,
            Some(missing) if began.elapsed() > PATIENCE => {
                look.wrong.push(format!("the watch missed of {} changes {missing:?}", log.len()));
                return;
            }
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Descriptors and memory are near what the first daemon held.
async fn held(world: &mut World, before: &mut Before, look: &mut Look) -> anyhow::Result<()> {
    let daemon = world.daemon()?;
    let usage = daemon.usage()?;
    let base = *before.usage.get_or_insert(usage);
    let began = Instant::now();
    loop {
        let usage = daemon.usage()?;
        let more = usage.descriptors > base.descriptors + MORE_DESCRIPTORS
            || usage.anonymous_kib > base.anonymous_kib + MORE_KIB;
        if !more {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            look.wrong.push(format!("it holds {usage:?}, the first held {base:?}"));
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}
