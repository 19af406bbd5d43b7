//! Labelled intents, CSV and BEIR: what is accepted and written as CSV reads back.
#![no_main]

use std::collections::BTreeMap;

use fitment_catalog::{BeirFolder, Dataset, File, manifest_from_record};
use fitment_fuzz::{choice, refused};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    let read = if kind % 2 == 0 {
        Dataset::from_csv(File { name: "i.csv", bytes: rest })
    } else {
        // Three files in one input, apart by a byte that is in no text.
        let mut parts = rest.splitn(3, |byte| *byte == 0xff);
        let mut part = || parts.next().unwrap_or_default();
        let corpus = File { name: "corpus.jsonl", bytes: part() };
        let queries = File { name: "queries.jsonl", bytes: part() };
        let qrels = BTreeMap::from([("dev".to_owned(), File { name: "dev.tsv", bytes: part() })]);
        Dataset::from_beir(&BeirFolder { corpus, queries, qrels })
    };
    match read {
        Err(error) => refused(&error, rest.len()),
        Ok(dataset) => {
            let csv = dataset.to_csv();
            if kind % 2 == 0 {
                let again = Dataset::from_csv(File { name: "w.csv", bytes: &csv }).expect("what it writes");
                assert_eq!(again.to_csv(), csv);
            }
            let _ = (dataset.digest(), dataset.split_digest("dev"));
            if let Ok(text) = std::str::from_utf8(rest)
                && let Some((id, text)) = text.split_once('\n')
            {
                let _ = manifest_from_record(id, text, text, &serde_json::Map::new());
            }
        }
    }
});
