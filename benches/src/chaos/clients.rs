//! Those who use the daemon all the while: writers, matchers and a watcher. They go on through every fault, and tell what they saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fitment_proto::v1;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_proto::v1::certification_service_client::CertificationServiceClient;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use super::ledger::{Certificate, Key, Kind, Ledger, Offsets, Step, Write};
use super::world::Way;
use crate::signer::Signer;
use crate::texts;
use fitment_tests::Dice;

/// Writers.
const WRITERS: [&str; 3] = ["w0", "w1", "w2"];
/// Matchers.
const MATCHERS: u64 = 2;
/// Time between two writes of a writer, and two questions of a matcher.
const BETWEEN: Duration = Duration::from_millis(10);
/// The same after an error.
const AFTER_ERROR: Duration = Duration::from_millis(50);
/// Broken promises that are told in full.
const MOST_TOLD: usize = 20;
/// Reasons of errors after which a write was not done and never will be. The disk's errors say themselves whether that holds;
/// all others leave it open.
const REFUSED: [&str; 4] = ["OVERLOADED", "NOT_READY", "STOPPING", "RATE_LIMITED"];

/// What clients saw since it was last asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) acknowledged: u64,
    pub(super) matches: u64,
    /// By reason, or code where there is none.
    pub(super) write_errors: BTreeMap<String, u64>,
    pub(super) match_errors: BTreeMap<String, u64>,
    /// Promises that answers broke.
    pub(super) wrong: Vec<String>,
    /// Times that the watcher had to go on from its last place.
    pub(super) resumed: u64,
}

/// What the watcher saw of one place of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) key: Option<Key>,
    pub(super) kind: i32,
    pub(super) digest: String,
}

/// A place of the log: revision and position.
pub(super) type Place = (u64, u32);

/// What clients share with one another and with who injects the faults.
pub(super) struct Hub {
    pub(super) ledger: Mutex<Ledger>,
    pub(super) offsets: Mutex<Offsets>,
    pub(super) tally: Mutex<Tally>,
    pub(super) watched: Mutex<BTreeMap<Place, Change>>,
    /// The daemon's clock less this machine's, as the last answer to a new version told it.
    pub(super) told_offset: Mutex<Option<SignedDuration>>,
    /// Held by each call; who holds all of it has the daemon to itself.
    pub(super) gate: RwLock<()>,
    pub(super) signer: Signer,
    way: Way,
    over: AtomicBool,
    text: AtomicUsize,
}

impl Hub {
    pub(super) fn new(base: Timestamp, signer: Signer, way: Way) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(base)),
            offsets: Mutex::default(),
            tally: Mutex::default(),
            watched: Mutex::default(),
            told_offset: Mutex::default(),
            gate: RwLock::new(()),
            signer,
            way,
            over: AtomicBool::new(false),
            text: AtomicUsize::new(0),
        }
    }

    pub(super) fn take_tally(&self) -> Tally {
        std::mem::take(&mut self.tally.lock())
    }

    /// Has all clients end.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn wrong(&self, what: String) {
        let mut tally = self.tally.lock();
        if tally.wrong.len() < MOST_TOLD {
            tally.wrong.push(what);
        }
    }

    /// An intent that nobody asked before.
    pub(super) fn fresh(&self) -> String {
        texts::intent(self.text.fetch_add(1, Ordering::Relaxed))
    }
}

/// Starts all clients.
pub(super) fn start(hub: &Arc<Hub>, dice: &mut Dice) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for writer in WRITERS {
        clients.spawn(write(Arc::clone(hub), writer, Dice(dice.roll())));
    }
    for _ in 0..MATCHERS {
        clients.spawn(ask(Arc::clone(hub), Dice(dice.roll())));
    }
    clients.spawn(watch(Arc::clone(hub)));
    clients
}

/// The reason of an error, or its code where it has none.
pub(super) fn reason(status: &Status) -> String {
    match status.get_details_error_info() {
        Some(info) if !info.reason.is_empty() => info.reason,
        _ => format!("{:?}", status.code()),
    }
}

/// Whether a write that failed so was not done and never will be.
fn is_settled(status: &Status) -> bool {
    let details = status.get_details_error_info();
    let kept = details.and_then(|info| info.metadata.get("kept").cloned());
    kept.is_some_and(|kept| kept == "nothing") || REFUSED.contains(&reason(status).as_str())
}

async fn write(hub: Arc<Hub>, writer: &'static str, mut dice: Dice) {
    while !hub.is_over() {
        let ended = {
            let _gate = hub.gate.read().await;
            match hub.way.channel() {
                Some(channel) => write_once(&hub, channel, writer, &mut dice).await,
                None => Ok(()),
            }
        };
        let pause = if let Err(status) = ended {
            *hub.tally.lock().write_errors.entry(reason(&status)).or_default() += 1;
            AFTER_ERROR
        } else {
            BETWEEN
        };
        tokio::time::sleep(pause).await;
    }
}

/// One step of a writer. Before a call is sent the ledger knows of it, and after it what became of it.
async fn write_once(hub: &Hub, channel: Channel, writer: &str, dice: &mut Dice) -> Result<(), Status> {
    let step = hub.ledger.lock().choose(writer, dice);
    let (key, kind) = match step {
        Step::One(key, kind) => (key, kind),
        Step::Import(keys) => return import(hub, channel, keys).await,
    };
    let (write, envelope) = prepare(hub, &key, kind)?;
    hub.ledger.lock().begin(&key, &write);
    match send(hub, channel, &key, &write, envelope).await {
        Ok(digest) => {
            hub.ledger.lock().acknowledge(&key, digest);
            hub.tally.lock().acknowledged += 1;
            Ok(())
        }
        Err(status) => {
            if is_settled(&status) {
                hub.ledger.lock().refuse(&key);
            }
            Err(status)
        }
    }
}

/// Signs what must be signed.
fn prepare(hub: &Hub, key: &Key, kind: Kind) -> Result<(Write, Vec<u8>), Status> {
    let failed = |error: anyhow::Error| Status::internal(format!("not sent: {error:#}"));
    let (base, state) = {
        let ledger = hub.ledger.lock();
        (ledger.base(), ledger.known(key).cloned())
    };
    Ok(match kind {
        Kind::Create => (Write::Create, Vec::new()),
        Kind::Move(to) => (Write::Move(to), Vec::new()),
        Kind::Delete => (Write::Delete, Vec::new()),
        Kind::Certify(window) => {
            let version = state.map(|state| state.digest).unwrap_or_default();
            let (from, until) = window.around(base);
            let (digest, envelope) = hub.signer.certificate(&version, from, until).map_err(failed)?;
            (Write::Certify(Certificate { digest, window, revoked: false }), envelope)
        }
        Kind::Revoke => {
            let certificate = state.and_then(|state| state.certificate).map(|certificate| certificate.digest);
            (Write::Revoke, hub.signer.revocation(&certificate.unwrap_or_default()).map_err(failed)?)
        }
    })
}

/// Sends a write; the version's digest where it is a new one.
async fn send(
    hub: &Hub,
    channel: Channel,
    key: &Key,
    write: &Write,
    envelope: Vec<u8>,
) -> Result<Option<String>, Status> {
    let (name, version) = (key.name.clone(), key.version());
    let mut catalog = CatalogServiceClient::new(channel.clone());
    let mut certification = CertificationServiceClient::new(channel);
    match write {
        Write::Create => {
            let request = v1::CreateComponentRequest {
                manifest: manifest(key),
                format: v1::ManifestFormat::Json.into(),
                ..Default::default()
            };
            let component = catalog.create_component(request).await?.into_inner();
            if let Some(created) = component.create_time {
                let told = SignedDuration::from_secs(created.seconds - Timestamp::now().as_second());
                *hub.told_offset.lock() = Some(told);
            }
            return Ok(Some(component.digest));
        }
        Write::Certify(_) => {
            certification.add_certificate(v1::AddCertificateRequest { envelope, ..Default::default() }).await?;
        }
        Write::Revoke => {
            certification.revoke_certificate(v1::RevokeCertificateRequest { envelope, ..Default::default() }).await?;
        }
        Write::Move(to) => {
            let lifecycle = (*to).into();
            catalog.move_component(v1::MoveComponentRequest { name, version, lifecycle, ..Default::default() }).await?;
        }
        Write::Delete => {
            catalog.delete_component(v1::DeleteComponentRequest { name, version, ..Default::default() }).await?;
        }
    }
    Ok(None)
}

async fn import(hub: &Hub, channel: Channel, keys: Vec<Key>) -> Result<(), Status> {
    let items: Vec<v1::ImportComponentsRequest> = keys
        .iter()
        .map(|key| v1::ImportComponentsRequest {
            manifest: manifest(key),
            format: v1::ManifestFormat::Json.into(),
            ..Default::default()
        })
        .collect();
    for key in &keys {
        hub.ledger.lock().begin(key, &Write::Create);
    }
    let mut results =
        CatalogServiceClient::new(channel).import_components(tokio_stream::iter(items)).await?.into_inner();
    let mut refused = None;
    while let Some(item) = results.message().await? {
        let Some(key) = usize::try_from(item.index).ok().and_then(|at| keys.get(at)) else {
            hub.wrong(format!("an import answers with item {} of {}", item.index, keys.len()));
            continue;
        };
        if item.result() == v1::ImportResult::Created {
            hub.ledger.lock().acknowledge(key, Some(item.digest));
            hub.tally.lock().acknowledged += 1;
            continue;
        }
        let status = item.status.unwrap_or_default();
        if REFUSED.contains(&status.reason.as_str()) {
            hub.ledger.lock().refuse(key);
        }
        refused = Some(Status::unknown(status.reason));
    }
    refused.map_or(Ok(()), Err)
}

fn manifest(key: &Key) -> Vec<u8> {
    let name = &key.name;
    serde_json::json!({
        "name": name, "version": key.version(), "title": name.replace(['/', '-'], " "),
        "summary": format!("Version {} of the part that does what {name} says.", key.version), "kind": "service",
        "lifecycle": "certified", "license": "MIT", "owner": "team-chaos", "tags": ["chaos"],
    })
    .to_string()
    .into_bytes()
}

/// The question that one component alone may answer.
pub(super) fn only(name: &str) -> v1::MatchRequest {
    let filter = v1::filter_input::Form::Expression(format!("name:{name}"));
    v1::MatchRequest {
        intent: format!("the part that does what {name} says"),
        filter: Some(v1::FilterInput { form: Some(filter) }),
        ..Default::default()
    }
}

async fn ask(hub: Arc<Hub>, mut dice: Dice) {
    while !hub.is_over() {
        let ended = {
            let _gate = hub.gate.read().await;
            match hub.way.channel() {
                Some(channel) => ask_once(&hub, channel, &mut dice).await,
                None => Ok(()),
            }
        };
        let pause = if let Err(status) = ended {
            *hub.tally.lock().match_errors.entry(reason(&status)).or_default() += 1;
            AFTER_ERROR
        } else {
            hub.tally.lock().matches += 1;
            BETWEEN
        };
        tokio::time::sleep(pause).await;
    }
}

/// Asks, and holds the answer against what is certain before the question and after the answer.
async fn ask_once(hub: &Hub, channel: Channel, dice: &mut Dice) -> Result<(), Status> {
    let names = hub.ledger.lock().names();
    let single = names.get(dice.place(names.len())).filter(|_| dice.below(2) == 0);
    let request = match single {
        Some(name) => only(name),
        None => v1::MatchRequest { intent: hub.fresh(), top_k: 50, ..Default::default() },
    };
    let expectations = || {
        let offsets = *hub.offsets.lock();
        hub.ledger.lock().expectations(Timestamp::now(), offsets)
    };
    let before = expectations();
    let answer = MatcherServiceClient::new(channel).r#match(request).await?.into_inner();
    let after = expectations();
    let certain = |name: &str| match (before.get(name), after.get(name)) {
        (Some(Some(before)), Some(Some(after))) if before == after => Some(before.version),
        // A component that nobody had asked for when the question was.
        (None, None) => Some(None),
        _ => None,
    };
    let answered: BTreeMap<&str, Option<u64>> = answer
        .candidates
        .iter()
        .map(|found| (found.name.as_str(), Key::read(&found.name, &found.version).map(|key| key.version)))
        .collect();
    for (name, version) in &answered {
        if let Some(expected) = certain(name)
            && expected != *version
        {
            hub.wrong(format!("{name} answered with version {version:?}, and {expected:?} may"));
        }
    }
    if let Some(name) = single
        && let Some(Some(expected)) = certain(name)
        && answered.get(name.as_str()) != Some(&Some(expected))
    {
        hub.wrong(format!("{name} did not answer with version {expected}: {answered:?}"));
    }
    Ok(())
}

/// Follows the log from its beginning, and goes on from the last place when the stream ends.
async fn watch(hub: Arc<Hub>) {
    let mut last: Place = (0, 0);
    while !hub.is_over() {
        let Some(channel) = hub.way.channel() else {
            tokio::time::sleep(AFTER_ERROR).await;
            continue;
        };
        let after = Some(v1::LogPlace { revision: last.0, position: last.1 });
        let request = v1::WatchCatalogRequest { after, until_now: false };
        if let Ok(changes) = CatalogServiceClient::new(channel).watch_catalog(request).await {
            let mut changes = changes.into_inner();
            while let Ok(Some(change)) = changes.message().await {
                let (place, change) = read_change(change);
                if place <= last && last != (0, 0) {
                    hub.wrong(format!("the watch went from {last:?} back to {place:?}"));
                }
                last = place;
                hub.watched.lock().insert(place, change);
            }
        }
        hub.tally.lock().resumed += 1;
        tokio::time::sleep(AFTER_ERROR).await;
    }
}

/// A change as it is kept.
pub(super) fn read_change(change: v1::CatalogChange) -> (Place, Change) {
    let place = change.place.unwrap_or_default();
    let key = Key::read(&change.name, &change.version);
    ((place.revision, place.position), Change { key, kind: change.kind, digest: change.digest })
}
