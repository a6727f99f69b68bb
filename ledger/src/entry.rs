//! One entry while it is applied: who asks, whether he may, what he was told before, and what his command does.
//!
//! What is authenticated at the door may be out of date here, so the actor is checked against the state once more: a ban or
//! a sign-out that came first counts. Then the idempotency key, then the command.

use std::collections::BTreeMap;

use crate::command::{Actor, Service, Submitted};
use crate::commands;
use crate::entities::{Roles, Session, SignedIn, User};
use crate::id::{Id, SessionId, UserId};
use crate::keys;
use crate::outcome::{Outcome, Refusal, Reply, Settled};
use crate::rows::damaged;
use crate::state::{Meta, State};
use crate::store::{StoreError, Write};
use crate::tables::Table;

/// Why a command ends early: a decision about it, or a fault below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Refused(Refusal),
    Store(StoreError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Store(error)
    }
}

/// What a command answers while it runs.
pub(crate) type Decided = Result<Reply, Stop>;

/// Parts the decisions from the faults.
pub(crate) fn settle<T>(decided: Result<T, Stop>) -> Result<Result<T, Refusal>, StoreError> {
    match decided {
        Ok(reply) => Ok(Ok(reply)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Store(error)) => Err(error),
    }
}

/// Who asks, after the check against the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    System,
    Anonymous,
    User { id: UserId, session: SessionId, roles: Roles },
    Service(Service),
}

impl Caller {
    /// The user who asks.
    pub fn user(&self) -> Result<UserId, Refusal> {
        self.session().map(|(user, _)| user)
    }

    /// The user who asks, and the session in which he does.
    pub fn session(&self) -> Result<(UserId, SessionId), Refusal> {
        match self {
            Caller::User { id, session, .. } => Ok((*id, *session)),
            Caller::Anonymous => Err(Refusal::NotSignedIn),
            Caller::System | Caller::Service(_) => Err(Refusal::Forbidden),
        }
    }

    /// The user who asks, and who may sell.
    pub fn seller(&self) -> Result<UserId, Refusal> {
        match self {
            Caller::User { id, roles, .. } if roles.seller => Ok(*id),
            Caller::User { .. } => Err(Refusal::Forbidden),
            _ => self.user(),
        }
    }

    /// An operator who may change things, or the cluster itself.
    pub fn operator(&self) -> Result<(), Refusal> {
        self.allowed(matches!(self, Caller::System | Caller::User { roles: Roles { operator_admin: true, .. }, .. }))
    }

    /// An operator who may change things, the notifications service, or the cluster itself.
    pub fn operator_or_notifications(&self) -> Result<(), Refusal> {
        if *self == Caller::Service(Service::Notifications) { Ok(()) } else { self.operator() }
    }

    /// The payments service, or the cluster itself.
    pub fn payments(&self) -> Result<(), Refusal> {
        self.allowed(matches!(self, Caller::System | Caller::Service(Service::Payments)))
    }

    pub fn system(&self) -> Result<(), Refusal> {
        self.allowed(*self == Caller::System)
    }

    fn allowed(&self, allowed: bool) -> Result<(), Refusal> {
        match self {
            _ if allowed => Ok(()),
            Caller::Anonymous => Err(Refusal::NotSignedIn),
            _ => Err(Refusal::Forbidden),
        }
    }
}

/// The entry that is being applied, on its state.
pub(crate) struct Entry<'a, S> {
    pub state: &'a mut State<S>,
    event_seq_before: u64,
    ids_minted: u32,
    /// The users that this entry has read, and whether their rows are to be written: one user's row changes several times in
    /// a command, and an entry often carries many commands about one seller.
    users: BTreeMap<UserId, (User, bool)>,
}

impl<'a, S: Write> Entry<'a, S> {
    pub fn new(state: &'a mut State<S>) -> Entry<'a, S> {
        let event_seq_before = state.meta.event_seq;
        Entry { state, event_seq_before, ids_minted: 0, users: BTreeMap::new() }
    }

    /// Ends the entry: sweeps, writes the users that changed and the meta row. Answers how many events there were.
    pub fn finish(mut self) -> Result<u32, StoreError> {
        self.sweep()?;
        for (id, (user, changed)) in &self.users {
            if *changed {
                self.state.put(Table::Users, id.as_bytes(), user)?;
            }
        }
        self.state.write_meta()?;
        Ok((self.state.meta.event_seq - self.event_seq_before) as u32)
    }

    pub fn user(&mut self, id: UserId) -> Result<Option<User>, StoreError> {
        if let Some((user, _)) = self.users.get(&id) {
            return Ok(Some(user.clone()));
        }
        let user: Option<User> = self.state.row(Table::Users, id.as_bytes())?;
        if let Some(user) = &user {
            self.users.insert(id, (user.clone(), false));
        }
        Ok(user)
    }

    /// A user whom another row names.
    pub fn user_required(&mut self, id: UserId) -> Result<User, StoreError> {
        self.user(id)?.ok_or_else(|| damaged(Table::Users, id.as_bytes(), "missing"))
    }

    /// Changes a user's counters, or a part of him that `update_user` has raised the version for.
    pub fn put_user(&mut self, id: UserId, user: &User) {
        self.users.insert(id, (user.clone(), true));
    }

    pub fn meta(&mut self) -> &mut Meta {
        &mut self.state.meta
    }

    pub fn now_ms(&self) -> u64 {
        self.state.meta.now_ms
    }

    /// A new id, unique in the lineage.
    pub fn mint(&mut self) -> Id {
        let id = Id::mint(self.state.meta.lineage, self.state.meta.index, self.ids_minted);
        self.ids_minted += 1;
        id
    }

    /// The ordinal that the next id of this entry gets.
    pub fn next_ordinal(&self) -> u32 {
        self.ids_minted
    }

    /// A refusal that this entry decides.
    pub fn refused(&self, refusal: Refusal) -> Outcome {
        self.outcome(Err(refusal))
    }

    fn outcome(&self, settled: Settled) -> Outcome {
        Outcome { settled, decided_at: self.state.meta.index, replayed: false }
    }

    /// Decides one command.
    pub fn decide(&mut self, submitted: &Submitted) -> Result<Outcome, StoreError> {
        let caller = match settle(self.check_actor(&submitted.actor))? {
            Ok(caller) => caller,
            Err(refusal) => {
                let told_before = self.remembered_of_older_epoch(submitted)?;
                return Ok(told_before.unwrap_or_else(|| self.refused(refusal)));
            }
        };
        let key = match (&caller, &submitted.idempotency) {
            (Caller::User { id, .. }, Some(key)) => Some((*id, key)),
            _ => None,
        };
        if let Some((user, key)) = key
            && let Some(outcome) = self.remembered(user, key)?
        {
            return Ok(outcome);
        }
        let settled = settle(commands::run(self, &caller, &submitted.command))?;
        self.audit(&caller, &submitted.command, &settled)?;
        if let Some((user, key)) = key {
            self.remember(user, key, &settled)?;
        }
        Ok(self.outcome(settled))
    }

    fn check_actor(&mut self, actor: &Actor) -> Result<Caller, Stop> {
        match actor {
            Actor::System => Ok(Caller::System),
            Actor::Anonymous => Ok(Caller::Anonymous),
            Actor::Service(service) => Ok(Caller::Service(*service)),
            Actor::User(signed_in) => self.check_signed_in(signed_in),
        }
    }

    /// A user acts while his account, his session and the epoch under which he was authenticated hold.
    pub fn check_signed_in(&mut self, signed_in: &SignedIn) -> Result<Caller, Stop> {
        let SignedIn { user: id, session, epoch } = *signed_in;
        self.reclaim_user(id)?;
        let user: User = self.user(id)?.ok_or(Refusal::NotSignedIn)?;
        if user.banned {
            return Err(Refusal::Banned.into());
        }
        if user.erased || user.epoch != epoch {
            return Err(Refusal::NotSignedIn.into());
        }
        let row: Option<Session> = self.state.row(Table::Sessions, &keys::pair(id.0, session.0))?;
        if row.is_none_or(|row| self.now_ms() >= row.expires_ms) {
            return Err(Refusal::NotSignedIn.into());
        }
        Ok(Caller::User { id, session, roles: user.roles })
    }
}
