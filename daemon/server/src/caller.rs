//! Who calls: what authentication found out, carried by a request through everything that serves it.

use std::sync::Arc;

use fitment_engine::{Permit, Viewer};

use crate::limits::Limits;

/// Name of the tenant that a caller belongs to where nothing else is said.
pub const DEFAULT_TENANT: &str = "default";

/// An authenticated caller and what this call may touch.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Arc<str>,
    /// Whose catalogue it asks.
    pub tenant: Arc<str>,
    /// What it may see of it; `None`: all.
    pub permit: Option<Arc<dyn Permit>>,
    /// Limits of its own; `None`: the configured ones.
    pub limits: Option<Limits>,
}

impl Caller {
    /// The same for the engine.
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer { principal: Some(Arc::clone(&self.principal)), permit: self.permit.clone() }
    }
}
