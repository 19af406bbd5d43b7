//! Who asks and until when, as the layers before a service have found out.

use std::sync::Arc;
use std::time::Instant;

use fitment_engine::{CallContext, TokenBudget, WorkClass};
use fitment_proto::v1;
use tonic::Request;

use super::status::item_limit_exceeded;
use crate::limits::{Account, Counted};

/// When a call's caller stops waiting; in the extensions of every call with a deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

/// Who asks.
#[derive(Clone)]
pub(super) struct Asker {
    context: CallContext,
    account: Option<Arc<Account>>,
}

impl Asker {
    /// Who sent a request.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let deadline = request.extensions().get::<Deadline>().map(|&Deadline(at)| at);
        let counted = request.extensions().get::<Counted>();
        let account = counted.map(|counted| Arc::clone(&counted.account));
        let budget = account.clone().filter(|account| account.counts_tokens());
        let context = CallContext {
            principal: counted.map(|counted| Arc::clone(&counted.principal)).unwrap_or_default(),
            deadline,
            work: WorkClass::Single,
            budget: budget.map(|account| account as Arc<dyn TokenBudget>),
        };
        Self { context, account }
    }

    /// For the one intent that the call is about; it was counted with the call.
    pub(super) fn single(&self) -> CallContext {
        self.context.clone()
    }

    /// For one of several that were counted with the call.
    pub(super) fn several(&self) -> CallContext {
        self.context.several()
    }

    /// For one of several, which counts as a request of its own. Errors: one too many, as the status of the item.
    pub(super) fn counted(&self) -> Result<CallContext, v1::ItemStatus> {
        match self.account.as_ref().map_or(Ok(()), |account| account.request()) {
            Ok(()) => Ok(self.several()),
            Err(exceeded) => Err(item_limit_exceeded(exceeded)),
        }
    }
}
