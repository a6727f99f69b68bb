//! Replacing a node's signing key while it runs.
//!
//! The next key is published before it signs, for longer than checkers outside may keep the list of keys. The old one stays
//! published for as long as a session that it vouches for may be refreshed, and then is retired. Where the change stands is
//! kept in the node's folder, so that a restart goes on with it:
//!
//! - `signing-key`: the seed that signs;
//! - `signing-key.next`: the seed that will;
//! - `signing-key.old`: ids of keys that have signed and are to be retired, with the time when they were replaced. Their seeds
//!   are gone.
//!
//! No seed ever leaves the folder: not into the log, not into the state, hence into no backup. Times are the node's wall
//! clock's: where it is wrong, a key is only used or retired early or late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_api::{App, SigningKey};
use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::entities::NodeKey;
use holdfast_ledger::query;
use holdfast_raft::node::{Consistency, Node, Unavailable};
use tokio::sync::{Mutex, Notify, watch};

use super::views::{KeyView, KeysView, NextView, ReplacedView};
use crate::failure::Failure;
use crate::folder::{Folder, Replaced};

/// How long a key is published before it signs: half as long again as others may keep the list of keys.
pub const PUBLISHED_WAIT: Duration = Duration::from_secs(90);
/// Between two looks at whether something is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a change that was asked for at once may take.
const AT_ONCE_WAIT: Duration = Duration::from_secs(10);
/// Keys of this node that wait to be retired; beyond that the oldest is retired at once.
const REPLACED_MAX: usize = 16;

/// Why a key could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    #[error("{0}")]
    Folder(Failure),
    #[error("{0}")]
    Unavailable(#[from] Unavailable),
    #[error("the ledger refuses this: {0}")]
    Refused(&'static str),
    #[error("this key signs here: rotate with --now instead")]
    Signs,
    #[error("it is under way, but was not done in time: look at the keys again")]
    Unfinished,
}

impl From<Failure> for RotationError {
    fn from(failure: Failure) -> RotationError {
        RotationError::Folder(failure)
    }
}

/// The change of this node's key.
pub struct Rotation {
    node: Node,
    folder: Arc<Folder>,
    published_wait: Duration,
    /// The id of the key that signs.
    signing: watch::Sender<String>,
    /// Nothing is waited for until the change that is under way is done.
    at_once: AtomicBool,
    wake: Notify,
    /// One change of the folder at a time.
    changing: Mutex<()>,
}

impl Rotation {
    /// `signing` is the id of the key that signs now.
    pub fn new(node: Node, folder: Arc<Folder>, signing: &str, published_wait: Duration) -> Rotation {
        Rotation {
            node,
            folder,
            published_wait,
            signing: watch::Sender::new(signing.to_string()),
            at_once: AtomicBool::new(false),
            wake: Notify::new(),
            changing: Mutex::new(()),
        }
    }

    /// Makes the next key, if there is none yet, and publishes it. With `at_once` waits until it signs and the old ones are
    /// retired.
    pub async fn begin(&self, at_once: bool) -> Result<(), RotationError> {
        let next = {
            let _changing = self.changing.lock().await;
            let next = SigningKey::from_seed(&self.folder.next_seed_or_new()?);
            self.publish(&next).await?;
            next.key_id().to_string()
        };
        if !at_once {
            return Ok(());
        }
        let mut signing = self.signing.subscribe();
        self.at_once.store(true, Ordering::SeqCst);
        self.wake.notify_one();
        let signs = async {
            let _ = signing.wait_for(|signing| *signing == next).await;
            while self.at_once.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(AT_ONCE_WAIT, signs).await.map_err(|_| RotationError::Unfinished)
    }

    /// Retires any node's key but the one that signs here.
    pub async fn retire(&self, key_id: &str) -> Result<(), RotationError> {
        if *self.signing.borrow() == key_id {
            return Err(RotationError::Signs);
        }
        self.propose(Command::RetireNodeKey { key_id: key_id.into() }).await
    }

    pub async fn view(&self) -> Result<KeysView, RotationError> {
        let read =
            |state: &holdfast_api::app::Ledger| Ok((query::node_keys(state)?, state.meta().policy.session_ttl_ms));
        let (keys, session_ttl_ms) = self.node.read(Consistency::Linearizable, read).await?;
        let now_ms = now_ms();
        let next = self.folder.next_seed()?.map(|seed| {
            let key_id = SigningKey::from_seed(&seed).key_id().to_string();
            let published_ms = registered_ms(&keys, &key_id).unwrap_or(now_ms);
            NextView { key_id, signs_in_s: self.due_ms(published_ms).saturating_sub(now_ms).div_ceil(1_000) }
        });
        let replaced = self.folder.replaced()?.into_iter().map(|old| ReplacedView {
            retires_in_s: (old.replaced_ms.saturating_add(session_ttl_ms)).saturating_sub(now_ms).div_ceil(1_000),
            key_id: old.key_id,
        });
        Ok(KeysView {
            signing: self.signing.borrow().clone(),
            next,
            replaced: replaced.collect(),
            keys: keys.into_iter().map(|(key_id, key)| view_of(key_id, &key)).collect(),
        })
    }

    /// Does what is due, for as long as the node runs.
    pub async fn run(self: Arc<Self>, app: App) {
        loop {
            if let Err(error) = self.step(&app).await {
                tracing::debug!(%error, "the change of the signing key has to wait");
            }
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    async fn step(&self, app: &App) -> Result<(), RotationError> {
        let _changing = self.changing.lock().await;
        let at_once = self.at_once.load(Ordering::SeqCst);
        if let Some(seed) = self.folder.next_seed()? {
            let next = SigningKey::from_seed(&seed);
            let published_ms = self.publish(&next).await?;
            if at_once || now_ms() >= self.due_ms(published_ms) {
                self.replace(app, next)?;
            }
        }
        self.retire_replaced(at_once).await?;
        self.at_once.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Signs with `next` from now on. A crash in between leaves the next seed where it is, and this is done again.
    fn replace(&self, app: &App, next: SigningKey) -> Result<(), RotationError> {
        let before = self.signing.borrow().clone();
        let mut replaced = self.folder.replaced()?;
        if replaced.iter().all(|old| old.key_id != before) {
            replaced.push(Replaced { key_id: before, replaced_ms: now_ms() });
            self.folder.put_replaced(&replaced)?;
        }
        self.folder.take_next_seed()?;
        let key_id = next.key_id().to_string();
        app.use_key(next);
        tracing::info!(key_id, "another key signs from now on");
        self.signing.send_replace(key_id);
        Ok(())
    }

    async fn retire_replaced(&self, at_once: bool) -> Result<(), RotationError> {
        let mut replaced = self.folder.replaced()?;
        if replaced.is_empty() {
            return Ok(());
        }
        let session_ttl_ms = self.node.read(Consistency::Stale, |state| Ok(state.meta().policy.session_ttl_ms)).await?;
        while let Some(oldest) = replaced.first() {
            let is_due = at_once
                || replaced.len() > REPLACED_MAX
                || now_ms() >= oldest.replaced_ms.saturating_add(session_ttl_ms);
            let signs = *self.signing.borrow() == oldest.key_id;
            if signs || !is_due {
                break;
            }
            self.propose(Command::RetireNodeKey { key_id: oldest.key_id.clone() }).await?;
            replaced.remove(0);
            self.folder.put_replaced(&replaced)?;
        }
        Ok(())
    }

    /// Makes the cluster know `key`. Answers since when it does, in milliseconds since the Unix epoch.
    async fn publish(&self, key: &SigningKey) -> Result<u64, RotationError> {
        let known = self.node.read(Consistency::Stale, |state| query::node_key(state, key.key_id())).await?;
        if let Some(known) = known {
            return Ok(known.registered_ms);
        }
        self.propose(key.register()).await?;
        Ok(now_ms())
    }

    async fn propose(&self, command: Command) -> Result<(), RotationError> {
        let answer = self.node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await?;
        answer.outcome.settled.map(|_| ()).map_err(|refusal| RotationError::Refused(refusal.code()))
    }

    fn due_ms(&self, published_ms: u64) -> u64 {
        published_ms.saturating_add(self.published_wait.as_millis() as u64)
    }
}

fn registered_ms(keys: &[(String, NodeKey)], key_id: &str) -> Option<u64> {
    keys.iter().find(|(id, _)| id == key_id).map(|(_, key)| key.registered_ms)
}

fn view_of(key_id: String, key: &NodeKey) -> KeyView {
    KeyView { key_id, registered_ms: key.registered_ms, retired_ms: key.retired_ms }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
