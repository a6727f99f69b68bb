//! One entry while it is applied: who asks, whether he may, what he was told before, and what his command does.
//!
//! What is authenticated at the door may be out of date here, so the actor is checked against the state once more: a ban or
//! a sign-out that came first counts. Then the idempotency key, then the command.

use crate::command::{Actor, Service, Submitted};
use crate::commands;
use crate::entities::{Roles, SignedIn, User};
use crate::id::{Id, UserId};
use crate::keys;
use crate::outcome::{Outcome, Refusal, Reply, Settled};
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
    User { id: UserId, roles: Roles },
    Service(Service),
}

impl Caller {
    /// The user who asks.
    pub fn user(&self) -> Result<UserId, Refusal> {
        match self {
            Caller::User { id, .. } => Ok(*id),
            Caller::Anonymous => Err(Refusal::NotSignedIn),
            Caller::System | Caller::Service(_) => Err(Refusal::Forbidden),
        }
    }

    /// The user who asks, and who may sell.
    pub fn seller(&self) -> Result<UserId, Refusal> {
        match self {
            Caller::User { id, roles } if roles.seller => Ok(*id),
            Caller::User { .. } => Err(Refusal::Forbidden),
            _ => self.user(),
        }
    }

    /// An operator who may change things, or the cluster itself.
    pub fn operator(&self) -> Result<(), Refusal> {
        self.allowed(matches!(self, Caller::System | Caller::User { roles: Roles { operator_admin: true, .. }, .. }))
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
}

impl<'a, S: Write> Entry<'a, S> {
    pub fn new(state: &'a mut State<S>) -> Entry<'a, S> {
        let event_seq_before = state.meta.event_seq;
        Entry { state, event_seq_before, ids_minted: 0 }
    }

    /// Events emitted so far.
    pub fn events(&self) -> u32 {
        (self.state.meta.event_seq - self.event_seq_before) as u32
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
            Err(refusal) => return Ok(self.refused(refusal)),
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
    fn check_signed_in(&mut self, signed_in: &SignedIn) -> Result<Caller, Stop> {
        let SignedIn { user: id, session, epoch } = *signed_in;
        self.reclaim_user(id)?;
        let user: User = self.user(id)?.ok_or(Refusal::NotSignedIn)?;
        if user.banned {
            return Err(Refusal::Banned.into());
        }
        if user.erased || user.epoch != epoch {
            return Err(Refusal::NotSignedIn.into());
        }
        let session: Option<crate::entities::Session> =
            self.state.row(Table::Sessions, &keys::pair(id.0, session.0))?;
        if session.is_none_or(|session| self.now_ms() >= session.expires_ms) {
            return Err(Refusal::NotSignedIn.into());
        }
        Ok(Caller::User { id, roles: user.roles })
    }
}
