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

use holdfast_api::SigningKey;
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

    /// Does what is due, for as long as the node runs. `sign_with` gets the key that is to sign from then on.
    pub async fn run(self: Arc<Self>, sign_with: impl Fn(SigningKey) + Send + Sync) {
        loop {
            if let Err(error) = self.step(&sign_with).await {
                tracing::debug!(%error, "the change of the signing key has to wait");
            }
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    async fn step(&self, sign_with: &(impl Fn(SigningKey) + Send + Sync)) -> Result<(), RotationError> {
        let _changing = self.changing.lock().await;
        let at_once = self.at_once.load(Ordering::SeqCst);
        if let Some(seed) = self.folder.next_seed()? {
            let next = SigningKey::from_seed(&seed);
            let published_ms = self.publish(&next).await?;
            if at_once || now_ms() >= self.due_ms(published_ms) {
                self.replace(sign_with, next)?;
            }
        }
        self.retire_replaced(at_once).await?;
        self.at_once.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Signs with `next` from now on. A crash in between leaves the next seed where it is, and this is done again.
    fn replace(&self, sign_with: &impl Fn(SigningKey), next: SigningKey) -> Result<(), RotationError> {
        let before = self.signing.borrow().clone();
        let mut replaced = self.folder.replaced()?;
        if replaced.iter().all(|old| old.key_id != before) {
            replaced.push(Replaced { key_id: before, replaced_ms: now_ms() });
            self.folder.put_replaced(&replaced)?;
        }
        self.folder.take_next_seed()?;
        let key_id = next.key_id().to_string();
        sign_with(next);
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use holdfast_raft::clock::SystemClock;
    use holdfast_raft::disk;
    use holdfast_raft::node::{Options, Start};
    use holdfast_raft::transport::grpc::Grpc;

    /// A node that is alone, in a folder that is held, with the change of its key.
    struct World {
        node: Node,
        folder: Arc<Folder>,
        rotation: Arc<Rotation>,
        root: tempfile::TempDir,
    }

    async fn world(published_wait: Duration) -> World {
        let root = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::take(root.path()).unwrap());
        let options = Options {
            disk: Arc::new(disk::Folder::open(root.path()).unwrap()),
            transport: Arc::new(Grpc::default()),
            clock: Arc::new(SystemClock::default()),
            peer_listen: "127.0.0.1:0".into(),
            peer_addr: None,
            http_addr: "127.0.0.1:0".into(),
            settings: Default::default(),
            storage: Default::default(),
            start: Start::Bootstrap,
        };
        let node = Node::start(options).await.expect("a new folder starts");
        let key = SigningKey::from_seed(&folder.signing_seed().unwrap());
        let rotation = Arc::new(Rotation::new(node.clone(), folder.clone(), key.key_id(), published_wait));
        rotation.publish(&key).await.unwrap();
        World { node, folder, rotation, root }
    }

    /// The files below `folder` that hold these bytes.
    fn files_with(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files_with(&path, bytes));
            } else if std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes) {
                found.push(path);
            }
        }
        found
    }

    fn state_of(view: &KeysView, key_id: &str) -> Option<bool> {
        view.keys.iter().find(|key| key.key_id == key_id).map(|key| key.retired_ms.is_some())
    }

    #[tokio::test]
    async fn the_next_key_is_published_before_it_signs_and_the_old_one_stays() {
        let world = world(Duration::from_secs(3_600)).await;
        let before = world.rotation.view().await.unwrap().signing;
        world.rotation.begin(false).await.unwrap();
        let view = world.rotation.view().await.unwrap();
        let next = view.next.clone().expect("a change is under way");
        assert!(next.signs_in_s > 3_500 && view.signing == before, "{view:?}");
        assert_eq!(state_of(&view, &next.key_id), Some(false), "it is published");
        // Asked again, it is the same change.
        world.rotation.begin(false).await.unwrap();
        assert_eq!(world.rotation.view().await.unwrap().next.unwrap().key_id, next.key_id);
        world.rotation.step(&|_| panic!("nothing is due")).await.unwrap();
        assert_eq!(world.rotation.view().await.unwrap().signing, before);

        // A node that was started again later goes on with it.
        let later = Rotation::new(world.node.clone(), world.folder.clone(), &before, Duration::ZERO);
        let signs = std::sync::Mutex::new(None);
        later.step(&|key: SigningKey| *signs.lock().unwrap() = Some(key.key_id().to_string())).await.unwrap();
        assert_eq!(signs.into_inner().unwrap().as_ref(), Some(&next.key_id));
        let view = later.view().await.unwrap();
        assert_eq!((&view.signing, &view.next), (&next.key_id, &None));
        assert_eq!(SigningKey::from_seed(&world.folder.signing_seed().unwrap()).key_id(), next.key_id);
        assert_eq!(view.replaced.iter().map(|old| &old.key_id).collect::<Vec<_>>(), [&before]);
        assert_eq!(state_of(&view, &before), Some(false), "its sessions may still be refreshed");
        assert!(!world.root.path().join("signing-key.next").exists());
        world.node.shutdown().await;
        let seed = world.folder.signing_seed().unwrap();
        assert_eq!(files_with(world.root.path(), &seed), [world.root.path().join("signing-key")]);
    }

    #[tokio::test]
    async fn a_change_at_once_retires_the_old_key() {
        let world = world(Duration::from_secs(3_600)).await;
        let before = world.rotation.view().await.unwrap().signing;
        let running = tokio::spawn(world.rotation.clone().run(|_| {}));
        world.rotation.begin(true).await.unwrap();
        let view = world.rotation.view().await.unwrap();
        assert!(view.signing != before && view.next.is_none() && view.replaced.is_empty(), "{view:?}");
        assert_eq!((state_of(&view, &before), state_of(&view, &view.signing)), (Some(true), Some(false)));
        assert!(matches!(world.rotation.retire(&view.signing).await, Err(RotationError::Signs)));
        assert!(matches!(world.rotation.retire("unknown").await, Err(RotationError::Refused("key_not_found"))));
        running.abort();
        world.node.shutdown().await;
    }
}
