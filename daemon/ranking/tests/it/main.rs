//! Tests of fitment-ranking through its public interface.

mod artefact;
mod calibration;
mod learning;
mod signals;
mod synthetic;
