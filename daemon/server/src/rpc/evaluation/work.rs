//! The three jobs: fit, calibrate, evaluate, each on the catalogue that is served.

use fitment_catalog::{Dataset, File};
use fitment_engine::evaluate::{self, CalibrationBasis, SYNTHETIC};
use fitment_engine::{
    Author, Calibration, Engine, EngineError, Evidence, ExportCursor, Fingerprints, FitOptions, KeptRanker, Method,
    OnProgress, Ranker, Stop, fit_ranker,
};
use fitment_evaluation::{InSample, Report, Run};
use fitment_proto::v1;

use crate::rpc::convert;
use crate::rpc::job::{Place, Tell};

/// Largest CSV file.
pub(crate) const MAX_CSV_BYTES: usize = 4 * 1024 * 1024;
/// Labelled intents of one job.
const MAX_INTENTS: usize = 20_000;
/// Bytes of a name.
const MAX_NAME_BYTES: usize = 200;
/// What approved labelled intents are called, and their split where it is all of them.
const FEEDBACK: &str = "feedback";
/// The split that is taken of a CSV file that says no other.
const FIT_SPLIT: &str = "dev";

/// Labelled intents and what they are called.
#[derive(Debug)]
pub(in crate::rpc) struct Labelled {
    dataset: Dataset,
    name: String,
    split: String,
}

impl Labelled {
    /// The data set, its name and its split.
    pub(in crate::rpc) fn into_parts(self) -> (Dataset, String, String) {
        (self.dataset, self.name, self.split)
    }
}

/// Reads the labelled intents of a request.
///
/// Errors: no source; a file that is too large or malformed, with its line; too many intents.
pub(in crate::rpc) async fn labelled(
    engine: &Engine,
    intents: Option<v1::LabelledIntents>,
) -> Result<Labelled, EngineError> {
    use v1::labelled_intents::Source;
    let v1::LabelledIntents { source, name, split } = intents.unwrap_or_default();
    let Some(source) = source else {
        return Err(EngineError::field("intents.source", "is missing; send a CSV file or ask for feedback"));
    };
    convert::short("intents.name", &name, MAX_NAME_BYTES)?;
    convert::short("intents.split", &split, MAX_NAME_BYTES)?;
    let or = |text: String, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text };
    let labelled = match source {
        Source::Csv(bytes) => {
            if bytes.len() > MAX_CSV_BYTES {
                let fault = format!("is {} bytes long, at most {MAX_CSV_BYTES} are taken", bytes.len());
                return Err(EngineError::field("intents.csv", fault));
            }
            let name = or(name, "labels");
            let dataset = of_blocking({
                let name = name.clone();
                move || Ok(Dataset::from_csv(File { name: &name, bytes: &bytes })?)
            });
            Labelled { dataset: dataset.await?, name, split: or(split, FIT_SPLIT) }
        }
        Source::Feedback(()) => {
            let split = or(split, FEEDBACK);
            let (engine, all) = (engine.clone(), split == FEEDBACK);
            let dataset = of_blocking(move || if all { engine.labelled_intents() } else { dealt_out(&engine) }).await?;
            if dataset.intents.is_empty() {
                let fault = "no labelled intent is approved yet; `fitment feedback list` shows those that wait";
                return Err(EngineError::Learning(fault.to_owned()));
            }
            Labelled { dataset, name: or(name, FEEDBACK), split }
        }
    };
    let count = labelled.dataset.split(&labelled.split).count();
    if count > MAX_INTENTS {
        let fault = format!("holds {count} intents in `{}`, at most {MAX_INTENTS} are taken", labelled.split);
        return Err(EngineError::field("intents", fault));
    }
    Ok(labelled)
}

/// Approved labelled intents in the splits that they are exported in. Blocks.
fn dealt_out(engine: &Engine) -> Result<Dataset, EngineError> {
    let mut dataset = Dataset { components: Vec::new(), ids: std::collections::BTreeMap::new(), intents: Vec::new() };
    let mut cursor = ExportCursor::default();
    while let Some(mut intents) = engine.export_labels(&mut cursor)? {
        dataset.intents.append(&mut intents);
    }
    Ok(dataset)
}

/// Runs blocking work off the asynchronous threads.
pub(super) async fn of_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| EngineError::Internal(format!("a computation was lost: {error}")))?
}

/// What to learn.
pub(super) struct Fit {
    pub(super) weights_only: bool,
    pub(super) seed: u64,
    pub(super) dry_run: bool,
}

/// Learns a ranker and puts it into force. place: held until the last of its threads has ended.
pub(super) async fn fit(
    engine: Engine,
    labelled: Labelled,
    fit: Fit,
    place: Place,
    stop: Stop,
    tell: Tell,
) -> Result<KeptRanker, EngineError> {
    let Labelled { dataset, name, split } = labelled;
    evaluate::check_known(&engine, &dataset, &split)?;
    evaluate::check_learnable([(&dataset, split.as_str())])?;
    let set = engine.training_set(&name, &dataset, &split, &*tell).await?;
    let Fit { weights_only, seed, dry_run } = fit;
    let options = FitOptions { target: (!weights_only).then_some(0), seed: seed.max(1), stop };
    let model_digest = engine.model().digest.to_string();
    let learn = move || {
        let _place = place;
        // One thread of its own: intents that are asked meanwhile keep the other cores.
        let alone = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(|_| "learn".to_owned())
            .start_handler(|_| fitment_engine::step_back())
            .build()
            .map_err(|error| EngineError::Internal(format!("no thread to learn on: {error}")))?;
        alone.install(|| fit_ranker(vec![set], &model_digest, Some(Ranker::shipped()), &options, &*tell))
    };
    let ranker = of_blocking(learn).await?;
    if dry_run {
        return Ok(KeptRanker::describe(&ranker, false));
    }
    of_blocking(move || {
        engine.put_ranker(&ranker)?;
        let kept = engine.kept_rankers()?.into_iter().find(|kept| kept.id == ranker.id);
        Ok(kept.unwrap_or_else(|| KeptRanker::describe(&ranker, true)))
    })
    .await
}

/// What to promise, on what grounds; no labelled intents: synthetic.
pub(super) struct Calibrate {
    pub(super) labelled: Option<Labelled>,
    pub(super) max_error: f64,
    pub(super) confidence: f64,
    pub(super) dry_run: bool,
}

/// Fits the thresholds behind a promise and puts them into force. Returns them with warnings.
pub(super) async fn calibrate(
    engine: Engine,
    calibrate: Calibrate,
    place: Place,
    stop: Stop,
    tell: Tell,
) -> Result<(Calibration, Vec<String>), EngineError> {
    let Calibrate { labelled, max_error, confidence, dry_run } = calibrate;
    let ranker = engine.ranker();
    let (name, dataset_digest, seen, evidence, reference, intents) = match labelled {
        None => {
            let of = engine.clone();
            let seen = of_blocking(move || {
                let _place = place;
                evaluate::synthetic(&of, &stop, &*tell)
            });
            (SYNTHETIC.to_owned(), String::new(), seen.await?, Evidence::Synthetic, None, Fingerprints::default())
        }
        Some(Labelled { dataset, name, split }) => {
            refuse_changed(&ranker, &dataset, &name, &split)?;
            evaluate::check_known(&engine, &dataset, &split)?;
            evaluate::check_promisable(&dataset, &split, max_error, confidence)?;
            let measured = evaluate::measure(&engine, &dataset, &split, Method::Fused, &*tell).await?;
            let (seen, evidence) = evaluate::observations(&engine, &dataset, &split, &measured);
            let reference = evaluate::reference(&measured);
            drop(place);
            let intents = evaluate::fingerprints(&dataset, &split);
            (format!("{name} {split}"), dataset.split_digest(&split).to_string(), seen, evidence, reference, intents)
        }
    };
    of_blocking(move || {
        let basis = CalibrationBasis { name: &name, dataset_digest, evidence, seen: &seen, reference, intents };
        let (calibration, warnings) = evaluate::calibrate(&engine, basis, max_error, confidence)?;
        if calibration.ranker_id != ranker.id {
            return Err(EngineError::Calibration(format!(
                "ranker {} came into force while ranker {} was being measured; calibrate again",
                calibration.ranker_id, ranker.id
            )));
        }
        if !dry_run {
            engine.put_calibration(calibration.clone(), &Author::default())?;
        }
        Ok((calibration, warnings))
    })
    .await
}

/// A promise must not rest on intents that the ranker knows by heart: those of its own fit are judged by parts of the fit, and
/// once they have changed it can no longer be told which ones these are.
fn refuse_changed(ranker: &Ranker, dataset: &Dataset, name: &str, split: &str) -> Result<(), EngineError> {
    let of_same_name = ranker.fitted_on.iter().any(|fitted| *fitted == format!("{name} {split}"));
    if of_same_name && !evaluate::learnt_from(ranker, dataset, split) {
        return Err(EngineError::Calibration(format!(
            "`{name} {split}` has changed since ranker {} learnt from it, so nothing can be promised on it; fit again, then \
             calibrate",
            ranker.id
        )));
    }
    Ok(())
}

/// Measures the matcher as it is served. Returns the answers, the figures and warnings.
pub(super) async fn measure(
    engine: Engine,
    labelled: Labelled,
    on_progress: OnProgress<'_>,
) -> Result<(Run, Report, Vec<String>), EngineError> {
    let Labelled { dataset, name, split } = labelled;
    let ranker = engine.ranker();
    let measured = evaluate::measure(&engine, &dataset, &split, Method::Fused, on_progress).await?;
    let run = evaluate::run(&engine, &name, &dataset, &split, "fused", &measured);
    let mut warnings = Vec::new();
    let InSample { ranking, promise } = run.in_sample;
    let of = |seen: u64| format!("{seen} of the {} intents of `{name} {split}`", run.answers.len());
    if ranking > 0 {
        warnings.push(format!("ranker {} learnt from {}: the figures flatter it", ranker.id, of(ranking)));
    }
    if promise > 0 {
        warnings.push(format!("the promise was fitted on {}: that it is kept there says nothing new", of(promise)));
    }
    of_blocking(move || {
        let report = fitment_evaluation::evaluate(&run).map_err(|error| EngineError::Internal(error.to_string()))?;
        Ok((run, report, warnings))
    })
    .await
}
