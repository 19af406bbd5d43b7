//! What is asked of the daemon during a soak: everything that its clients do, by turns and at random.
//!
//! Each part that is made takes the place of one that is deleted, so that as many are live at the end as at the beginning.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_proto::v1::certification_service_client::CertificationServiceClient;
use fitment_proto::v1::feedback_service_client::FeedbackServiceClient;
use fitment_proto::v1::info_service_client::InfoServiceClient;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use fitment_proto::v1::record_outcome_request::Verdict;
use fitment_proto::v1::snapshot_service_client::SnapshotServiceClient;
use hdrhistogram::Histogram;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::process::{endpoint, http_get};
use crate::signer::Signer;
use crate::texts;
use fitment_tests::Dice;

/// Manifests of one bulk import.
const IMPORTED: usize = 40;
/// Answers whose decisions are kept in mind, to give verdicts on.
const REMEMBERED: usize = 64;
/// How long a watch is held at most.
const WATCHED: Duration = Duration::from_secs(8);
/// What a certificate's window is around now.
const WINDOW: SignedDuration = SignedDuration::from_hours(24 * 365);

/// What is done at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// A text that nobody asked before.
    Match,
    /// One that was asked before.
    MatchAgain,
    /// Eight texts in a call.
    Batch,
    Explain,
    List,
    Get,
    Info,
    /// A new part, certified; another one deleted.
    Replace,
    /// A new version, certified; the old one deleted.
    Edit,
    /// Deprecated, and back.
    Move,
    /// What became of an earlier answer.
    Verdict,
    /// A watch that comes and goes.
    Watch,
    /// A connection for one call.
    Connect,
    /// A call that its caller gives up.
    Leave,
    /// A call with too little time.
    Hurry,
    /// A look at the metrics.
    Metrics,
}

/// How often each is done, of a thousand.
const MIX: [(Operation, u64); 16] = [
    (Operation::Match, 590),
    (Operation::MatchAgain, 60),
    (Operation::Batch, 15),
    (Operation::Explain, 30),
    (Operation::List, 30),
    (Operation::Get, 60),
    (Operation::Info, 20),
    (Operation::Replace, 35),
    (Operation::Edit, 20),
    (Operation::Move, 10),
    (Operation::Verdict, 30),
    (Operation::Watch, 10),
    (Operation::Connect, 50),
    (Operation::Leave, 15),
    (Operation::Hurry, 15),
    (Operation::Metrics, 10),
];

impl Operation {
    /// One at random, as often as the mix says.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let mut left = dice.below(MIX.iter().map(|(_, share)| share).sum());
        for (operation, share) in MIX {
            if left < share {
                return operation;
            }
            left -= share;
        }
        Self::Match
    }

    /// Whether it changes the catalogue.
    fn writes(self) -> bool {
        matches!(self, Self::Replace | Self::Edit | Self::Move)
    }

    /// Whether this is how it may end, too.
    fn may_end(self, code: Code) -> bool {
        matches!(self, Self::Hurry | Self::Leave) && matches!(code, Code::DeadlineExceeded | Code::Cancelled)
    }
}

/// A live part.
#[derive(Clone, Debug)]
struct Part {
    number: u64,
    version: u64,
    digest: String,
}

impl Part {
    fn name(&self) -> String {
        format!("soak/part-{}", self.number)
    }

    fn version(&self) -> String {
        format!("1.{}.0", self.version)
    }

    fn manifest(&self) -> Vec<u8> {
        let place = usize::try_from(self.number).unwrap_or_default();
        serde_json::json!({
            "name": self.name(), "version": self.version(), "title": format!("Part {}", self.number),
            "summary": format!("Part {} that helps to {}.", self.number, texts::intent(place)),
            "kind": "service", "lifecycle": "certified", "license": "MIT", "owner": "team-soak", "tags": ["soak"],
        })
        .to_string()
        .into_bytes()
    }
}

/// What was measured since it was last asked for.
pub(crate) struct Figures {
    pub(crate) matches: Histogram<u64>,
    pub(crate) writes: Histogram<u64>,
    pub(crate) done: BTreeMap<Operation, u64>,
    /// Refused since the machine was too busy, which is no fault of the daemon on one that others use.
    pub(crate) refused: u64,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Figures {
    fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000, 3);
        Ok(Self {
            matches: histogram()?,
            writes: histogram()?,
            done: BTreeMap::new(),
            refused: 0,
            errors: BTreeMap::new(),
        })
    }
}

/// The clients of one daemon.
pub(crate) struct Load {
    address: String,
    metrics: String,
    channel: Channel,
    signer: Signer,
    parts: Mutex<VecDeque<Part>>,
    decisions: Mutex<VecDeque<String>>,
    next_part: AtomicU64,
    next_text: AtomicUsize,
    figures: Mutex<Figures>,
}

impl Load {
    /// Connects, installs a trust root and fills the catalogue.
    pub(crate) async fn prepare(address: &str, metrics: &str, parts: usize, seed: u64) -> anyhow::Result<Arc<Self>> {
        let load = Self {
            address: address.to_owned(),
            metrics: metrics.to_owned(),
            channel: endpoint(address)?.connect().await?,
            signer: Signer::new(seed),
            parts: Mutex::new(VecDeque::new()),
            decisions: Mutex::new(VecDeque::new()),
            next_part: AtomicU64::new(0),
            next_text: AtomicUsize::new(0),
            figures: Mutex::new(Figures::new()?),
        };
        let root = v1::InstallTrustRootRequest { trust_root: load.signer.root(), ..Default::default() };
        load.certification().install_trust_root(root).await?;
        let mut there = 0;
        while there < parts {
            let more = IMPORTED.min(parts - there);
            load.import(more).await?;
            there += more;
        }
        Ok(Arc::new(load))
    }

    /// Components that the catalogue lists.
    pub(crate) async fn count(&self) -> anyhow::Result<u64> {
        let request = v1::ListComponentsRequest { page_size: 1, ..Default::default() };
        Ok(self.catalog().list_components(request).await?.into_inner().total_size)
    }

    /// What was measured since the last time.
    pub(crate) fn take_figures(&self) -> anyhow::Result<Figures> {
        Ok(std::mem::replace(&mut *self.figures.lock(), Figures::new()?))
    }

    /// Does one operation, and notes how it went.
    pub(crate) async fn perform(&self, operation: Operation, roll: u64) {
        let began = Instant::now();
        let ended = self.dispatch(operation, &mut Dice(roll)).await;
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut figures = self.figures.lock();
        *figures.done.entry(operation).or_default() += 1;
        match ended {
            Ok(()) if operation == Operation::Match => figures.matches.saturating_record(micros),
            Ok(()) if operation.writes() => figures.writes.saturating_record(micros),
            Ok(()) => {}
            Err(error) => {
                let code = error.downcast_ref::<Status>().map(Status::code);
                if code == Some(Code::ResourceExhausted) {
                    figures.refused += 1;
                } else if code.is_none_or(|code| !operation.may_end(code)) {
                    let said: String = format!("{error:#}").chars().take(200).collect();
                    *figures.errors.entry(format!("{operation:?}: {code:?}: {said}")).or_default() += 1;
                }
            }
        }
    }

    async fn dispatch(&self, operation: Operation, dice: &mut Dice) -> anyhow::Result<()> {
        match operation {
            Operation::Match => self.ask(self.matcher(), self.fresh()).await,
            Operation::MatchAgain => self.ask(self.matcher(), texts::intent(dice.place(200))).await,
            Operation::Batch => {
                let requests = (0..8).map(|_| self.fresh()).collect();
                let items = self.matcher().batch_match(v1::BatchMatchRequest { requests }).await?.into_inner().items;
                ensure!(items.len() == 8, "8 intents, {} answers", items.len());
                Ok(())
            }
            Operation::Explain => {
                let request = Some(self.fresh());
                self.matcher().explain(v1::ExplainRequest { request }).await?;
                Ok(())
            }
            Operation::List => {
                let request = v1::ListComponentsRequest { page_size: 100, ..Default::default() };
                self.catalog().list_components(request).await?;
                Ok(())
            }
            Operation::Get => self.get(dice).await,
            Operation::Info => {
                InfoServiceClient::new(self.channel.clone()).get_server_info(v1::GetServerInfoRequest {}).await?;
                Ok(())
            }
            Operation::Replace => self.replace().await,
            Operation::Edit => self.edit(dice).await,
            Operation::Move => self.deprecate_and_back(dice).await,
            Operation::Verdict => self.verdict(dice).await,
            Operation::Watch => self.watch(dice).await,
            Operation::Connect => {
                let channel = endpoint(&self.address)?.connect().await?;
                self.ask(MatcherServiceClient::new(channel), self.fresh()).await
            }
            Operation::Leave => {
                let call = self.ask(self.matcher(), self.fresh());
                // It is dropped unanswered, mostly.
                drop(tokio::time::timeout(Duration::from_micros(dice.below(4000)), call).await);
                Ok(())
            }
            Operation::Hurry => {
                let mut request = Request::new(self.fresh());
                request.set_timeout(Duration::from_millis(1 + dice.below(4)));
                self.matcher().r#match(request).await?;
                Ok(())
            }
            Operation::Metrics => {
                let (status, _) = http_get(&self.metrics, "/metrics").await?;
                ensure!(status == 200, "/metrics answers {status}");
                Ok(())
            }
        }
    }

    /// Imports so many parts in one stream, and certifies them.
    async fn import(&self, count: usize) -> anyhow::Result<()> {
        let new: Vec<Part> = (0..count).map(|_| self.new_part()).collect();
        let items: Vec<v1::ImportComponentsRequest> = new
            .iter()
            .map(|part| v1::ImportComponentsRequest {
                manifest: part.manifest(),
                format: v1::ManifestFormat::Json.into(),
                ..Default::default()
            })
            .collect();
        let mut results = self.catalog().import_components(tokio_stream::iter(items)).await?.into_inner();
        for mut part in new {
            let item = results.message().await?.context("fewer results than manifests")?;
            ensure!(item.result() == v1::ImportResult::Created, "{item:?}");
            part.digest = item.digest;
            self.certify(&part).await?;
            self.parts.lock().push_back(part);
        }
        Ok(())
    }

    /// Imports parts, and deletes as many of the oldest.
    pub(crate) async fn bulk(&self) -> anyhow::Result<()> {
        self.import(IMPORTED).await?;
        for _ in 0..IMPORTED {
            let oldest = self.parts.lock().pop_front().context("a part")?;
            self.delete(&oldest).await?;
        }
        Ok(())
    }

    /// Takes a snapshot.
    pub(crate) async fn snapshot(&self) -> anyhow::Result<()> {
        let mut client = SnapshotServiceClient::new(self.channel.clone());
        let mut events = client.create_snapshot(v1::CreateSnapshotRequest {}).await?.into_inner();
        while events.message().await?.is_some() {}
        Ok(())
    }

    async fn replace(&self) -> anyhow::Result<()> {
        let part = self.create(self.new_part()).await?;
        self.parts.lock().push_back(part);
        let oldest = self.parts.lock().pop_front().context("a part")?;
        self.delete(&oldest).await
    }

    async fn edit(&self, dice: &mut Dice) -> anyhow::Result<()> {
        let Some(old) = self.take(dice) else { return Ok(()) };
        let edited = self.create(Part { version: old.version + 1, ..old.clone() }).await;
        // What could not be edited is there as it was.
        self.parts.lock().push_back(edited.as_ref().unwrap_or(&old).clone());
        edited?;
        self.delete(&old).await
    }

    async fn deprecate_and_back(&self, dice: &mut Dice) -> anyhow::Result<()> {
        let Some(part) = self.take(dice) else { return Ok(()) };
        let mut moved = Ok(());
        for to in [v1::Lifecycle::Deprecated, v1::Lifecycle::Certified] {
            let (name, version) = (part.name(), part.version());
            let request = v1::MoveComponentRequest { name, version, lifecycle: to.into(), ..Default::default() };
            moved = moved.and(self.catalog().move_component(request).await.map(drop));
        }
        self.parts.lock().push_back(part);
        Ok(moved?)
    }

    async fn create(&self, mut part: Part) -> anyhow::Result<Part> {
        let request = v1::CreateComponentRequest {
            manifest: part.manifest(),
            format: v1::ManifestFormat::Json.into(),
            request_id: format!("{}@{}", part.name(), part.version()),
            ..Default::default()
        };
        part.digest = self.catalog().create_component(request).await?.into_inner().digest;
        self.certify(&part).await?;
        Ok(part)
    }

    async fn certify(&self, part: &Part) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let (_, envelope) =
            self.signer.certificate(&part.digest, now.checked_sub(WINDOW)?, now.checked_add(WINDOW)?)?;
        self.certification().add_certificate(v1::AddCertificateRequest { envelope, ..Default::default() }).await?;
        Ok(())
    }

    async fn delete(&self, part: &Part) -> anyhow::Result<()> {
        let (name, version) = (part.name(), part.version());
        self.catalog().delete_component(v1::DeleteComponentRequest { name, version, ..Default::default() }).await?;
        Ok(())
    }

    async fn get(&self, dice: &mut Dice) -> anyhow::Result<()> {
        let name = {
            let parts = self.parts.lock();
            let Some(part) = parts.get(dice.place(parts.len())) else { return Ok(()) };
            part.name()
        };
        let request = v1::GetComponentRequest { name, ..Default::default() };
        match self.catalog().get_component(request).await {
            // It was deleted meanwhile.
            Err(status) if status.code() == Code::NotFound => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    async fn verdict(&self, dice: &mut Dice) -> anyhow::Result<()> {
        let Some(decision_id) = self.decisions.lock().pop_front() else { return Ok(()) };
        let verdict = if dice.below(2) == 0 { Verdict::Accepted(()) } else { Verdict::NoneFits(()) };
        let request = v1::RecordOutcomeRequest { decision_id, verdict: Some(verdict), ..Default::default() };
        match FeedbackServiceClient::new(self.channel.clone()).record_outcome(request).await {
            // No longer remembered.
            Err(status) if status.code() == Code::NotFound => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Watches until there were a few changes, or for some seconds, and leaves.
    async fn watch(&self, dice: &mut Dice) -> anyhow::Result<()> {
        let mut changes = self.catalog().watch_catalog(v1::WatchCatalogRequest::default()).await?.into_inner();
        let wanted = 1 + dice.below(20);
        let look = async {
            for _ in 0..wanted {
                changes.message().await?.context("the watch ended by itself")?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(WATCHED, look).await.unwrap_or(Ok(()))
    }

    async fn ask(
        &self,
        mut matcher: MatcherServiceClient<Channel>,
        request: impl Into<Asked> + Send,
    ) -> anyhow::Result<()> {
        let answer = matcher.r#match(request.into().0).await?.into_inner();
        let mut decisions = self.decisions.lock();
        if decisions.len() < REMEMBERED {
            decisions.push_back(answer.decision_id);
        }
        Ok(())
    }

    fn take(&self, dice: &mut Dice) -> Option<Part> {
        let mut parts = self.parts.lock();
        let place = dice.place(parts.len());
        parts.remove(place)
    }

    fn new_part(&self) -> Part {
        Part { number: self.next_part.fetch_add(1, Ordering::Relaxed), version: 0, digest: String::new() }
    }

    fn fresh(&self) -> v1::MatchRequest {
        // The first texts are those that are asked again.
        let number = 200 + self.next_text.fetch_add(1, Ordering::Relaxed);
        v1::MatchRequest { intent: texts::intent(number), ..Default::default() }
    }

    fn matcher(&self) -> MatcherServiceClient<Channel> {
        MatcherServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    fn catalog(&self) -> CatalogServiceClient<Channel> {
        CatalogServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    fn certification(&self) -> CertificationServiceClient<Channel> {
        CertificationServiceClient::new(self.channel.clone())
    }
}

/// A request, or the text of one.
struct Asked(v1::MatchRequest);

impl From<v1::MatchRequest> for Asked {
    fn from(request: v1::MatchRequest) -> Self {
        Self(request)
    }
}

impl From<String> for Asked {
    fn from(intent: String) -> Self {
        Self(v1::MatchRequest { intent, ..Default::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_drawn_as_often_as_the_mix_says() {
        assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u64>(), 1000);
        let mut dice = Dice(3);
        let mut drawn: BTreeMap<Operation, u64> = BTreeMap::new();
        for _ in 0..100_000 {
            *drawn.entry(Operation::draw(&mut dice)).or_default() += 1;
        }
        for (operation, share) in MIX {
            let count = drawn.get(&operation).copied().unwrap_or_default();
            assert!(count.abs_diff(share * 100) < 100 + share * 10, "{operation:?}: {count}");
        }
    }
}
