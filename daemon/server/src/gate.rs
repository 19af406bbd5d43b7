//! The gate: who calls is found out before anything of a call is read, and what they may not do ends here.
//!
//! Nothing that a caller sends reaches the engine, the model or the decoder of its message before it has passed. What passes
//! carries a [`Caller`].

mod store;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use fitment_access::{Access, CERTIFY_COMPONENT, Presented, Principal, Rpc, UnixPeer, needs_no_principal, rpc_of};
use fitment_engine::{ComponentFacts, Permit, Viewer};
use tonic::body::Body;
use tonic::codegen::http::header::{AUTHORIZATION, HeaderValue};
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

pub(crate) use self::store::AccessStore;
use crate::caller::Caller;
use crate::ending::Answer;
use crate::limits::Limits;
use crate::metrics::count_refused;
use crate::reread::DefaultLimits;
use crate::rpc::{EngineSlot, denied, unauthenticated};
use crate::traces::CallNotes;
use crate::transport::{Peer, Transport};

/// Adds [`Gate`] to a service.
#[derive(Clone)]
pub(crate) struct GateLayer(Option<Guard>);

/// What stands at the gate.
#[derive(Clone)]
struct Guard {
    access: Arc<AccessStore>,
    /// Denials are recorded in the trail of whom they concern.
    engines: EngineSlot,
    /// Of principals whose document says nothing else.
    limits: DefaultLimits,
}

impl GateLayer {
    /// Lets everybody through: the daemon was told of no principals.
    pub(crate) fn open() -> Self {
        Self(None)
    }

    /// Lets through who may.
    pub(crate) fn guarded(access: Arc<AccessStore>, engines: EngineSlot, limits: DefaultLimits) -> Self {
        Self(Some(Guard { access, engines, limits }))
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, guard: self.0.clone() }
    }
}

/// A service that only those reach who may.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    inner: S,
    guard: Option<Guard>,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer<Infallible> {
        let passed = match &self.guard {
            None => Ok(()),
            Some(_) if needs_no_principal(request.uri().path()) => Ok(()),
            Some(guard) => guard.admit(&mut request),
        };
        match passed {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(refused) => Box::pin(async move { Ok(refused.into_http()) }),
        }
    }
}

impl Guard {
    /// Finds out who calls and whether they may, and leaves it with the request.
    fn admit(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let access = self.access.current();
        let principal = authenticate(&access, request).map_err(|refused| {
            tracing::debug!(reason = refused.as_str(), "a caller was not authenticated");
            count_refused(Code::Unauthenticated, refused.as_str());
            unauthenticated(refused)
        })?;
        let path = request.uri().path();
        let caller = caller_of(&access, &principal, path, self.limits.current()).map_err(|refused| {
            count_refused(Code::PermissionDenied, refused.reason.as_str());
            self.record(&principal, path, &refused);
            denied(&refused)
        })?;
        if let Some(notes) = request.extensions().get::<CallNotes>() {
            notes.principal(&caller.principal);
        }
        request.extensions_mut().insert(caller);
        Ok(())
    }

    /// A denial is kept where the principal's own auditors look.
    fn record(&self, principal: &Principal, path: &str, refused: &fitment_access::Denied) {
        let Some(engine) = self.engines.of_tenant(principal.tenant()) else { return };
        let engine = engine.seen_by(Viewer { principal: Some(principal.id().into()), permit: None });
        let action = rpc_of(path).map_or("call", |rpc| rpc.action);
        if let Some(write) = engine.record_denied_call(action, path, refused.reason.as_str(), refused.to_string()) {
            // A commit, and so not on this thread.
            drop(tokio::task::spawn_blocking(write));
        }
    }
}

fn authenticate(access: &Access, request: &Request<Body>) -> Result<Arc<Principal>, fitment_access::Unauthenticated> {
    let authorization: Vec<&[u8]> =
        request.headers().get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
    let peer = request.extensions().get::<Arc<Peer>>();
    let certificate = peer.and_then(|peer| peer.tls.as_ref()).and_then(|tls| tls.client_leaf_der.as_deref());
    let unix = peer.and_then(|peer| match peer.transport {
        Transport::Unix { uid, gid, pid: _ } => Some(UnixPeer { uid, gid }),
        Transport::Tcp(_) => None,
    });
    let presented = Presented { authorization: &authorization, certificate, unix };
    access.authenticate(&presented, jiff::Timestamp::now())
}

fn caller_of(
    access: &Access,
    principal: &Principal,
    path: &str,
    configured: Limits,
) -> Result<Caller, fitment_access::Denied> {
    let call = access.authorise(principal, path)?;
    let certify = match rpc_of(path) {
        // The calls that may put a version where answers promise it.
        Some(rpc) if writes_versions(rpc) => Some(access.authorise_step(principal, CERTIFY_COMPONENT).ok()),
        _ => None,
    };
    let permit: Option<Arc<dyn Permit>> = match certify {
        None if !call.is_narrowed() => None,
        certify => Some(Arc::new(Narrowed { id: call.id().to_string(), call, certify: certify.flatten() })),
    };
    Ok(Caller {
        principal: principal.id().into(),
        tenant: principal.tenant().into(),
        permit,
        limits: own_limits(principal.limits(), configured),
    })
}

/// What the document says of a principal's limits, over what is configured; `None`: nothing.
fn own_limits(own: fitment_access::Limits, configured: Limits) -> Option<Limits> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the document bounds it, and it is above 0"
    )]
    let rate = |rate: f64| rate.ceil().min(f64::from(u32::MAX)) as u32;
    let fitment_access::Limits { requests_per_second, burst, concurrent, tokens_per_second } = own;
    let limits = Limits {
        requests_per_second: requests_per_second.map_or(configured.requests_per_second, rate),
        burst: burst.unwrap_or(configured.burst),
        concurrent: concurrent.unwrap_or(configured.concurrent),
        tokens_per_second: tokens_per_second.map_or(configured.tokens_per_second, rate),
    };
    (own != fitment_access::Limits::default()).then_some(limits)
}

fn writes_versions(rpc: &Rpc) -> bool {
    matches!(rpc.path.rsplit('/').next(), Some("CreateComponent" | "ImportComponents" | "MoveComponent"))
}

/// What a call may touch, in the engine's words.
#[derive(Debug)]
struct Narrowed {
    id: String,
    call: fitment_access::Permit,
    /// `None`: nothing may be certified.
    certify: Option<fitment_access::Permit>,
}

impl Permit for Narrowed {
    fn id(&self) -> &str {
        &self.id
    }

    fn permits(&self, component: &ComponentFacts) -> bool {
        !self.call.is_narrowed() || self.call.permits(&facts(component))
    }

    fn certifies(&self, component: &ComponentFacts) -> bool {
        self.certify.as_ref().is_some_and(|certify| certify.permits(&facts(component)))
    }
}

fn facts(component: &ComponentFacts) -> fitment_access::ComponentFacts {
    let ComponentFacts { namespace, kind, tags, owner, access } = component;
    fitment_access::ComponentFacts {
        namespace: namespace.clone(),
        kind: *kind,
        // A tag that was written is well-formed.
        tags: tags.iter().filter_map(|tag| tag.parse().ok()).collect(),
        owner: owner.clone(),
        roles: access.iter().cloned().collect(),
    }
}
