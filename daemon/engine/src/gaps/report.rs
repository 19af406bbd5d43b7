//! Gaps as they are shown: ranked, with what is near them, what closes them, and how their intents are answered now.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fitment_catalog::ComponentName;
use fitment_index::Effort;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::GapText;
use super::book::{Book, Day, IntentKey, KeptGap, KeptIntent, Tally, day_of, place};
use super::draft::{Draft, Surroundings, draft};
use super::log::kept_text;
use crate::admission::{CallContext, WorkClass};
use crate::audit::{Act, Author};
use crate::decisions::DecidedIntent;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::limits::page_size;
use crate::pipeline::{MatchQuery, Outcome};

/// Gaps of a page at most.
const MAX_PAGE_SIZE: usize = 200;
/// Gaps of a page when the caller does not say.
const DEFAULT_PAGE_SIZE: usize = 20;
/// Days of a window when the caller does not say.
const DEFAULT_WINDOW: Day = 7;
/// Days of a window at most.
const MAX_WINDOW: Day = 365;
/// Intents that stand for a gap.
const REPRESENTATIVES: usize = 3;
/// Components that are named as near.
const NEAREST: usize = 3;
/// Intents that a gap is shown with.
const SHOWN: usize = 200;
/// Cosine from which on a draft takes the nearest component's namespace and kind.
const KINDRED: f64 = 0.5;
/// Intents that are asked again at most.
const REPLAYED: usize = 256;

/// Asks for a page of gaps.
#[derive(Clone, Debug, Default)]
pub struct GapPage {
    /// 1..=200; 0: 20.
    pub size: usize,
    /// Token of the page before; empty: the first page.
    pub token: String,
    /// Days of a window, 1..=365; 0: 7.
    pub window_days: Day,
}

/// A page of gaps.
#[derive(Debug)]
pub struct GapListing {
    /// The most asked for first, equal ones by id.
    pub gaps: Vec<Gap>,
    /// Token of the next page; empty on the last.
    pub next_token: String,
    /// Gaps on all pages.
    pub total: usize,
    /// What is kept.
    pub counts: GapCounts,
}

/// What is kept of unmet intents.
#[derive(Clone, Copy, Debug)]
pub struct GapCounts {
    /// Distinct intents.
    pub intents: usize,
    /// Intents since the start that were lost before they were kept.
    pub lost: u64,
    /// Intents that the start dropped: of another model, and without their text.
    pub dropped: u64,
    /// What is kept of their text.
    pub text: GapText,
}

/// Intents of like meaning that nothing certified met.
#[derive(Clone, Debug)]
pub struct Gap {
    /// Names it.
    pub id: String,
    /// Intents nearest to its middle.
    pub representatives: Vec<GapIntent>,
    /// Distinct intents.
    pub intents: usize,
    /// How often they were asked, within the retention.
    pub asked: u64,
    /// How often within the window.
    pub asked_in_window: u64,
    /// How often within the window before.
    pub asked_in_window_before: u64,
    /// First asked.
    pub first: jiff::Timestamp,
    /// Last asked.
    pub last: jiff::Timestamp,
    /// Components that may answer and are nearest to its middle, nearest first.
    pub nearest: Vec<NearComponent>,
    /// What closes it, as somebody said.
    pub link: Option<GapLink>,
    /// The component that answers every representative now.
    pub answered_by: Option<String>,
}

/// One intent of a gap.
#[derive(Clone, Debug)]
pub struct GapIntent {
    /// Its text, where it is kept.
    pub text: Option<String>,
    /// sha256 of its text, where only that is kept.
    pub text_digest: Option<String>,
    /// How often it was asked, within the retention.
    pub asked: u64,
    /// First asked.
    pub first: jiff::Timestamp,
    /// Last asked.
    pub last: jiff::Timestamp,
    /// Mean cosine with the intents of its gap, itself included.
    pub cosine: f64,
}

/// A component near a gap.
#[derive(Clone, Debug)]
pub struct NearComponent {
    /// Its name.
    pub name: ComponentName,
    /// Its version that answers.
    pub version: Version,
    /// Cosine of its nearest text with the gap's middle.
    pub cosine: f64,
}

/// What closes a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapLink {
    /// `namespace/name`, or `namespace/name@version`.
    pub component: String,
    /// When it was said.
    pub time: jiff::Timestamp,
    /// Who said so.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What became of a gap.
#[derive(Clone, Debug)]
pub struct GapReport {
    /// The gap.
    pub gap: Gap,
    /// How its intents are answered now, each as often as it was asked: zero, minimal, raw generation, candidates.
    pub replayed: [u64; 4],
    /// Distinct intents that were asked again.
    pub replayed_intents: usize,
    /// Distinct intents that were not.
    pub not_replayed: usize,
    /// Components that promise to answer, and how often what they answer was asked, the most first.
    pub answered_by: Vec<(String, u64)>,
    /// All answers before the link and since, where there is one.
    pub traffic: Option<([u64; 4], [u64; 4])>,
}

/// What a gap is shown from, out of the book.
struct Seen {
    gap: Gap,
    middle: Vec<f32>,
}

impl Engine {
    /// Lists gaps, the most asked for first.
    ///
    /// Errors: a page size over 200, a window over 365 days, a token that is not one or was made with another window.
    pub async fn gaps(&self, page: GapPage) -> Result<GapListing, EngineError> {
        let size = page_size(page.size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)?;
        let window = checked_window(page.window_days)?;
        let after = read_token(&page.token, window)?;
        let mut listing = self
            .compute(move |shared| {
                let today = day_of((shared.clock)());
                let (seen, next_token, total, intents) = shared.gaps.with_book(|book| {
                    let mut ranked: Vec<(Reverse<u64>, &String)> =
                        book.gaps.iter().map(|(id, gap)| (Reverse(asked(book, gap)), id)).collect();
                    ranked.sort_unstable();
                    let left = ranked.iter().filter(|(count, id)| {
                        after.as_ref().is_none_or(|(last, last_id)| (*count, *id) > (Reverse(*last), last_id))
                    });
                    let page: Vec<_> = left.take(size + 1).collect();
                    let more = page.len() > size;
                    let next = page.get(size.saturating_sub(1)).filter(|_| more);
                    let next_token = next.map(|(Reverse(count), id)| write_token(*count, id, window));
                    let shown = page.iter().take(size).filter_map(|(_, id)| see(book, id, today, window));
                    (shown.collect::<Vec<_>>(), next_token.unwrap_or_default(), book.gaps.len(), book.intents.len())
                });
                let gaps = seen.into_iter().map(|seen| with_nearest(shared, seen)).collect::<Result<_, _>>()?;
                let counts = GapCounts {
                    intents,
                    lost: shared.gaps.lost(),
                    dropped: shared.gaps.dropped(),
                    text: shared.gaps.policy().text,
                };
                Ok(GapListing { gaps, next_token, total, counts })
            })
            .await?;
        for gap in &mut listing.gaps {
            gap.answered_by = self.answers_all(gap).await?;
        }
        Ok(listing)
    }

    /// One gap, and its intents, the most asked for first, at most 200.
    ///
    /// Errors: a window over 365 days, a gap that is not there.
    pub async fn gap(&self, id: String, window_days: Day) -> Result<(Gap, Vec<GapIntent>), EngineError> {
        let window = checked_window(window_days)?;
        let (mut gap, intents) = self
            .compute(move |shared| {
                let today = day_of((shared.clock)());
                let (seen, intents) = shared.gaps.with_book(|book| {
                    let id = known(book, &id)?;
                    let seen = see(book, &id, today, window).ok_or_else(|| unknown(&id))?;
                    let shown = by_demand(book, &id).into_iter().take(SHOWN);
                    let gap = &book.gaps[&id];
                    Ok::<_, EngineError>((seen, shown.map(|(_, intent)| shown_intent(gap, intent)).collect()))
                })?;
                Ok((with_nearest(shared, seen)?, intents))
            })
            .await?;
        gap.answered_by = self.answers_all(&gap).await?;
        Ok((gap, intents))
    }

    /// The draft of a manifest whose example intents are those of a gap. Stores nothing.
    ///
    /// Errors: a gap that is not there, or of whose intents no text is kept.
    pub async fn draft_manifest(&self, id: String) -> Result<Draft, EngineError> {
        self.compute(move |shared| {
            let (seen, texts, without) = shared.gaps.with_book(|book| {
                let id = known(book, &id)?;
                let seen = see(book, &id, 0, 1).ok_or_else(|| unknown(&id))?;
                let intents = by_demand(book, &id);
                let mut texts: Vec<String> =
                    intents.iter().filter_map(|(_, intent)| kept_text(&intent.record).map(str::to_owned)).collect();
                let without = intents.len() - texts.len();
                // The one that speaks for all comes first.
                if let Some(first) = seen.gap.representatives.iter().find_map(|intent| intent.text.as_ref())
                    && let Some(at) = texts.iter().position(|text| text == first)
                {
                    texts[..=at].rotate_right(1);
                }
                Ok::<_, EngineError>((seen, texts, without))
            })?;
            let gap = with_nearest(shared, seen)?;
            let index = shared.index.searchable();
            // What is not near says nothing about where it belongs.
            let nearest = gap.nearest.first().filter(|near| near.cosine >= KINDRED);
            let kind = nearest.and_then(|near| index.view.card(index.view.find(&near.name, &near.version)?));
            let around = Surroundings {
                namespace: nearest.map_or("draft", |near| near.name.namespace()),
                kind: kind.map_or("service", |card| card.kind.as_str()),
                taken: &|name| index.view.versions(name).next().is_some(),
            };
            let drafted = draft(&texts, &around)?.ok_or(EngineError::GapWithoutText { id: gap.id })?;
            Ok(Draft { left_out: drafted.left_out + without, ..drafted })
        })
        .await
    }

    /// Says which component closes a gap, or takes that back; durable, and in the audit trail, when it returns.
    ///
    /// component: `namespace/name` or `namespace/name@version`, in the catalogue; empty: takes the link back. Errors: another
    /// form, a gap or component that is not there.
    pub async fn link_gap(&self, id: String, component: String, author: Author) -> Result<Gap, EngineError> {
        let owner = if component.is_empty() { None } else { Some(self.check_link(&component)?) };
        // A write that has begun is finished even when its caller leaves.
        let shared = self.shared();
        let linking = move || {
            shared.gaps.with_book(|book| {
                let now = (shared.clock)();
                let id = known(book, &id)?;
                let Author { actor, reason } = author.clone();
                let link =
                    (!component.is_empty()).then(|| GapLink { component: component.clone(), time: now, actor, reason });
                let action = if link.is_some() { "gap.link" } else { "gap.unlink" };
                let open = book.gaps.get(&id).is_some_and(|gap| gap.record.link.is_none());
                let record = book.linked(&id, link).ok_or_else(|| unknown(&id))?;
                let detail = serde_json::json!({"component": component});
                let act = Act { action, subject: id.clone(), detail };
                shared.gaps.store().link_gap(&id, &record, act, &author, now)?;
                book.put_record(&id, record);
                if let Some(owner) = owner.filter(|_| open) {
                    shared.economics.closed_gap(now, &owner);
                }
                Ok::<_, EngineError>(id)
            })
        };
        let id = self.write_out(linking).await?;
        self.gap(id, 0).await.map(|(gap, _)| gap)
    }

    /// The team that answers for the component.
    fn check_link(&self, component: &str) -> Result<String, EngineError> {
        let fault = |error: &dyn std::fmt::Display| EngineError::field("component", error.to_string());
        let (name, version) =
            component.split_once('@').map_or((component, None), |(name, version)| (name, Some(version)));
        let name: ComponentName = name.parse().map_err(|error| fault(&error))?;
        let version = version.map(Version::parse).transpose().map_err(|error| fault(&error))?;
        let shared = self.shared();
        let index = shared.index.searchable();
        let found = match &version {
            Some(version) => index.view.find(&name, version),
            None => index.view.versions(&name).last().map(|(_, doc)| doc),
        };
        let version = found.map(|doc| shared.store.read()?.version(doc)).transpose()?.flatten();
        version.map(|version| version.owner).ok_or_else(|| EngineError::NotFound { what: component.to_owned() })
    }

    /// Asks the intents of a gap again, and compares all traffic before and since its link.
    ///
    /// Errors: a gap that is not there.
    pub async fn gap_report(&self, id: String) -> Result<GapReport, EngineError> {
        let (gap, _) = self.gap(id, 0).await?;
        let id = gap.id.clone();
        let (texts, distinct, traffic) = self
            .compute(move |shared| {
                shared.gaps.with_book(|book| {
                    let id = known(book, &id)?;
                    let intents = by_demand(book, &id);
                    let texts = intents.iter().filter_map(|(asked, intent)| Some((kept_text(&intent.record)?, *asked)));
                    let texts: Vec<(String, u64)> =
                        texts.take(REPLAYED).map(|(text, asked)| (text.to_owned(), asked)).collect();
                    let linked = book.gaps[&id].record.link.as_ref();
                    let traffic = linked.map(|linked| (linked.before, book.traffic_since(linked)));
                    Ok((texts, intents.len(), traffic))
                })
            })
            .await?;
        let mut replayed = Tally::default();
        let mut answered: BTreeMap<String, u64> = BTreeMap::new();
        let replayed_intents = texts.len();
        for (text, asked) in texts {
            let (outcome, component) = self.ask_again(text).await?;
            replayed[place(outcome)] += asked;
            if let Some(component) = component {
                *answered.entry(component).or_default() += asked;
            }
        }
        let mut answered_by: Vec<(String, u64)> = answered.into_iter().collect();
        answered_by.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let not_replayed = distinct.saturating_sub(replayed_intents);
        Ok(GapReport { gap, replayed, replayed_intents, not_replayed, answered_by, traffic })
    }

    /// How an intent is answered now, and by which component where that is promised. Remembered nowhere.
    async fn ask_again(&self, intent: String) -> Result<(Outcome, Option<String>), EngineError> {
        let context = CallContext::own(WorkClass::Several);
        let answer = self.match_intent(MatchQuery { intent, top_k: 1, context, ..MatchQuery::default() }).await?;
        let promised = answer.candidates.first().filter(|best| best.is_match);
        Ok((answer.outcome, promised.map(|best| best.version.card.name.to_string())))
    }

    /// The component that answers every representative of a gap now; that of the first, where several do.
    async fn answers_all(&self, gap: &Gap) -> Result<Option<String>, EngineError> {
        let mut by = None;
        for intent in &gap.representatives {
            let Some(text) = &intent.text else { return Ok(None) };
            let (_, Some(component)) = self.ask_again(text.clone()).await? else { return Ok(None) };
            by.get_or_insert(component);
        }
        Ok(by)
    }
}

fn checked_window(days: Day) -> Result<Day, EngineError> {
    match days {
        0 => Ok(DEFAULT_WINDOW),
        1..=MAX_WINDOW => Ok(days),
        _ => Err(EngineError::field("window_days", format!("is {days}; ask for 1 to {MAX_WINDOW}"))),
    }
}

fn unknown(id: &str) -> EngineError {
    EngineError::GapUnknown { id: id.chars().take(80).filter(|character| !character.is_control()).collect() }
}

/// The gap that an id stands for now.
fn known(book: &Book, id: &str) -> Result<String, EngineError> {
    book.resolve(id).map(str::to_owned).ok_or_else(|| unknown(id))
}

fn members<'a>(book: &'a Book, gap: &'a KeptGap) -> impl Iterator<Item = (IntentKey, &'a KeptIntent)> {
    gap.members.iter().filter_map(|key| Some((*key, book.intents.get(key)?)))
}

fn asked(book: &Book, gap: &KeptGap) -> u64 {
    members(book, gap).map(|(_, intent)| intent.record.asked()).sum()
}

/// Intents of a gap with how often they were asked, the most first, equal ones by what they were first asked and key.
fn by_demand<'a>(book: &'a Book, id: &str) -> Vec<(u64, &'a KeptIntent)> {
    let Some(gap) = book.gaps.get(id) else { return Vec::new() };
    let mut intents: Vec<(u64, IntentKey, &KeptIntent)> =
        members(book, gap).map(|(key, intent)| (intent.record.asked(), key, intent)).collect();
    intents.sort_by_key(|(asked, key, intent)| (Reverse(*asked), intent.record.first, *key));
    intents.into_iter().map(|(asked, _, intent)| (asked, intent)).collect()
}

fn shown_intent(gap: &KeptGap, intent: &KeptIntent) -> GapIntent {
    let KeptIntent { record, code } = intent;
    let (text, text_digest) = match &record.text {
        DecidedIntent::Kept(text) => (Some(text.clone()), None),
        DecidedIntent::Hashed(digest) => (None, Some(digest.clone())),
        DecidedIntent::Dropped => (None, None),
    };
    let cosine = f64::from(gap.likeness(&code.vector()));
    GapIntent { text, text_digest, asked: record.asked(), first: record.first, last: record.last, cosine }
}

/// A gap as the book knows it. `None`: it has no intents.
fn see(book: &Book, id: &str, today: Day, window: Day) -> Option<Seen> {
    let gap = book.gaps.get(id)?;
    let middle = gap.middle();
    let mut nearest: Vec<(f32, IntentKey, &KeptIntent)> =
        members(book, gap).map(|(key, intent)| (gap.likeness(&intent.code.vector()), key, intent)).collect();
    nearest.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let in_days = |from: Day, to: Day| -> u64 {
        let days = members(book, gap).flat_map(|(_, intent)| intent.record.days.iter());
        days.filter(|(day, _)| (from..to).contains(*day)).map(|(_, count)| count).sum()
    };
    let end = today.saturating_add(1);
    let (start, before) = (end.saturating_sub(window), end.saturating_sub(window.saturating_mul(2)));
    let gap = Gap {
        id: id.to_owned(),
        representatives: nearest.iter().take(REPRESENTATIVES).map(|(.., intent)| shown_intent(gap, intent)).collect(),
        intents: gap.members.len(),
        asked: asked(book, gap),
        asked_in_window: in_days(start, end),
        asked_in_window_before: in_days(before, start),
        first: nearest.iter().map(|(.., intent)| intent.record.first).min()?,
        last: nearest.iter().map(|(.., intent)| intent.record.last).max()?,
        nearest: Vec::new(),
        link: gap.record.link.as_ref().map(|linked| linked.link.clone()),
        answered_by: None,
    };
    Some(Seen { gap, middle })
}

/// Adds the components that are nearest to a gap's middle.
fn with_nearest(shared: &Shared, seen: Seen) -> Result<Gap, EngineError> {
    let Seen { mut gap, middle } = seen;
    let index = shared.index.searchable();
    let allowed = index.view.allowed(None, None, None);
    let hits = index.dense.search(&middle, NEAREST, Some(&allowed), Effort::Default)?.hits;
    gap.nearest = hits
        .into_iter()
        .filter_map(|hit| {
            let card = index.view.card(hit.doc)?;
            Some(NearComponent { name: card.name.clone(), version: card.version.clone(), cosine: f64::from(hit.score) })
        })
        .collect();
    Ok(gap)
}

/// A page token names the window that it was made with and the last gap of its page.
fn write_token(count: u64, id: &str, window: Day) -> String {
    hex::encode(format!("{window}\n{count}\n{id}"))
}

fn read_token(token: &str, window: Day) -> Result<Option<(u64, String)>, EngineError> {
    if token.is_empty() {
        return Ok(None);
    }
    let malformed = || EngineError::field("page_token", "is not a token of this list; start again without one");
    let text = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(malformed)?;
    let mut parts = text.splitn(3, '\n');
    let (Some(made), Some(count), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    if made != window.to_string() {
        return Err(EngineError::field("page_token", "was made with another window; start again without a token"));
    }
    Ok(Some((count.parse().map_err(|_error| malformed())?, id.to_owned())))
}
