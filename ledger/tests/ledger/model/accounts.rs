//! What users do with their accounts, and mails that prove who reads them.

use holdfast_ledger::command::Actor;
use holdfast_ledger::entities::Purpose;
use holdfast_ledger::id::{RequestId, UserId};
use holdfast_ledger::limits::REQUESTS_PER_PURPOSE_MAX;
use holdfast_ledger::outcome::{Bound, Refusal, Reply, Settled};

use super::{Account, Model};

impl Model {
    pub(super) fn is_taken(&self, email: &str) -> bool {
        let folded = |account: &Account| account.email.as_ref().map(|email| email.to_lowercase());
        self.users.values().any(|account| folded(account) == Some(email.to_lowercase()))
    }

    /// Who may be sent a mail, or answer one.
    fn reachable(&mut self, user: UserId) -> Result<&mut Account, Refusal> {
        match self.users.get_mut(&user) {
            Some(account) if account.banned && !account.erased => Err(Refusal::Banned),
            Some(account) if !account.erased => Ok(account),
            _ => Err(Refusal::UserNotFound),
        }
    }

    pub(super) fn refresh(&mut self, actor: &Actor) -> Settled {
        let Actor::User(signed_in) = actor else { return Err(Refusal::Forbidden) };
        let (now_ms, ttl_ms) = (self.now_ms, self.policy.session_ttl_ms);
        let account = self.users.get_mut(&signed_in.user).expect("who asks has an account");
        let session = account.sessions.iter_mut().find(|(id, _)| *id == signed_in.session).expect("a session");
        // It was refreshed when its whole time began.
        if now_ms < session.1 - ttl_ms + 60_000 {
            return Ok(Reply::Unchanged);
        }
        session.1 = now_ms + ttl_ms;
        Ok(Reply::Done)
    }

    pub(super) fn change_email(&mut self, user: UserId, email: &str) -> Settled {
        let before = self.users[&user].email.clone().expect("who asks is not erased");
        if before == email {
            return Ok(Reply::Unchanged);
        }
        let same = before.to_lowercase() == email.to_lowercase();
        if !same && self.is_taken(email) {
            return Err(Refusal::EmailInUse);
        }
        let account = self.users.get_mut(&user).expect("an account");
        account.email = Some(email.into());
        if !same {
            account.verified = false;
            account.requests.clear();
        }
        Ok(Reply::Done)
    }

    pub(super) fn change_password(&mut self, actor: &Actor) -> Settled {
        let Actor::User(signed_in) = actor else { return Err(Refusal::Forbidden) };
        let account = self.users.get_mut(&signed_in.user).expect("who asks has an account");
        account.epoch += 1;
        account.sessions.retain(|(id, _)| *id == signed_in.session);
        account.requests.retain(|(_, purpose, _)| *purpose != Purpose::Reset);
        Ok(Reply::SignedIn { user: signed_in.user, session: signed_in.session, epoch: account.epoch })
    }

    pub(super) fn request_reset(&mut self, user: UserId) -> Settled {
        self.reachable(user)?;
        self.request(user, Purpose::Reset)
    }

    pub(super) fn request_verification(&mut self, user: UserId) -> Settled {
        if self.users[&user].verified { Ok(Reply::Unchanged) } else { self.request(user, Purpose::Verify) }
    }

    fn request(&mut self, user: UserId, purpose: Purpose) -> Settled {
        let (now_ms, expires_ms, max) =
            (self.now_ms, self.now_ms + self.policy.request_ttl_ms, REQUESTS_PER_PURPOSE_MAX);
        let said = self.said.clone();
        let account = self.users.get_mut(&user).expect("an account");
        account.requests.retain(|(_, _, expires_ms)| now_ms < *expires_ms);
        if account.requests.iter().filter(|(_, other, _)| *other == purpose).count() >= max as usize {
            return Err(Refusal::TooMany { what: Bound::Requests, max });
        }
        let Some(Reply::Request { request, .. }) = said else { return Ok(Reply::Done) };
        account.requests.push((request, purpose, expires_ms));
        Ok(Reply::Request { user, request, expires_ms })
    }

    /// Uses up a request, and all of its purpose.
    fn answered(&mut self, user: UserId, request: RequestId, purpose: Purpose) -> Result<&mut Account, Refusal> {
        let now_ms = self.now_ms;
        let account = self.users.get_mut(&user).expect("an account");
        if !account.requests.iter().any(|open| (open.0, open.1) == (request, purpose) && now_ms < open.2) {
            return Err(Refusal::RequestNotFound);
        }
        account.requests.retain(|(_, other, _)| *other != purpose);
        account.verified = true;
        Ok(account)
    }

    pub(super) fn reset_password(&mut self, user: UserId, request: RequestId) -> Settled {
        self.reachable(user)?;
        let account = self.answered(user, request, Purpose::Reset)?;
        account.epoch += 1;
        account.sessions.clear();
        Ok(Reply::Done)
    }

    pub(super) fn verify_email(&mut self, user: UserId, request: RequestId) -> Settled {
        if self.users.get(&user).is_none_or(|account| account.erased) {
            return Err(Refusal::UserNotFound);
        }
        self.answered(user, request, Purpose::Verify)?;
        Ok(Reply::Done)
    }
}
