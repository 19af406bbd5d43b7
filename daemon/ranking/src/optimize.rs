//! Minimising smooth convex functions: L-BFGS by argmin, with the objective and its gradient computed together.

use std::sync::{Arc, Mutex, PoisonError};

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

use crate::error::RankingError;

/// Corrections that L-BFGS keeps (Nocedal and Wright, Numerical Optimization, 2nd ed., ch. 7).
const MEMORY: usize = 8;

/// The value at a place, and the gradient.
type Evaluated = (f64, Vec<f64>);

struct Problem<F> {
    evaluate: F,
    /// The last place and what was found there: a line search asks for value and gradient in turn.
    last: Mutex<Option<(Vec<f64>, Evaluated)>>,
    /// The best place and its value.
    best: Arc<Mutex<(f64, Vec<f64>)>>,
}

impl<F: Fn(&[f64]) -> Evaluated> Problem<F> {
    fn at(&self, place: &[f64]) -> Evaluated {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, found)) = &*last
            && known == place
        {
            return found.clone();
        }
        let found = (self.evaluate)(place);
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        if found.0 < best.0 {
            *best = (found.0, place.to_vec());
        }
        *last = Some((place.to_vec(), found.clone()));
        found
    }
}

impl<F: Fn(&[f64]) -> Evaluated> CostFunction for Problem<F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, place: &Self::Param) -> Result<f64, Error> {
        Ok(self.at(place).0)
    }
}

impl<F: Fn(&[f64]) -> Evaluated> Gradient for Problem<F> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, place: &Self::Param) -> Result<Self::Gradient, Error> {
        Ok(self.at(place).1)
    }
}

/// The place of the least value, from `start`, within so many iterations.
///
/// evaluate: a place to the value there and its gradient; smooth, and best convex. A line search that can get no further ends
/// the search at the best place so far.
pub(crate) fn minimize(
    start: Vec<f64>,
    iterations: u64,
    evaluate: impl Fn(&[f64]) -> Evaluated,
) -> Result<Vec<f64>, RankingError> {
    let failed = |error: Error| RankingError::Numeric(format!("the optimiser failed: {error}"));
    let best = Arc::new(Mutex::new((f64::INFINITY, start.clone())));
    let problem = Problem { evaluate, last: Mutex::new(None), best: Arc::clone(&best) };
    let search = MoreThuenteLineSearch::new();
    let solver = LBFGS::new(search, MEMORY)
        .with_tolerance_grad(1e-5)
        .and_then(|solver| solver.with_tolerance_cost(1e-8))
        .map_err(failed)?;
    let run = Executor::new(problem, solver).configure(|state| state.param(start).max_iters(iterations)).run();
    let best = std::mem::take(&mut *best.lock().unwrap_or_else(PoisonError::into_inner));
    match run {
        _ if best.0.is_finite() => Ok(best.1),
        Err(error) => Err(failed(error)),
        Ok(_) => {
            Err(RankingError::Numeric("the optimiser found no finite value; look for vectors that are not".into()))
        }
    }
}

/// Softmax cross-entropy: turns logits into `probability - target`, weighted, and gives the weighted loss.
pub(crate) fn softmax_loss(logits: &mut [f64], class: usize, weight: f64) -> f64 {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let right = logits[class];
    let mut total = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - highest).exp();
        total += *logit;
    }
    for value in logits.iter_mut() {
        *value *= weight / total;
    }
    logits[class] -= weight;
    weight * (total.ln() + highest - right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bowl_has_its_bottom_found() {
        let bowl = |x: &[f64]| {
            let value = (x[0] - 3.0).powi(2) + 10.0 * (x[1] + 1.0).powi(2);
            (value, vec![2.0 * (x[0] - 3.0), 20.0 * (x[1] + 1.0)])
        };
        let found = minimize(vec![0.0, 0.0], 50, bowl).expect("converges");
        assert!((found[0] - 3.0).abs() < 1e-4 && (found[1] + 1.0).abs() < 1e-4, "{found:?}");
    }
}
