//! Reference vectors, read from beside the labelled intents, and what an embedder must agree on with them.

use std::path::{Path, PathBuf};

use fitment_models::{Embedder, TextRole, UnitVector};
use serde::Deserialize;

/// Cosine that counts as equal in f32.
const EQUAL: f64 = 0.99999;

/// One line: a text and what the original model makes of it.
#[derive(Deserialize)]
pub(crate) struct Reference {
    text: String,
    n_tokens: usize,
    input_ids: Option<Vec<u32>>,
    vector: Vec<f32>,
}

/// The folder `reference` beside `FITMENT_INTENTS_DIR`, which defaults to `../shared/intents` from the workspace.
fn folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let intents = std::env::var_os("FITMENT_INTENTS_DIR")
        .map_or_else(|| workspace.join("../shared/intents"), |intents| workspace.join(intents));
    intents.join("../reference")
}

/// All lines of a reference file.
pub(crate) fn read(file: &str) -> Vec<Reference> {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "no reference vectors in {} ({error}); set FITMENT_INTENTS_DIR to the labelled intents beside them",
            path.display()
        )
    });
    let lines: Vec<Reference> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 40, "{} holds {} texts only", path.display(), lines.len());
    lines
}

fn texts(lines: &[Reference]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

fn check_close(actual: &UnitVector, line: &Reference) {
    let expected = UnitVector::new(line.vector.clone()).unwrap();
    let cosine = actual.cosine(&expected);
    assert!(cosine >= EQUAL, "cosine {cosine} for {:?}", line.text.chars().take(40).collect::<String>());
}

/// Token counts, ids and vectors, one text at a time.
pub(crate) fn check_singles(model: &dyn Embedder, lines: &[Reference]) {
    for line in lines {
        assert_eq!(model.count_tokens(&line.text).unwrap(), line.n_tokens, "{:?}", line.text);
        if let Some(ids) = &line.input_ids {
            assert_eq!(&model.tokenize(&line.text).unwrap(), ids, "{:?}", line.text);
        }
        let vectors = model.embed(&[&line.text], TextRole::Query).unwrap();
        check_close(&vectors[0], line);
    }
}

/// All at once, against the reference.
pub(crate) fn check_batch(model: &dyn Embedder, lines: &[Reference]) {
    let vectors = model.embed(&texts(lines), TextRole::Document).unwrap();
    assert_eq!(vectors.len(), lines.len());
    for (vector, line) in vectors.iter().zip(lines) {
        check_close(vector, line);
    }
}

/// Backwards, and each text beside ones of nearly its length so that it is padded.
pub(crate) fn check_orders(model: &dyn Embedder, lines: &[Reference]) {
    let mut backwards = texts(lines);
    backwards.reverse();
    let vectors = model.embed(&backwards, TextRole::Query).unwrap();
    for (vector, line) in vectors.iter().rev().zip(lines) {
        check_close(vector, line);
    }
    for line in lines.iter().filter(|line| line.n_tokens < 200) {
        let longer = format!("{} more", line.text);
        let longest = format!("{} more words", line.text);
        let vectors = model.embed(&[&longest, &line.text, &longer, &line.text], TextRole::Query).unwrap();
        check_close(&vectors[1], line);
        check_close(&vectors[3], line);
    }
}
