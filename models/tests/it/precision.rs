//! What a precision costs in accuracy: the four labelled sets by vectors alone, in f32 and in what this processor has besides.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use fitment_models::{
    DEFAULT_MODEL, Embedder, EncoderChoice, Kernel, LoadOptions, ModelCache, Precision, TerminalBar, TextRole,
    UnitVector, load,
};
use serde_json::Value;

use crate::support::reference::intents_folder;

/// Largest loss of hit@1 and of nDCG@10 against f32.
fn bounds(precision: Precision) -> (f64, f64) {
    match precision {
        Precision::F32 => (0.0, 1e-9),
        Precision::Bf16 | Precision::F16 => (0.002, 0.002),
        Precision::Int8 => (0.005, 0.005),
    }
}

/// The development split of one set.
struct Set {
    documents: Vec<String>,
    intents: Vec<Intent>,
}

struct Intent {
    text: String,
    relevant: Vec<usize>,
    /// The only documents to choose from, where the intent has its own.
    candidates: Option<Vec<usize>>,
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
        panic!("cannot read {}: {error}; set FITMENT_INTENTS_DIR to the labelled intents", path.display())
    });
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Set {
    fn read(name: &str) -> Self {
        let folder = intents_folder().join(name);
        let mut places = HashMap::new();
        let mut documents = Vec::new();
        for line in lines(&folder.join("corpus.jsonl")) {
            places.insert(string(&line["_id"]), documents.len());
            documents.push(format!("{}: {}", string(&line["title"]), string(&line["text"])));
        }
        let mut judged: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for line in std::fs::read_to_string(folder.join("qrels/dev.tsv")).unwrap().lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            if fields[2] != "0" {
                judged.entry(fields[0].to_owned()).or_default().push(places[fields[1]]);
            }
        }
        let intents = lines(&folder.join("queries.jsonl"))
            .iter()
            .filter_map(|line| {
                let relevant = judged.remove(&string(&line["_id"]))?;
                let own = line["metadata"]["candidates"].as_array();
                let candidates = own.map(|ids| ids.iter().map(|id| places[&string(id)]).collect());
                Some(Intent { text: string(&line["text"]), relevant, candidates })
            })
            .collect();
        Self { documents, intents }
    }

    /// hit@1 and nDCG@10 (linear gain), means over the intents.
    fn measure(&self, model: &dyn Embedder) -> (f64, f64) {
        let documents = embed(model, self.documents.iter().map(String::as_str), TextRole::Document);
        let intents = embed(model, self.intents.iter().map(|intent| intent.text.as_str()), TextRole::Query);
        let (mut hits, mut gains) = (0.0, 0.0);
        for (intent, vector) in self.intents.iter().zip(&intents) {
            let mut ranked: Vec<usize> = intent.candidates.clone().unwrap_or_else(|| (0..documents.len()).collect());
            ranked.sort_by(|&a, &b| {
                let cosine = |document: usize| vector.cosine(&documents[document]);
                cosine(b).total_cmp(&cosine(a)).then(a.cmp(&b))
            });
            let discount = |rank: u32| 1.0 / f64::from(rank + 2).log2();
            let gain: f64 = (0..)
                .zip(&ranked)
                .take(10)
                .filter(|(_, at)| intent.relevant.contains(at))
                .map(|(rank, _)| discount(rank))
                .sum();
            let ideal: f64 = (0..).zip(&intent.relevant).take(10).map(|(rank, _)| discount(rank)).sum();
            gains += gain / ideal;
            hits += f64::from(u8::from(intent.relevant.contains(&ranked[0])));
        }
        let count = f64::from(u32::try_from(self.intents.len()).unwrap());
        (hits / count, gains / count)
    }
}

fn embed<'a>(model: &dyn Embedder, texts: impl Iterator<Item = &'a str>, role: TextRole) -> Vec<UnitVector> {
    let texts: Vec<&str> = texts.collect();
    texts.chunks(64).flat_map(|chunk| model.embed(chunk, role).unwrap()).collect()
}

#[test]
fn precision_costs_no_accuracy_worth_speaking_of() {
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name)).unwrap());
    let model = cache.pull(DEFAULT_MODEL, &TerminalBar::new()).unwrap();
    // The fastest kernel of each precision that this processor has, f32 first.
    let models: Vec<Box<dyn Embedder>> = Precision::ALL
        .into_iter()
        .filter_map(|precision| Kernel::choose(Some(precision)).ok())
        .map(|kernel| {
            load(&model, &LoadOptions { encoder: EncoderChoice::Kernel(kernel), ..LoadOptions::default() }).unwrap()
        })
        .collect();
    for name in ["nl2bash", "metatool", "clinc150", "bfcl"] {
        let set = Set::read(name);
        assert!(set.intents.len() > 500, "{name} has {} intents", set.intents.len());
        let (reference_hit, reference_gain) = set.measure(&*models[0]);
        assert!(reference_hit > 0.4, "{name}: hit@1 {reference_hit}");
        for model in &models[1..] {
            let (hit, gain) = set.measure(&**model);
            let compute = &model.info().compute;
            let (least_hit, least_gain) = bounds(compute.precision);
            assert!(
                hit >= reference_hit - least_hit && gain >= reference_gain - least_gain,
                "{name} in {}: hit@1 {hit} for {reference_hit}, nDCG@10 {gain} for {reference_gain}",
                compute.kernel
            );
        }
    }
}
