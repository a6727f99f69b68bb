//! Accounts and sessions.

use holdfast_ledger::command::Actor;
use holdfast_ledger::entities::{CancelReason, LeftReason, Roles, SignedIn};
use holdfast_ledger::id::{OrderId, SessionId, UserId};
use holdfast_ledger::outcome::{Refusal, Reply, Settled};

use super::{Account, Model, user};

impl Model {
    pub(super) fn check_signed_in(&self, signed_in: &SignedIn) -> Result<(), Refusal> {
        let account = self.users.get(&signed_in.user).ok_or(Refusal::NotSignedIn)?;
        if account.banned {
            return Err(Refusal::Banned);
        }
        let open =
            |(session, expires_ms): &(SessionId, u64)| *session == signed_in.session && self.now_ms < *expires_ms;
        match account.epoch == signed_in.epoch && !account.erased && account.sessions.iter().any(open) {
            true => Ok(()),
            false => Err(Refusal::NotSignedIn),
        }
    }

    pub(super) fn sign_up(&mut self, email: &str) -> Settled {
        if self.is_taken(email) {
            return Err(Refusal::EmailInUse);
        }
        let Some(Reply::SignedIn { user, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(!self.users.contains_key(&user), "a new account has a new id");
        let account = Account {
            email: Some(email.into()),
            verified: false,
            requests: Vec::new(),
            roles: Roles::default(),
            banned: false,
            erased: false,
            epoch: 0,
            expiries_in_row: 0,
            cooldown_until_ms: 0,
            sessions: Vec::new(),
        };
        self.users.insert(user, account);
        self.open_session(user)
    }

    pub(super) fn sign_in(&mut self, user: UserId, epoch: u32) -> Settled {
        let account = self.users.get(&user).filter(|account| !account.erased).ok_or(Refusal::UserNotFound)?;
        if account.banned {
            return Err(Refusal::Banned);
        }
        if account.epoch != epoch {
            return Err(Refusal::NotSignedIn);
        }
        self.open_session(user)
    }

    pub(super) fn open_session(&mut self, user: UserId) -> Settled {
        let Some(Reply::SignedIn { session, .. }) = self.said else { return Ok(Reply::Done) };
        let (now_ms, policy) = (self.now_ms, &self.policy);
        let account = self.users.get_mut(&user).expect("an account");
        account.sessions.retain(|(_, expires_ms)| now_ms < *expires_ms);
        while account.sessions.len() >= policy.sessions_per_user_max as usize {
            account.sessions.remove(0);
        }
        account.sessions.push((session, now_ms + policy.session_ttl_ms));
        Ok(Reply::SignedIn { user, session, epoch: account.epoch })
    }

    pub(super) fn sign_out(&mut self, actor: &Actor, session: SessionId) -> Settled {
        let account = self.users.get_mut(&user(actor)?).expect("who asks has an account");
        let before = account.sessions.len();
        account.sessions.retain(|(open, _)| *open != session);
        Ok(if account.sessions.len() < before { Reply::Done } else { Reply::Unchanged })
    }

    /// A ban and an erasure: nothing of the user's that is not paid goes on.
    pub(super) fn shut_out(&mut self, user: UserId, reason: CancelReason, left: LeftReason) {
        let account = self.users.get_mut(&user).expect("an account");
        account.epoch += 1;
        account.sessions.clear();
        self.leave_lines(user, left);
        let live: Vec<OrderId> = self.live_orders_of(user).collect();
        for order in live {
            self.release(order, reason);
        }
    }

    pub(super) fn ban(&mut self, user: UserId) -> Settled {
        let account = self.users.get_mut(&user).ok_or(Refusal::UserNotFound)?;
        if account.banned {
            return Ok(Reply::Unchanged);
        }
        account.banned = true;
        self.shut_out(user, CancelReason::Banned, LeftReason::Banned);
        Ok(Reply::Done)
    }

    pub(super) fn unban(&mut self, user: UserId) -> Settled {
        let account = self.users.get_mut(&user).ok_or(Refusal::UserNotFound)?;
        Ok(if std::mem::take(&mut account.banned) { Reply::Done } else { Reply::Unchanged })
    }

    pub(super) fn erase(&mut self, user: UserId) -> Settled {
        let account = self.users.get_mut(&user).ok_or(Refusal::UserNotFound)?;
        if account.erased {
            return Ok(Reply::Unchanged);
        }
        account.erased = true;
        account.email = None;
        account.verified = false;
        account.requests.clear();
        self.shut_out(user, CancelReason::Buyer, LeftReason::Erased);
        self.watches.retain(|(watcher, _)| *watcher != user);
        Ok(Reply::Done)
    }
}

impl Account {
    pub(super) fn in_good_standing(&self) -> bool {
        !self.banned && !self.erased
    }
}
