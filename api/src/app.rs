//! What every handler shares: the node, the settings, and the few ways to ask the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_events::overview::Overview;
use holdfast_ledger::State;
use holdfast_ledger::command::{Actor, Command, IdempotencyKey, Submitted};
use holdfast_ledger::entities::SignedIn;
use holdfast_ledger::outcome::{Refusal, Reply};
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::{Consistency, Node};
use holdfast_raft::state::StateStore;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock::{self, LedgerClock, WallClock};
use crate::error::{Fault, refused};
use crate::headers::MIN_INDEX_WAIT;
use crate::limits::{Limiter, RateLimits};
use crate::live::Slots;
use crate::operator::Checks;
use crate::pages::CardForm;
use crate::password::{PasswordCost, Passwords};
use crate::services::ServiceTokens;
use crate::signing_key::SigningKey;
use crate::token::Tokens;

/// The state as a query sees it.
pub type Ledger = State<StateStore>;

/// How long a write's answer may wait for this node to have applied it.
const OWN_WRITE_WAIT: Duration = Duration::from_secs(5);

/// Sessions that are being prolonged at the same time; beyond that one waits for its next use.
const PROLONGED_MAX: usize = 64;

/// What an operator chooses. The defaults are for development on one machine.
#[derive(Clone)]
pub struct Settings {
    /// Where browsers reach this cluster, without a path; its scheme decides whether cookies are `Secure`.
    pub public_url: String,
    /// The `iss` and `aud` of tokens.
    pub issuer: String,
    /// How long a token is valid, in seconds. A session outlives it by being refreshed.
    pub token_ttl_s: u64,
    pub password_cost: PasswordCost,
    pub rate_limits: RateLimits,
    /// How long `POST /api/payments` waits for a decision before it answers 202.
    pub payment_wait: Duration,
    /// Origins of other sites whose scripts may use the API with the caller's cookie, such as `https://shop.example`.
    pub cors_origins: Vec<String>,
    pub wall_clock: WallClock,
    /// Where this node's events go, for operators to look at; `None` where nobody follows.
    pub events: Option<Arc<Overview>>,
    /// The provider's own card form, on the order's page; `None`: the sandbox's cards.
    pub card_form: Option<CardForm>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            public_url: "http://127.0.0.1:3000".into(),
            issuer: "holdfast".into(),
            token_ttl_s: 15 * 60,
            password_cost: PasswordCost::default(),
            rate_limits: RateLimits::default(),
            payment_wait: Duration::from_secs(10),
            cors_origins: Vec::new(),
            wall_clock: clock::system(),
            events: None,
            card_form: None,
        }
    }
}

/// The application on one node. Clones are handles to the same one.
#[derive(Clone)]
pub struct App(Arc<Shared>);

pub struct Shared {
    pub node: Node,
    pub settings: Settings,
    pub tokens: Tokens,
    pub service_tokens: ServiceTokens,
    pub passwords: Passwords,
    pub limiter: Limiter,
    pub ledger_clock: LedgerClock,
    pub streams: Slots,
    pub checks: Checks,
    prolonging: Arc<Semaphore>,
    request_prefix: u32,
    requests: AtomicU64,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Something read, and the state that it was read from.
pub struct Seen<T> {
    pub value: T,
    /// Log index of the state.
    pub index: u64,
    /// Ledger time, carried on to this moment.
    pub now_ms: u64,
    /// How often a lock may be extended, by the policy of the state.
    pub extensions_max: u32,
}

/// A command that was carried out.
pub struct Done {
    pub reply: Reply,
    /// The entry that decided: an earlier one where a key was replayed.
    pub decided_at: u64,
    /// What a later read must include to see it.
    pub index: u64,
    pub replayed: bool,
}

/// A command that the ledger refused.
pub struct Refused {
    pub refusal: Refusal,
    /// Ledger time at the decision.
    pub now_ms: u64,
    pub decided_at: u64,
}

impl From<Refused> for Fault {
    fn from(refused_: Refused) -> Fault {
        refused(&refused_.refusal, refused_.now_ms).log_index(refused_.decided_at)
    }
}

impl App {
    /// `signing_key`'s public half must be registered in the ledger ([`SigningKey::register`]) before tokens of it are
    /// accepted.
    pub fn new(node: Node, signing_key: SigningKey, settings: Settings) -> App {
        App(Arc::new(Shared {
            node,
            tokens: Tokens::new(signing_key, &settings.issuer),
            service_tokens: ServiceTokens::default(),
            passwords: Passwords::new(settings.password_cost),
            limiter: Limiter::new(settings.rate_limits.clone()),
            ledger_clock: LedgerClock::new(),
            streams: Slots::default(),
            checks: Checks::default(),
            settings,
            prolonging: Arc::new(Semaphore::new(PROLONGED_MAX)),
            request_prefix: rand::random(),
            requests: AtomicU64::new(0),
        }))
    }

    /// A request id that no other request to this process has.
    pub fn next_request_id(&self) -> String {
        format!("{:08x}{:012x}", self.request_prefix, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Seconds since the Unix epoch by the wall clock.
    pub fn now_s(&self) -> u64 {
        (self.settings.wall_clock)() / 1_000
    }

    /// Cookies are for HTTPS only.
    pub fn is_https(&self) -> bool {
        self.settings.public_url.starts_with("https://")
    }

    /// Reads with the freshness that was asked for.
    pub async fn read<T>(
        &self,
        consistency: Consistency,
        query: impl Fn(&Ledger) -> Result<T, StoreError> + Send + Sync,
    ) -> Result<Seen<T>, Fault>
    where
        T: Send,
    {
        match consistency {
            Consistency::AtLeast(index) => match self.read_at(index, MIN_INDEX_WAIT, &query).await? {
                Some(seen) => Ok(seen),
                None => Err(self.behind(index).await),
            },
            _ => {
                let read = self.node.read(consistency, |state| snapshot(state, &query)).await?;
                Ok(self.seen(read))
            }
        }
    }

    /// Reads what a write of ours left behind.
    pub async fn read_own<T>(
        &self,
        index: u64,
        query: impl Fn(&Ledger) -> Result<T, StoreError> + Send + Sync,
    ) -> Result<Seen<T>, Fault>
    where
        T: Send,
    {
        let behind = || Fault::busy("not_caught_up", "It was done, but this node has not caught up with it yet");
        self.read_at(index, OWN_WRITE_WAIT, &query).await?.ok_or_else(behind)
    }

    /// Reads once this node has applied `index`; `None` if it has not within `wait`.
    async fn read_at<T>(
        &self,
        index: u64,
        wait: Duration,
        query: &(impl Fn(&Ledger) -> Result<T, StoreError> + Send + Sync),
    ) -> Result<Option<Seen<T>>, Fault>
    where
        T: Send,
    {
        // Most often it is there already, and then no timer is needed.
        let at_once = self
            .node
            .read(Consistency::Stale, |state| (state.meta().index >= index).then(|| snapshot(state, query)).transpose())
            .await?;
        if let Some(read) = at_once {
            return Ok(Some(self.seen(read)));
        }
        match timeout(wait, self.node.read(Consistency::AtLeast(index), |state| snapshot(state, query))).await {
            Ok(read) => Ok(Some(self.seen(read?))),
            Err(_) => Ok(None),
        }
    }

    /// Why a `min-index` was not reached: it lies beyond the log's end, or this node is slow.
    async fn behind(&self, index: u64) -> Fault {
        let newest = self.node.read(Consistency::Linearizable, |state| Ok(state.meta().index)).await;
        match newest {
            Ok(newest) if newest < index => {
                Fault::bad_field("min-index", "min_index_ahead", "min-index lies beyond the end of the log")
            }
            Ok(_) => Fault::busy("not_caught_up", "This node has not caught up with min-index yet"),
            Err(unavailable) => unavailable.into(),
        }
    }

    fn seen<T>(&self, seen: Seen<T>) -> Seen<T> {
        Seen { now_ms: self.ledger_clock.observe(seen.now_ms), ..seen }
    }

    /// Notes in the ledger that a session is in use. What was asked for does not wait for it, nor fail with it.
    pub fn prolong(&self, signed_in: SignedIn) {
        let Ok(permit) = self.prolonging.clone().try_acquire_owned() else { return };
        let app = self.clone();
        tokio::spawn(async move {
            let _ = app.propose(Actor::User(signed_in), None, Command::RefreshSession).await;
            drop(permit);
        });
    }

    /// Signs with `key` from now on. Its public half must be registered, and known to whoever checks tokens without us.
    pub fn use_key(&self, key: SigningKey) {
        self.tokens.use_key(key);
    }

    /// Proposes `command` and tells a refusal apart from having no answer at all.
    pub async fn propose(
        &self,
        actor: Actor,
        idempotency: Option<IdempotencyKey>,
        command: Command,
    ) -> Result<Result<Done, Refused>, Fault> {
        let answer = self.node.propose(Submitted { actor, idempotency, command }).await;
        let answer = answer.inspect_err(|_| count("unavailable"))?;
        let decided_at = answer.outcome.decided_at;
        Ok(match answer.outcome.settled {
            Ok(reply) => {
                count("done");
                Ok(Done { reply, decided_at, index: answer.index, replayed: answer.outcome.replayed })
            }
            Err(refusal) => {
                count("refused");
                metrics::counter!("holdfast_refusals_total", "code" => refusal.code()).increment(1);
                Err(Refused { refusal, now_ms: answer.time_ms, decided_at })
            }
        })
    }
}

/// Counts what became of a command.
fn count(outcome: &'static str) {
    metrics::counter!("holdfast_commands_total", "outcome" => outcome).increment(1);
}

/// Runs `query`, with what else is to be known of the state it saw; its time is not carried on yet.
fn snapshot<T>(state: &Ledger, query: &impl Fn(&Ledger) -> Result<T, StoreError>) -> Result<Seen<T>, StoreError> {
    let meta = state.meta();
    let extensions_max = meta.policy.lock_extensions_max;
    Ok(Seen { value: query(state)?, index: meta.index, now_ms: meta.now_ms, extensions_max })
}
