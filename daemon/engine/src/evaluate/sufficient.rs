//! What labelled intents lack, said before any of them is encoded.

use fitment_catalog::{Dataset, LabelledIntent};
use fitment_ranking::RankingError;

use crate::error::EngineError;

/// The intents of a split. Errors: there is none; names the splits that there are.
pub(crate) fn some_intents<'d>(dataset: &'d Dataset, split: &'d str) -> Result<Vec<&'d LabelledIntent>, EngineError> {
    let intents: Vec<&LabelledIntent> = dataset.split(split).collect();
    if intents.is_empty() {
        let mut splits: Vec<&str> = dataset.intents.iter().map(|intent| intent.split.as_str()).collect();
        splits.sort_unstable();
        splits.dedup();
        let has = if splits.is_empty() { "none at all".into() } else { splits.join(", ") };
        let fault = format!("`{split}` holds no intents; the data set has {has}");
        return Err(EngineError::field("split", fault));
    }
    Ok(intents)
}

/// Whether labelled intents suffice for a fit.
///
/// Errors: a split without intents; too few in scope, none out of scope, counted over all sets.
pub fn check_learnable<'d>(sets: impl IntoIterator<Item = (&'d Dataset, &'d str)>) -> Result<(), EngineError> {
    let (mut inside, mut outside) = (0, 0);
    for (dataset, split) in sets {
        let found = counts(dataset, split)?;
        (inside, outside) = (inside + found.0, outside + found.1);
    }
    fitment_ranking::check_learnable(inside, outside).map_err(|error| EngineError::Learning(error.to_string()))
}

/// Whether labelled intents could suffice for a promise.
///
/// Errors: a split without intents; too few, none out of scope; shares that are none.
pub fn check_promisable(
    dataset: &Dataset,
    split: &str,
    max_error: f64,
    confidence_level: f64,
) -> Result<(), EngineError> {
    let (inside, outside) = counts(dataset, split)?;
    fitment_ranking::check_promisable(inside, outside, max_error, confidence_level)
        .map_err(|error: RankingError| EngineError::Calibration(error.to_string()))
}

/// Intents in scope and out of scope.
fn counts(dataset: &Dataset, split: &str) -> Result<(usize, usize), EngineError> {
    let intents = some_intents(dataset, split)?;
    let outside = intents.iter().filter(|intent| intent.out_of_scope()).count();
    Ok((intents.len() - outside, outside))
}
