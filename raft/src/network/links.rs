//! The sessions of one node to its peers: opened when they are needed, shared, and opened again when they have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use holdfast_ledger::version::{Version, Versions};
use openraft::type_config::TypeConfigExt;
use openraft_rt::WatchReceiver as _;

use super::floors::Floors;
use crate::damage::{Damage, Fatal, Fault};
use crate::format::{LogIdRecord, VoteRecord};
use crate::identity::Place;
use crate::session::{CallError, Hello, Lane, OpenError, Reach, Refused, Session};
use crate::settings::Settings;
use crate::state::{ClusterVersion, Raft};
use crate::transport::Transport;
use crate::types::{NodeId, NodeRecord, TypeConfig};
use crate::version::Build;

/// Why a peer did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

impl LinkError {
    /// It is certain that the peer did not get the request.
    pub fn not_sent(&self) -> bool {
        matches!(self, LinkError::Open(_) | LinkError::Call(CallError::NotSent))
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Session>>>;

/// A node's links to its peers.
pub struct Links {
    transport: Arc<dyn Transport>,
    pub place: Place,
    instance: u128,
    pub settings: Settings,
    pub floors: Floors,
    /// For what peers say of this node's own data.
    fatal: Fatal,
    slots: Mutex<BTreeMap<(NodeId, Lane), Slot>>,
    raft: OnceLock<Raft>,
    /// What this build knows, as it runs.
    versions: Versions,
    /// What the cluster is at, as far as this node has applied.
    version: ClusterVersion,
    /// What peers said of themselves when they last greeted or were greeted.
    builds: Mutex<BTreeMap<NodeId, Build>>,
}

impl Links {
    /// `place` and `instance` say who this node is, `versions` what it knows, `version` what the cluster is at.
    pub fn new(
        transport: Arc<dyn Transport>,
        (place, instance): (Place, u128),
        settings: Settings,
        fatal: Fatal,
        (versions, version): (Versions, ClusterVersion),
    ) -> Links {
        Links {
            transport,
            place,
            instance,
            settings,
            fatal,
            floors: Floors::default(),
            slots: Mutex::default(),
            raft: OnceLock::new(),
            versions,
            version,
            builds: Mutex::default(),
        }
    }

    /// What the cluster is at, as far as this node has applied.
    pub fn version(&self) -> Version {
        self.version.load(Ordering::Acquire)
    }

    /// What this node runs.
    pub fn build(&self) -> Build {
        Build::of(self.versions)
    }

    /// A peer has said what it runs.
    pub fn heard_build(&self, id: NodeId, build: Build) {
        self.builds.lock().expect("nothing panics while it holds the builds").insert(id, build);
    }

    /// What the peers run that have said so, and `own` of this node.
    pub fn builds(&self, own: Build) -> BTreeMap<NodeId, Build> {
        let mut builds = self.builds.lock().expect("nothing panics while it holds the builds").clone();
        builds.insert(self.place.node_id, own);
        builds
    }

    /// The cluster is at a version that this node does not know: it stops.
    pub fn too_old(&self, version: Version) {
        let what = "the cluster".to_string();
        self.fatal.latch(Fault::Version { what, found: version, known: self.versions });
    }

    /// Tells the links of the node that they serve, once there is one.
    pub fn attach(&self, raft: Raft) {
        assert!(self.raft.set(raft).is_ok(), "a node is attached to its links once");
    }

    /// Asks for a snapshot of what is applied here.
    pub async fn make_snapshot(&self) {
        if let Some(raft) = self.raft.get() {
            // Replication that has stopped needs none.
            let _ = raft.trigger().snapshot().await;
        }
    }

    /// How far this node's own data reaches.
    pub async fn reach(&self) -> Result<Reach, Refused> {
        let raft = self.raft.get().ok_or(Refused::Stopping)?;
        raft.with_raft_state(|state| Reach {
            vote: Some(VoteRecord::from(*state.vote_ref())),
            last_log_id: state.log_ids.last().copied().map(LogIdRecord::from),
        })
        .await
        .map_err(|_| Refused::Stopping)
    }

    /// The last entry that openraft says is applied.
    fn applied(&self) -> u64 {
        let Some(raft) = self.raft.get() else { return 0 };
        raft.metrics().borrow_watched().last_applied.map_or(0, |id| id.index())
    }

    /// The session to a peer for `lane`, opened if there is none. Whoever gives up waiting does not end the opening: a vote's time
    /// is shorter than a busy machine may take to connect, and nobody would ever be elected if each began anew.
    pub async fn session(self: &Arc<Self>, to: NodeId, record: &NodeRecord, lane: Lane) -> Result<Session, OpenError> {
        let slot = self.slots.lock().expect("no holder of the slots panics").entry((to, lane)).or_default().clone();
        let mut slot = slot.lock_owned().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.is_closed()) {
            return Ok(session.clone());
        }
        *slot = None;
        let (links, record) = (self.clone(), record.clone());
        let opening = tokio::spawn(async move {
            let session = links.open(to, &record, lane).await?;
            *slot = Some(session.clone());
            Ok(session)
        });
        opening.await.unwrap_or(Err(OpenError::Ended))
    }

    async fn open(&self, to: NodeId, record: &NodeRecord, lane: Lane) -> Result<Session, OpenError> {
        let hello = Hello {
            cluster_id: self.place.cluster_id,
            node_id: self.place.node_id,
            instance: self.instance,
            reach: self.reach().await.map_err(OpenError::Refused)?,
            expected_node_id: to,
            expected_instance: record.instance,
            lane,
            build: self.build(),
            version: self.version(),
            applied: self.applied(),
        };
        self.greet(&record.peer_addr, &hello, || self.reach()).await
    }

    /// Opens a session with this greeting; `own_reach` says how far this node's data reaches by now.
    async fn greet<F>(&self, addr: &str, hello: &Hello, own_reach: impl Fn() -> F) -> Result<Session, OpenError>
    where
        F: Future<Output = Result<Reach, Refused>>,
    {
        let (to, timeout) = (hello.expected_node_id, self.settings.connect_timeout());
        // As it is before the peer is asked: it may acknowledge more while its answer is under way.
        let floor = self.floors.of(to);
        let opened = Session::open(&*self.transport, addr, hello, timeout).await;
        if let Err(OpenError::Refused(Refused::WentBack { node_id, floor, .. })) = &opened
            && *node_id == self.place.node_id
            && let Some(what) = floor.missed_by(&own_reach().await.map_err(OpenError::Refused)?)
        {
            // The peer remembers what this node had acknowledged; another may not, and would let it vote.
            self.fatal.latch(Damage::WentBack { what: what.into() }.into());
        }
        if let Err(OpenError::Refused(Refused::Version { node_id, version, .. })) = &opened
            && *node_id == self.place.node_id
            && !self.versions.contains(*version)
        {
            self.too_old(*version);
        }
        let session = opened?;
        self.heard_build(to, session.welcome().build.clone());
        if let Some(what) = floor.missed_by(&session.welcome().reach) {
            tracing::error!(node_id = to, what, "a peer has lost data that it had acknowledged; it is refused");
            return Err(OpenError::Refused(Refused::WentBack { node_id: to, what: what.into(), floor }));
        }
        Ok(session)
    }

    /// Ends the sessions to all but `members`: who has left the cluster is not connected to any more.
    pub fn keep_only(&self, members: &BTreeSet<NodeId>) {
        self.slots.lock().expect("no holder of the slots panics").retain(|(id, _), _| members.contains(id));
    }

    /// One request to a peer, all within `timeout`.
    pub async fn call(
        self: &Arc<Self>,
        to: NodeId,
        record: &NodeRecord,
        lane: Lane,
        method: u8,
        body: &[u8],
        timeout: Duration,
    ) -> Result<Bytes, LinkError> {
        let deadline = TypeConfig::now() + timeout;
        let opened = TypeConfig::timeout_at(deadline, self.session(to, record, lane)).await;
        let session = match opened {
            Ok(session) => session?,
            Err(_) => return Err(LinkError::Open(OpenError::TimedOut(timeout))),
        };
        self.within(&session, timeout, session.call(method, body)).await
    }

    /// Waits for an answer on `session`. A session from which nothing comes any more is ended, so that the next request opens
    /// another one.
    pub async fn within<T>(
        &self,
        session: &Session,
        timeout: Duration,
        answer: impl Future<Output = Result<T, CallError>> + Send,
    ) -> Result<T, LinkError> {
        match TypeConfig::timeout(timeout, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                self.suspect(session);
                Err(LinkError::TimedOut(timeout))
            }
        }
    }

    /// Ends a session that has been silent for as long as an election takes.
    pub fn suspect(&self, session: &Session) {
        if session.silent_for() >= self.settings.election_max() {
            session.close();
        }
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use holdfast_ledger::version::FIRST;

    use super::*;
    use crate::session::{Acceptor, Admission, Handler, Welcome, serve};
    use crate::transport::memory::MemoryNetwork;
    use crate::types::LogId;

    /// Does something while a greeting is under way, and answers it.
    struct Host<D> {
        meanwhile: D,
        answer: Result<Reach, Refused>,
    }

    struct Nothing;

    impl Handler for Nothing {
        fn handle(&mut self, _: u8, body: Bytes) -> BoxFuture<'static, Result<Bytes, crate::session::Failure>> {
            std::future::ready(Ok(body)).boxed()
        }
    }

    impl<D: Fn() + Send + Sync + 'static> Acceptor for Host<D> {
        fn accept<'a>(&'a self, _: &'a Hello) -> BoxFuture<'a, Admission> {
            (self.meanwhile)();
            let welcome = |reach| Welcome { reach, build: Build::of(Versions::SHIPPED), version: 1 };
            let answer = self.answer.clone().map(|reach| (welcome(reach), Box::new(Nothing) as Box<dyn Handler>));
            std::future::ready(answer).boxed()
        }
    }

    fn reach(index: u64) -> Reach {
        let vote = Some(VoteRecord { term: 1, node: 1, committed: true });
        Reach { vote, last_log_id: Some(LogIdRecord { term: 1, index }) }
    }

    fn log_id(index: u64) -> Option<LogId> {
        Some(LogId::new_term_index(1, index))
    }

    /// Node 1 says that it has 5 entries and greets node 2, which answers so; by then node 1 has `own` entries.
    async fn greeted(
        links: &Arc<Links>,
        network: &MemoryNetwork,
        host: Host<impl Fn() + Send + Sync + 'static>,
        own: u64,
    ) -> Result<Session, OpenError> {
        let mut listener = network.listen("host:0").await.expect("a free address");
        let addr = listener.local_addr();
        tokio::spawn(async move {
            let connection = listener.accept().await.expect("somebody connects");
            serve(connection, &host).await;
        });
        let hello = Hello {
            cluster_id: 1,
            node_id: 1,
            instance: 1,
            reach: reach(5),
            expected_node_id: 2,
            expected_instance: 2,
            lane: Lane::Control,
            build: links.build(),
            version: links.version(),
            applied: 0,
        };
        links.greet(&addr, &hello, || std::future::ready(Ok(reach(own)))).await
    }

    fn links(network: &MemoryNetwork) -> Arc<Links> {
        let place = Place { cluster_id: 1, node_id: 1 };
        let version = (Versions::SHIPPED, ClusterVersion::new(FIRST.into()));
        Arc::new(Links::new(Arc::new(network.clone()), (place, 1), Settings::default(), Fatal::default(), version))
    }

    #[tokio::test]
    async fn what_a_peer_acknowledges_while_it_answers_is_not_held_against_its_answer() {
        let network = MemoryNetwork::default();
        let links = links(&network);
        let floors = links.clone();
        let acknowledges = move || floors.floors.acknowledged(2, log_id(9), log_id(9));
        let overtaken = Host { meanwhile: acknowledges, answer: Ok(reach(7)) };
        greeted(&links, &network, overtaken, 5).await.expect("it said so before it acknowledged more");
        let went_back = Host { meanwhile: || {}, answer: Ok(reach(7)) };
        let refused = greeted(&links, &network, went_back, 5).await.err();
        assert!(matches!(refused, Some(OpenError::Refused(Refused::WentBack { node_id: 2, .. }))), "{refused:?}");
    }

    #[tokio::test]
    async fn who_is_told_that_he_went_back_looks_at_what_he_holds_by_then() {
        let network = MemoryNetwork::default();
        let links = links(&network);
        let floor = crate::session::Floor { term: 1, log_id: Some(LogIdRecord { term: 1, index: 8 }) };
        let told =
            || Host { meanwhile: || {}, answer: Err(Refused::WentBack { node_id: 1, what: "log".into(), floor }) };
        assert!(greeted(&links, &network, told(), 8).await.is_err(), "it may try again");
        assert!(links.fatal.latched().is_none(), "its greeting was overtaken by what it has acknowledged since");
        assert!(greeted(&links, &network, told(), 7).await.is_err());
        assert!(links.fatal.latched().is_some(), "it has lost an entry");
    }
}
