//! Limits of one caller.

/// Limits of one caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {}
