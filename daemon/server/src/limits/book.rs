//! The accounts of all principals, a bounded number of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Account, Limits};

/// Accounts that are kept at most.
const MOST: usize = 10_000;
/// An account that was not used for so long is like a new one: whatever it spent has come back. Bursts are a second's or so.
const IDLE: Duration = Duration::from_secs(120);

/// Every principal's account.
pub(crate) struct Book {
    defaults: Limits,
    most: usize,
    accounts: Mutex<HashMap<Arc<str>, Arc<Account>>>,
    /// Counts for whoever finds no room: a flood of new names shares one account.
    overflow: Arc<Account>,
}

impl Book {
    /// No accounts; `defaults` are for those without limits of their own.
    pub(crate) fn new(defaults: Limits) -> Self {
        Self::of_size(defaults, MOST)
    }

    fn of_size(defaults: Limits, most: usize) -> Self {
        let overflow = Arc::new(Account::new(defaults, Instant::now()));
        Self { defaults, most, accounts: Mutex::default(), overflow }
    }

    /// A principal's account. One whose limits were changed begins anew.
    pub(crate) fn account(&self, principal: &Arc<str>, own: Option<Limits>, now: Instant) -> Arc<Account> {
        let limits = own.unwrap_or(self.defaults);
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get(principal).filter(|account| account.limits() == limits) {
            account.touch(now);
            return Arc::clone(account);
        }
        if accounts.len() >= self.most {
            accounts.retain(|_, account| account.idle(now) < IDLE);
            if accounts.len() >= self.most {
                return Arc::clone(&self.overflow);
            }
        }
        let account = Arc::new(Account::new(limits, now));
        accounts.insert(Arc::clone(principal), Arc::clone(&account));
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_accounts_make_room_and_a_flood_of_names_shares_one() {
        let limits = Limits { requests_per_second: 1, ..Limits::default() };
        let book = Book::of_size(limits, 2);
        let now = Instant::now();
        let account = |name: &str, now| book.account(&name.into(), None, now);
        let first = account("a", now);
        assert!(Arc::ptr_eq(&first, &account("a", now)));
        account("b", now);
        let (c, d) = (account("c", now), account("d", now));
        assert!(Arc::ptr_eq(&c, &d), "no room: shared");
        let later = now + 2 * IDLE;
        let _open = first.open().expect("a call");
        let e = account("e", later);
        assert!(!Arc::ptr_eq(&e, &c), "`b` made room");
        assert!(Arc::ptr_eq(&first, &account("a", later)), "a call is open");
    }

    #[test]
    fn own_limits_go_before_the_defaults_and_a_change_begins_anew() {
        let book = Book::new(Limits { requests_per_second: 1, ..Limits::default() });
        let now = Instant::now();
        let own = Limits { requests_per_second: 5, ..Limits::default() };
        let account = book.account(&"a".into(), Some(own), now);
        assert_eq!(account.limits(), own);
        assert_eq!(book.account(&"a".into(), None, now).limits().requests_per_second, 1);
    }
}
