//! Reference vectors, read from beside the labelled intents, and what an embedder must agree on with them.

use std::path::{Path, PathBuf};

use fitment_models::{Architecture, Embedder, ModelInfo, Precision, TextRole, UnitVector};
use serde::Deserialize;

/// How near to the reference a precision has to come.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    /// Least cosine of any text.
    least: f64,
    /// Least mean cosine of all texts.
    mean: f64,
}

impl Bound {
    pub(crate) fn of(model: &ModelInfo) -> Self {
        match (model.compute.precision, model.architecture) {
            (Precision::F32, _) => Self { least: 0.99999, mean: 0.999_995 },
            // Twelve layers of `MPNet` leave endless repetitions of a word at 0.9997.
            (Precision::Bf16, Architecture::Mpnet) => Self { least: 0.9995, mean: 0.9999 },
            (Precision::Bf16 | Precision::F16, _) => Self { least: 0.9999, mean: 0.9999 },
            // What is promised is the mean; the same repetition comes out at 0.9898 in all-mpnet-base-v2.
            (Precision::Int8, _) => Self { least: 0.98, mean: 0.9985 },
        }
    }

    fn check<'a>(self, vectors: impl IntoIterator<Item = &'a UnitVector>, lines: &[Reference]) {
        let cosines: Vec<f64> = vectors
            .into_iter()
            .zip(lines)
            .map(|(vector, line)| vector.cosine(&UnitVector::new(line.vector.clone()).unwrap()))
            .collect();
        assert_eq!(cosines.len(), lines.len());
        for (cosine, line) in cosines.iter().zip(lines) {
            let start: String = line.text.chars().take(40).collect();
            assert!(*cosine >= self.least, "cosine {cosine} for {start:?}");
        }
        let texts = f64::from(u32::try_from(lines.len()).unwrap());
        let mean = cosines.iter().sum::<f64>() / texts;
        assert!(mean >= self.mean, "mean cosine {mean}");
    }

    /// Token counts, ids and vectors, one text at a time.
    pub(crate) fn check_singles(self, model: &dyn Embedder, lines: &[Reference]) {
        let mut vectors = Vec::new();
        for line in lines {
            assert_eq!(model.count_tokens(&line.text).unwrap(), line.n_tokens, "{:?}", line.text);
            if let Some(ids) = &line.input_ids {
                assert_eq!(&model.tokenize(&line.text).unwrap(), ids, "{:?}", line.text);
            }
            vectors.extend(model.embed(&[&line.text], TextRole::Query).unwrap());
        }
        self.check(&vectors, lines);
    }

    /// All at once.
    pub(crate) fn check_batch(self, model: &dyn Embedder, lines: &[Reference]) {
        self.check(&model.embed(&texts(lines), TextRole::Document).unwrap(), lines);
    }

    /// Backwards, and each text beside ones of nearly its length.
    pub(crate) fn check_orders(self, model: &dyn Embedder, lines: &[Reference]) {
        let mut backwards = texts(lines);
        backwards.reverse();
        self.check(model.embed(&backwards, TextRole::Query).unwrap().iter().rev(), lines);
        for line in lines.iter().filter(|line| line.n_tokens < 200) {
            let longer = format!("{} more", line.text);
            let longest = format!("{} more words", line.text);
            let vectors = model.embed(&[&longest, &line.text, &longer, &line.text], TextRole::Query).unwrap();
            self.check([&vectors[1]], std::slice::from_ref(line));
            self.check([&vectors[3]], std::slice::from_ref(line));
        }
    }
}

/// One line: a text and what the original model makes of it.
#[derive(Deserialize)]
pub(crate) struct Reference {
    pub(crate) text: String,
    n_tokens: usize,
    input_ids: Option<Vec<u32>>,
    vector: Vec<f32>,
}

/// The labelled intents: `FITMENT_INTENTS_DIR`, or `../shared/intents` from the workspace.
pub(crate) fn intents_folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    std::env::var_os("FITMENT_INTENTS_DIR")
        .map_or_else(|| workspace.join("../shared/intents"), |intents| workspace.join(intents))
}

/// The folder `reference` beside the labelled intents.
fn folder() -> PathBuf {
    intents_folder().join("../reference")
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
