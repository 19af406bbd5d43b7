//! Who calls, as whatever authenticates has found out. It travels in the extensions of a request.

use std::sync::Arc;

use crate::limits::Limits;

/// An authenticated principal.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its id; limits and turns are counted by it.
    pub principal: Arc<str>,
    /// Its own limits; `None`: the configured ones.
    pub limits: Option<Limits>,
}
