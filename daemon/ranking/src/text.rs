//! Words and pieces of words of a component, kept small enough to be compared with an intent candidate by candidate.
//!
//! Terms are 32-bit hashes of stems, three-letter pieces are counted in 2^15 hashed buckets: a collision costs a little
//! precision and never an error.

use std::collections::{BTreeSet, HashMap};

use xxhash_rust::xxh3::xxh3_64;

use crate::terms::TermMap;

const K1: f32 = 1.2;
const B: f32 = 0.75;
/// Buckets of three-letter pieces.
const BUCKETS: usize = 1 << 15;
/// Most different terms and pieces that are kept of one component.
const MOST: usize = 1024;
/// Most aliases that are kept of one component.
const MOST_ALIASES: usize = 64;

/// The words of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextProfile {
    /// Every term once, sorted.
    terms: Box<[u32]>,
    /// The title's terms once, sorted.
    title: Box<[u32]>,
    /// The same of each alias.
    aliases: Vec<Box<[u32]>>,
    /// Bucket and count of three-letter pieces, by bucket.
    pieces: Box<[(u16, u8)]>,
    /// How many pieces there are.
    length: u32,
}

/// Document frequencies of a catalogue.
#[derive(Clone, Debug)]
pub struct TextStatistics {
    profiles: u32,
    terms: TermMap<u32>,
    name_terms: TermMap<u32>,
    pieces: Box<[u32]>,
    length: u64,
}

/// The words of an intent, weighted by a catalogue's statistics.
#[derive(Clone, Debug)]
pub struct TextQuery {
    /// Term and idf, sorted by term.
    terms: Vec<(u32, f32)>,
    total: f32,
    pieces: Pieces,
    mean_length: f32,
}

/// The three-letter pieces of an intent: small enough to stay in the nearest cache while candidates are compared with it.
#[derive(Clone, Debug)]
struct Pieces {
    /// [BUCKETS], a bit each: whether the intent has it.
    has: Box<[u64]>,
    /// Bucket and idf of those that it has, by bucket.
    weights: Vec<(u16, f32)>,
    /// Sum of the idf.
    total: f32,
}

impl Pieces {
    fn new(text: &str, idf: impl Fn(u16) -> f32) -> Self {
        let mut found = Self { has: vec![0; BUCKETS / 64].into(), weights: Vec::new(), total: 0.0 };
        pieces(text, |bucket| {
            let (word, bit) = place(bucket);
            if found.has[word] & bit == 0 {
                found.has[word] |= bit;
                let idf = idf(bucket);
                found.total += idf;
                found.weights.push((bucket, idf));
            }
        });
        found.weights.sort_unstable_by_key(|(bucket, _)| *bucket);
        found
    }

    fn idf(&self, bucket: u16) -> Option<f32> {
        let (word, bit) = place(bucket);
        if self.has[word] & bit == 0 {
            return None;
        }
        let at = self.weights.binary_search_by_key(&bucket, |(other, _)| *other).ok()?;
        Some(self.weights[at].1)
    }
}

/// Word and bit of a bucket.
fn place(bucket: u16) -> (usize, u64) {
    (usize::from(bucket) / 64, 1 << (bucket % 64))
}

/// Hashes of stems, in their order.
pub fn term_ids(stems: &[String]) -> Vec<u32> {
    stems.iter().map(|stem| hash(stem.as_bytes())).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of a good hash is a good hash")]
fn hash(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}

/// Buckets of the three-letter pieces of a text's words, each word between marks; upper case inside a word begins a new one.
fn pieces(text: &str, mut each: impl FnMut(u16)) {
    let mut word: Vec<char> = vec!['^'];
    let mut finish = |word: &mut Vec<char>| {
        if word.len() > 1 {
            word.push('$');
            for piece in word.windows(3) {
                let mut bytes = [0; 12];
                let mut length = 0;
                for c in piece {
                    length += c.encode_utf8(&mut bytes[length..]).len();
                }
                #[expect(clippy::cast_possible_truncation, reason = "cut to the number of buckets on purpose")]
                each((hash(&bytes[..length]) as usize % BUCKETS) as u16);
            }
        }
        word.clear();
        word.push('^');
    };
    let mut lower_before = false;
    for c in text.chars() {
        if !c.is_alphanumeric() || (lower_before && c.is_uppercase()) {
            finish(&mut word);
        }
        lower_before = c.is_lowercase();
        if c.is_alphanumeric() && word.len() <= 64 {
            word.extend(c.to_lowercase());
        }
    }
    finish(&mut word);
}

fn sorted(mut terms: Vec<u32>) -> Box<[u32]> {
    terms.sort_unstable();
    terms.dedup();
    terms.truncate(MOST);
    terms.into()
}

impl TextProfile {
    /// terms, title, aliases: hashed stems of everything, of the title and of each alias. text: what three-letter pieces are
    /// taken from.
    pub fn new(terms: Vec<u32>, title: Vec<u32>, aliases: Vec<Vec<u32>>, text: &str) -> Self {
        let mut counts: HashMap<u16, u8> = HashMap::new();
        let mut length = 0;
        pieces(text, |bucket| {
            length += 1;
            if counts.len() < MOST || counts.contains_key(&bucket) {
                let count = counts.entry(bucket).or_default();
                *count = count.saturating_add(1);
            }
        });
        let mut pieces: Vec<(u16, u8)> = counts.into_iter().collect();
        pieces.sort_unstable();
        let aliases = aliases.into_iter().take(MOST_ALIASES).map(sorted).collect();
        Self { terms: sorted(terms), title: sorted(title), aliases, pieces: pieces.into(), length }
    }

    /// As bytes, to be stored beside a record.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 4 * (self.terms.len() + self.title.len()) + 3 * self.pieces.len());
        #[expect(clippy::cast_possible_truncation, reason = "at most MOST")]
        let counts = [self.terms.len() as u32, self.title.len() as u32, self.pieces.len() as u32, self.length];
        for number in counts.iter().chain(self.terms.iter()).chain(self.title.iter()) {
            bytes.extend(number.to_le_bytes());
        }
        for (bucket, count) in &self.pieces {
            bytes.extend(bucket.to_le_bytes());
            bytes.push(*count);
        }
        for alias in &self.aliases {
            bytes.extend(u16::try_from(alias.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(alias.iter().flat_map(|term| term.to_le_bytes()));
        }
        bytes
    }

    /// What [`TextProfile::to_bytes`] wrote, or `None` for anything else.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let [terms, title, pieces, length] = [(); 4].map(|()| number(&mut bytes));
        let [terms, title, pieces] = [terms? as usize, title? as usize, pieces? as usize];
        if terms.max(title).max(pieces) > MOST {
            return None;
        }
        let terms = numbers(&mut bytes, terms)?;
        let title = numbers(&mut bytes, title)?;
        let (triples, _) = bytes.split_off(..3 * pieces)?.as_chunks::<3>();
        let pieces: Box<[(u16, u8)]> =
            triples.iter().map(|&[low, high, count]| (u16::from_le_bytes([low, high]), count)).collect();
        if pieces.iter().any(|(bucket, _)| usize::from(*bucket) >= BUCKETS) {
            return None;
        }
        // A build without aliases wrote none.
        let mut aliases = Vec::new();
        while let Some(count) = bytes.split_off(..2) {
            let count = usize::from(u16::from_le_bytes([count[0], count[1]]));
            if count > MOST || aliases.len() == MOST_ALIASES {
                return None;
            }
            aliases.push(numbers(&mut bytes, count)?);
        }
        bytes.is_empty().then_some(Self { terms, title, aliases, pieces, length: length? })
    }

    /// Its title and its aliases.
    fn names(&self) -> impl Iterator<Item = &[u32]> {
        std::iter::once(&self.title).chain(&self.aliases).map(|name| &name[..])
    }

    /// The terms of all of its names, each once.
    fn name_terms(&self) -> BTreeSet<u32> {
        self.names().flatten().copied().collect()
    }
}

/// Takes a number from the front.
fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

/// Takes so many numbers from the front.
fn numbers(bytes: &mut &[u8], count: usize) -> Option<Box<[u32]>> {
    (0..count).map(|_| number(bytes)).collect()
}

impl Default for TextStatistics {
    fn default() -> Self {
        Self {
            profiles: 0,
            terms: TermMap::default(),
            name_terms: TermMap::default(),
            pieces: vec![0; BUCKETS].into(),
            length: 0,
        }
    }
}

impl TextStatistics {
    /// Counts a component in.
    pub fn insert(&mut self, profile: &TextProfile) {
        self.profiles += 1;
        self.length += u64::from(profile.length);
        profile.terms.iter().for_each(|&term| *self.terms.entry(term).or_default() += 1);
        profile.name_terms().into_iter().for_each(|term| *self.name_terms.entry(term).or_default() += 1);
        profile.pieces.iter().for_each(|&(bucket, _)| self.pieces[usize::from(bucket)] += 1);
    }

    /// Counts a component out that was counted in.
    pub fn remove(&mut self, profile: &TextProfile) {
        fn less(counts: &mut TermMap<u32>, term: u32) {
            if let Some(count) = counts.get_mut(&term) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&term);
                }
            }
        }
        self.profiles = self.profiles.saturating_sub(1);
        self.length = self.length.saturating_sub(u64::from(profile.length));
        profile.terms.iter().for_each(|&term| less(&mut self.terms, term));
        profile.name_terms().into_iter().for_each(|term| less(&mut self.name_terms, term));
        for &(bucket, _) in &profile.pieces {
            let count = &mut self.pieces[usize::from(bucket)];
            *count = count.saturating_sub(1);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of components")]
    fn idf(&self, frequency: u32) -> f32 {
        let (n, df) = (self.profiles as f32, frequency.min(self.profiles) as f32);
        (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
    }

    /// An intent against this catalogue. terms: its hashed stems. text: as it was asked.
    #[expect(clippy::cast_precision_loss, reason = "counts of pieces")]
    pub fn query(&self, terms: &[u32], text: &str) -> TextQuery {
        let idf = |term: u32| (term, self.idf(self.terms.get(&term).copied().unwrap_or(0)));
        let terms: Vec<(u32, f32)> = sorted(terms.to_vec()).iter().copied().map(idf).collect();
        TextQuery {
            total: terms.iter().map(|(_, idf)| idf).sum(),
            terms,
            pieces: Pieces::new(text, |bucket| self.idf(self.pieces[usize::from(bucket)])),
            mean_length: (self.length as f32 / self.profiles.max(1) as f32).max(1.0),
        }
    }

    /// Share of the words of a component's title or of one of its aliases that an intent has, by idf among names, 0..=1; of
    /// several names the greatest.
    pub fn name(&self, profile: &TextProfile, query: &TextQuery) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "counts of components")]
        let weight = |term: &u32| {
            let df = self.name_terms.get(term).copied().unwrap_or(1).max(1);
            (1.0 + self.profiles as f32 / df as f32).ln()
        };
        let share = |name: &[u32]| {
            let (mut total, mut hit) = (0f32, 0f32);
            for term in name {
                let weight = weight(term);
                total += weight;
                if query.has(*term) {
                    hit += weight;
                }
            }
            if total > 0.0 { hit / total } else { 0.0 }
        };
        profile.names().map(share).fold(0.0, f32::max)
    }
}

impl TextQuery {
    fn has(&self, term: u32) -> bool {
        self.terms.binary_search_by_key(&term, |(other, _)| *other).is_ok()
    }

    /// Share of the intent's words that a component has, by idf, 0..=1.
    pub fn coverage(&self, profile: &TextProfile) -> f32 {
        self.coverage_together(&[profile])
    }

    /// Share of the intent's words that some of several components have, by idf, 0..=1.
    pub fn coverage_together(&self, profiles: &[&TextProfile]) -> f32 {
        let has = |term: &u32| profiles.iter().any(|profile| profile.terms.binary_search(term).is_ok());
        let hit: f32 = self.terms.iter().filter(|(term, _)| has(term)).map(|(_, idf)| idf).sum();
        if self.total > 0.0 { hit / self.total } else { 0.0 }
    }

    /// BM25 `b` over three-letter pieces against the sum `r` of their idf, as `b / (b + r)`, 0..1.
    #[expect(clippy::cast_precision_loss, reason = "counts of pieces")]
    pub fn trigrams(&self, profile: &TextProfile) -> f32 {
        if self.pieces.total <= 0.0 {
            return 0.0;
        }
        let norm = K1 * (1.0 - B + B * profile.length as f32 / self.mean_length);
        let mut sum = 0.0;
        for &(bucket, count) in &profile.pieces {
            if let Some(idf) = self.pieces.idf(bucket) {
                let count = f32::from(count);
                sum += idf * count * (K1 + 1.0) / (count + norm);
            }
        }
        sum / (sum + self.pieces.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> TextProfile {
        let terms: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        TextProfile::new(term_ids(&terms), term_ids(&terms[..1]), Vec::new(), text)
    }

    #[test]
    fn bytes_round_trip_and_rubbish_is_refused() {
        let known = profile("barChart draws bars of revenue");
        let bytes = known.to_bytes();
        assert_eq!(TextProfile::from_bytes(&bytes), Some(known));
        for cut in 0..bytes.len() {
            assert_eq!(TextProfile::from_bytes(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn an_alias_names_a_component_as_its_title_does() {
        let ids = |text: &str| term_ids(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let (title, aliases) = (ids("one-time code generator"), vec![ids("totp"), ids("authenticator app code")]);
        let text = "one-time code generator totp";
        let generator = TextProfile::new(ids(text), title, aliases, text);
        let other = profile("code review");
        let mut statistics = TextStatistics::default();
        statistics.insert(&generator);
        statistics.insert(&other);
        let name = |intent: &str, of: &TextProfile| statistics.name(of, &statistics.query(&ids(intent), intent));
        assert!((name("add totp", &generator) - 1.0).abs() < 1e-6);
        assert!((name("one-time code generator", &generator) - 1.0).abs() < 1e-6);
        assert!(name("authenticator code", &generator) < 1.0, "not all of the alias");
        assert!(name("add totp", &other).abs() < 1e-6);
        let bytes = generator.to_bytes();
        assert_eq!(TextProfile::from_bytes(&bytes).as_ref(), Some(&generator));
        // Cut between two aliases it is one with fewer of them.
        let whole = [bytes.len() - 2 - 3 * 4, bytes.len() - 2 - 3 * 4 - 2 - 4];
        for cut in (0..bytes.len()).filter(|cut| !whole.contains(cut)) {
            assert_eq!(TextProfile::from_bytes(&bytes[..cut]), None, "{cut}");
        }
        statistics.remove(&generator);
        assert_eq!(statistics.name_terms.len(), 1, "what is left are the other's");
    }

    /// Reckoned the long way: a table of every bucket, a set of every word.
    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn scores_are_those_of_the_plain_sums() {
        use std::collections::BTreeSet;

        let texts = [
            "barChart draws bars of revenue per region",
            "payment card checkout form",
            "form of a bar",
            "kiosk",
            "revenue revenue revenue report of regions in charts",
        ];
        let profiles: Vec<TextProfile> = texts.iter().map(|text| profile(text)).collect();
        let mut statistics = TextStatistics::default();
        for profile in &profiles {
            statistics.insert(profile);
        }
        for intent in ["bars of revenue", "revenue chart chart for regions", "unheard of", "", "kiosk"] {
            let words: Vec<String> = intent.split_whitespace().map(str::to_owned).collect();
            let asked: BTreeSet<u32> = term_ids(&words).into_iter().collect();
            let query = statistics.query(&term_ids(&words), intent);
            let mut table = vec![0f32; BUCKETS];
            let mut reference = 0f32;
            pieces(intent, |bucket| {
                if table[usize::from(bucket)] == 0.0 {
                    table[usize::from(bucket)] = statistics.idf(statistics.pieces[usize::from(bucket)]);
                    reference += table[usize::from(bucket)];
                }
            });
            let idf = |term: &u32| statistics.idf(statistics.terms.get(term).copied().unwrap_or(0));
            let share = |hit: f32, total: f32| if total > 0.0 { hit / total } else { 0.0 };
            for profile in &profiles {
                let norm = K1 * (1.0 - B + B * profile.length as f32 / query.mean_length);
                let sum: f32 = profile
                    .pieces
                    .iter()
                    .map(|&(bucket, count)| (table[usize::from(bucket)], f32::from(count)))
                    .map(|(idf, count)| idf * count * (K1 + 1.0) / (count + norm))
                    .sum();
                let close =
                    |found: f32, expect: f32| assert!((found - expect).abs() < 1e-6, "{intent}: {found}, {expect}");
                close(query.trigrams(profile), share(sum, sum + reference));
                let own: BTreeSet<u32> = profile.terms.iter().copied().collect();
                close(
                    query.coverage(profile),
                    share(asked.intersection(&own).map(idf).sum(), asked.iter().map(idf).sum()),
                );
                let weight = |term: &u32| (1.0 + statistics.profiles as f32 / statistics.name_terms[term] as f32).ln();
                let title = &profile.title;
                let hit = title.iter().filter(|term| asked.contains(term)).map(weight).sum();
                close(statistics.name(profile, &query), share(hit, title.iter().map(weight).sum()));
            }
        }
    }

    #[test]
    fn more_in_common_scores_higher_and_removal_undoes_insertion() {
        let [near, far] = [profile("bar chart of revenue"), profile("payment card checkout")];
        let mut statistics = TextStatistics::default();
        statistics.insert(&near);
        statistics.insert(&far);
        let asked = term_ids(&["bar".to_owned(), "charts".to_owned()]);
        let query = statistics.query(&asked, "bar charts");
        assert!(query.trigrams(&near) > query.trigrams(&far));
        assert!((query.coverage(&far)).abs() < f32::EPSILON && query.coverage(&near) > 0.25);
        assert!((statistics.name(&near, &query) - 1.0).abs() < 1e-6);
        statistics.remove(&far);
        statistics.remove(&near);
        assert!(statistics.terms.is_empty() && statistics.pieces.iter().all(|&count| count == 0));
    }
}
