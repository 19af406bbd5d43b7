//! Whose engine answers: one a tenant, and none while they are loading.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use fitment_access::Unauthenticated;
use fitment_engine::Engine;
use tonic::{Request, Status};

use super::status;
use crate::caller::{Caller, DEFAULT_TENANT};

/// The engines, once they have come up.
#[derive(Clone, Default)]
pub(crate) struct EngineSlot(Arc<ArcSwapOption<Tenants>>);

/// An engine for each tenant. They share nothing but the encoder's threads and its model.
pub struct Tenants {
    engines: BTreeMap<Arc<str>, Engine>,
    /// Whether callers are authenticated: then one that was not gets nothing.
    guarded: bool,
}

impl Tenants {
    /// One catalogue, for everybody who can connect.
    pub fn open_to_all(engine: Engine) -> Self {
        Self { engines: BTreeMap::from([(Arc::from(DEFAULT_TENANT), engine)]), guarded: false }
    }

    /// Catalogues by tenant, for authenticated callers.
    pub fn guarded(engines: BTreeMap<Arc<str>, Engine>) -> Self {
        Self { engines, guarded: true }
    }

    /// The default tenant's engine.
    pub fn first(&self) -> Option<&Engine> {
        self.engines.get(DEFAULT_TENANT)
    }

    /// All engines, by tenant.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Engine)> {
        self.engines.iter().map(|(tenant, engine)| (&**tenant, engine))
    }
}

impl EngineSlot {
    /// From now on calls are answered.
    pub(crate) fn fill(&self, tenants: Tenants) -> Arc<Tenants> {
        let tenants = Arc::new(tenants);
        self.0.store(Some(Arc::clone(&tenants)));
        tenants
    }

    /// The engine of the tenant who calls, as the caller sees it.
    ///
    /// Errors: UNAVAILABLE while it is loading; UNAUTHENTICATED where a caller should be known and is not.
    pub(crate) fn of<T>(&self, request: &Request<T>) -> Result<Engine, Status> {
        self.looked_up(request)?.ok_or_else(status::not_ready)
    }

    /// The same; `None` while it is loading.
    pub(crate) fn looked_up<T>(&self, request: &Request<T>) -> Result<Option<Engine>, Status> {
        let Some(tenants) = self.0.load_full() else { return Ok(None) };
        match request.extensions().get::<Caller>() {
            // A tenant that was named a moment ago is opened by now or soon.
            Some(caller) => Ok(tenants.engines.get(&caller.tenant).map(|engine| engine.seen_by(caller.viewer()))),
            None if tenants.guarded => Err(status::unauthenticated(Unauthenticated::Missing)),
            None => Ok(tenants.engines.get(DEFAULT_TENANT).cloned()),
        }
    }

    /// The engine of a tenant; `None` while it is loading, or where there is none.
    pub(crate) fn of_tenant(&self, tenant: &str) -> Option<Engine> {
        self.0.load().as_ref().and_then(|tenants| tenants.engines.get(tenant).cloned())
    }

    /// Whether calls are answered.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.load().is_some()
    }

    /// The default tenant's engine, whose figures are the daemon's; `None` while it is loading, or where there is none.
    pub(crate) fn first(&self) -> Option<Engine> {
        self.0.load().as_ref().and_then(|tenants| tenants.first().cloned())
    }
}

/// The tenant who calls.
pub(super) fn tenant_of<T>(request: &Request<T>) -> Arc<str> {
    request.extensions().get::<Caller>().map_or_else(|| Arc::from(DEFAULT_TENANT), |caller| Arc::clone(&caller.tenant))
}
