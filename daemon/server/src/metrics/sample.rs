//! What has a state, read from the engine for each page.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use fitment_engine::{
    CalibrationStanding, EXPIRY_DAYS, EncoderFigures, Engine, EngineFigures, GapFigures, GateFigures, IntentDrift,
};
use fitment_models::ModelInfo;
use metrics::{counter, gauge};
use parking_lot::Mutex;

use super::names;

/// Sets all gauges to how things stand; `None`: the engine is still loading. Blocks.
pub(super) fn sample(engine: Option<&Engine>) {
    gauge!(names::READY).set(f64::from(u8::from(engine.is_some())));
    let Some(engine) = engine else { return };
    first_encoder(engine.model());
    if let Some(second) = engine.second_stage() {
        encoder_info("second", &second.model, 1.0);
    }
    match engine.figures() {
        Ok(figures) => engine_figures(&figures),
        // Old figures are worth more than no page; the log says so.
        Err(error) => tracing::warn!(%error, "the engine's figures cannot be read"),
    }
}

/// The model that serves; one that served before this page's predecessor is taken back.
fn first_encoder(model: ModelInfo) {
    static SHOWN: Mutex<Option<ModelInfo>> = Mutex::new(None);
    let mut shown = SHOWN.lock();
    if let Some(before) = shown.take_if(|before| before.digest != model.digest) {
        encoder_info("first", &before, 0.0);
    }
    encoder_info("first", &model, 1.0);
    *shown = Some(model);
}

fn encoder_info(encoder: &'static str, model: &ModelInfo, value: f64) {
    let ModelInfo { name, digest, compute, .. } = model;
    gauge!(
        names::ENCODER_INFO,
        "encoder" => encoder,
        "model" => name.clone(),
        "digest" => digest.to_string(),
        "kernel" => compute.kernel.clone(),
        "precision" => compute.precision.to_string(),
        "device" => compute.device.clone(),
        "threads" => compute.threads.to_string()
    )
    .set(value);
}

fn engine_figures(figures: &EngineFigures) {
    let EngineFigures {
        revision,
        components,
        versions,
        matchable,
        expiring,
        dense,
        recall,
        encoders,
        gates,
        calibration,
        promise,
        drift,
        decisions,
        decisions_lost,
        gaps,
    } = figures;
    for (name, value) in [
        (names::REVISION, *revision),
        (names::COMPONENTS, *components as u64),
        (names::VERSIONS, *versions as u64),
        (names::MATCHABLE, *matchable as u64),
        (names::FACETS, dense.live_rows as u64),
        (names::SEGMENTS, dense.segments as u64),
        (names::SEGMENT_ROWS, dense.segment_rows as u64),
        (names::HEAD_ROWS, dense.head_rows as u64),
        (names::TOMBSTONE_ROWS, dense.dead_rows as u64),
        (names::DECISIONS, *decisions),
    ] {
        gauge!(name).set(value as f64);
    }
    for (days, versions) in EXPIRY_DAYS.into_iter().zip(expiring) {
        gauge!(names::EXPIRING, "within_days" => days.to_string()).set(*versions as f64);
    }
    gauge!(names::RECALL).set(recall.probed.unwrap_or(f64::NAN));
    gauge!(names::SELF_RECALL).set(recall.built.unwrap_or(f64::NAN));
    counter!(names::DECISIONS_LOST).absolute(*decisions_lost);
    encoders.iter().for_each(encoder_figures);
    gates.iter().for_each(gate_figures);
    for (state, is) in [
        ("in_force", CalibrationStanding::InForce),
        ("stale", CalibrationStanding::Stale),
        ("none", CalibrationStanding::Absent),
    ] {
        gauge!(names::CALIBRATION, "state" => state).set(f64::from(u8::from(*calibration == is)));
    }
    let record = promise.as_ref().map(|promise| &promise.record);
    for (name, value) in [
        (names::PROMISED_ERROR, promise.as_ref().map_or(f64::NAN, |promise| promise.max_error)),
        (names::PROMISE_VERDICTS, record.map_or(0.0, |record| record.verdicts as f64)),
        (names::PROMISE_WRONG, record.map_or(0.0, |record| record.errors as f64)),
        (names::PROMISE_LOWER_BOUND, record.and_then(|record| record.lower_bound).unwrap_or(f64::NAN)),
        (names::PROMISE_BROKEN, f64::from(u8::from(record.is_some_and(|record| record.broken.is_some())))),
    ] {
        gauge!(name).set(value);
    }
    intent_drift(drift);
    unmet(gaps);
}

fn unmet(figures: &GapFigures) {
    let &GapFigures { gaps, linked, intents, asked, lost, answers } = figures;
    for (name, value) in [
        (names::GAPS, gaps as u64),
        (names::GAPS_LINKED, linked as u64),
        (names::GAP_INTENTS, intents as u64),
        (names::GAP_ASKED, asked),
    ] {
        gauge!(name).set(value as f64);
    }
    counter!(names::GAP_INTENTS_LOST).absolute(lost);
    let outcomes = ["zero_generation", "minimal_generation", "raw_generation", "candidates"];
    for (outcome, count) in outcomes.into_iter().zip(answers) {
        gauge!(names::GAP_ANSWERS, "outcome" => outcome).set(count as f64);
    }
    // 0 / 0 is NaN.
    gauge!(names::ZERO_SHARE).set(answers[0] as f64 / answers.iter().sum::<u64>() as f64);
}

fn encoder_figures(figures: &EncoderFigures) {
    let &EncoderFigures {
        name: encoder,
        interactive_waiting,
        tokens_waiting,
        bulk_waiting,
        queue_capacity,
        queue_tokens,
        estimated_wait,
        tokens_per_second,
        cache,
    } = figures;
    for (work, waiting) in [("interactive", interactive_waiting), ("bulk", bulk_waiting)] {
        gauge!(names::QUEUE_JOBS, "encoder" => encoder, "work" => work).set(waiting as f64);
    }
    for (name, value) in [
        (names::QUEUE_CAPACITY, queue_capacity as f64),
        (names::QUEUE_TOKENS, tokens_waiting as f64),
        (names::QUEUE_TOKENS_CAPACITY, queue_tokens as f64),
        (names::QUEUE_WAIT, estimated_wait.as_secs_f64()),
        (names::ENCODER_RATE, tokens_per_second),
    ] {
        gauge!(name, "encoder" => encoder).set(value);
    }
    counter!(names::CACHE_HITS, "encoder" => encoder).absolute(cache.hits);
    counter!(names::CACHE_MISSES, "encoder" => encoder).absolute(cache.misses);
    for (name, value) in [
        (names::CACHE_ENTRIES, cache.entries),
        (names::CACHE_BYTES, cache.bytes),
        (names::CACHE_CAPACITY, cache.capacity),
    ] {
        gauge!(name, "encoder" => encoder).set(value as f64);
    }
}

fn gate_figures(figures: &GateFigures) {
    let &GateFigures { name, waiting, capacity, estimated_wait } = figures;
    gauge!(names::GATE_WAITING, "queue" => name).set(waiting as f64);
    gauge!(names::GATE_CAPACITY, "queue" => name).set(capacity as f64);
    gauge!(names::GATE_WAIT, "queue" => name).set(estimated_wait.as_secs_f64());
}

fn intent_drift(drift: &IntentDrift) {
    let IntentDrift { measured, reference_size: _, window_size, from_calibration: _ } = drift;
    gauge!(names::DRIFT_WINDOW).set(*window_size as f64);
    for (signal, psi) in [
        ("confidence", measured.map(|measured| measured.confidence_psi)),
        ("top_cosine", measured.map(|measured| measured.top_cosine_psi)),
    ] {
        gauge!(names::DRIFT_PSI, "signal" => signal).set(psi.unwrap_or(f64::NAN));
    }
    gauge!(names::DRIFT_DISTANCE).set(measured.and_then(|measured| measured.mean_distance).unwrap_or(f64::NAN));
}
