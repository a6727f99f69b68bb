//! The receiving side: lets peers in, and hands their requests to Raft and to the node.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use openraft::raft::{AppendEntriesResponse, TransferLeaderError};

use super::message::{self, ManageMessage, TransferMessage, TransferRefusal, VoteAnswer, VoteMessage, method};
use super::snapshot::Incoming;
use crate::format::{self, VoteRecord};
use crate::node::Core;
use crate::plan::Change;
use crate::proposer::batch;
use crate::raise::RaiseMessage;
use crate::session::{Acceptor, Admission, Failure, Handler, Hello, Refused, Welcome};

/// Lets peers of this cluster in.
pub struct Door {
    core: Arc<Core>,
}

impl Door {
    pub fn new(core: Arc<Core>) -> Door {
        Door { core }
    }

    /// Whether the peer is who the membership says it is, and expects who is here.
    fn check(&self, hello: &Hello) -> Result<(), Refused> {
        let core = &self.core;
        let place = core.links.place;
        if hello.cluster_id != place.cluster_id {
            return Err(Refused::OtherCluster { found: place.cluster_id });
        }
        if hello.expected_node_id != place.node_id {
            return Err(Refused::OtherNode { found: place.node_id });
        }
        if hello.expected_instance != core.instance {
            return Err(Refused::OtherInstance { node_id: place.node_id });
        }
        let known = core.record_of(hello.node_id);
        if known.is_some_and(|record| record.instance != hello.instance) {
            return Err(Refused::OtherInstance { node_id: hello.node_id });
        }
        // What it has acknowledged since it said so counts too: it may try again, and knows itself whether it has lost anything.
        let floor = core.links.floors.of(hello.node_id);
        match floor.missed_by(&hello.reach) {
            None => Ok(()),
            Some(what) => {
                tracing::warn!(node_id = hello.node_id, what, "a peer says that it has less than it had acknowledged");
                Err(Refused::WentBack { node_id: hello.node_id, what: what.into(), floor })
            }
        }
    }
}

impl Door {
    /// Whether the peer knows the cluster's version, and this node the one that the peer has come to.
    fn check_version(&self, hello: &Hello) -> Result<(), Refused> {
        let links = &self.core.links;
        let (version, own) = (links.version(), links.build());
        if !own.versions.contains(hello.version) {
            let refused = Refused::Version { node_id: links.place.node_id, build: own, version: hello.version };
            // A member says so, or whoever reaches a newcomer first: this node has nothing to say in a cluster that it cannot follow.
            if self.core.record_of(hello.node_id).is_some() || self.core.knows_nobody() {
                links.too_old(hello.version);
            }
            return Err(refused);
        }
        if !hello.build.versions.contains(version) {
            return Err(Refused::Version { node_id: hello.node_id, build: hello.build.clone(), version });
        }
        Ok(())
    }
}

impl Acceptor for Door {
    fn accept<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Admission> {
        async move {
            self.check(hello)?;
            self.check_version(hello)?;
            let links = &self.core.links;
            let welcome = Welcome { reach: links.reach().await?, build: links.build(), version: links.version() };
            links.heard_build(hello.node_id, hello.build.clone());
            tracing::debug!(
                node_id = hello.node_id,
                build = hello.build.name,
                applied = hello.applied,
                "a peer is let in"
            );
            let handler = Requests { core: self.core.clone(), incoming: Incoming::default() };
            Ok((welcome, Box::new(handler) as Box<dyn Handler>))
        }
        .boxed()
    }
}

/// Answers the requests of one session.
struct Requests {
    core: Arc<Core>,
    /// The snapshot that this session is sending.
    incoming: Incoming,
}

type Answer = Result<Bytes, Failure>;

fn malformed(error: impl std::fmt::Display) -> Failure {
    Failure::Malformed(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Failure {
    Failure::Stopped(error.to_string())
}

impl Handler for Requests {
    fn handle(&mut self, method: u8, body: Bytes) -> BoxFuture<'static, Answer> {
        let core = self.core.clone();
        match method {
            method::APPEND => append(core, body).boxed(),
            method::VOTE => vote(core, body).boxed(),
            method::PRE_VOTE => pre_vote(core, body).boxed(),
            method::TRANSFER_LEADER => transfer_leader(core, body).boxed(),
            method::READ_INDEX => async move { Ok(format::encode(&core.reads().index(true).await)) }.boxed(),
            method::CLOCK => async move { Ok(format::encode(&core.guard.wall_ms())) }.boxed(),
            method::PROPOSE => propose(core, body).boxed(),
            method::MANAGE => manage(core, body).boxed(),
            method::PROGRESS => async move { Ok(format::encode(&core.progress_here().await)) }.boxed(),
            method::PLAN => plan(core, body).boxed(),
            method::RAISE => raise(core, body).boxed(),
            method::SNAPSHOT_BEGIN => self.incoming.begin(core, body),
            method::SNAPSHOT_CHUNK => self.incoming.chunk(body),
            method::SNAPSHOT_END => self.incoming.end(core, body),
            unknown => async move { Err(Failure::UnknownMethod(unknown)) }.boxed(),
        }
    }
}

async fn append(core: Arc<Core>, body: Bytes) -> Answer {
    let bytes = body.len() as u64;
    let request = message::get_append(body).map_err(malformed)?;
    if !request.entries.is_empty() {
        core.logged_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    let response = core.raft.append_entries(request).await.map_err(stopped)?;
    if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
        core.heard_ms.store(core.guard.monotonic_ms().max(1), Ordering::Relaxed);
    }
    Ok(message::encode_appended(&response))
}

async fn vote(core: Arc<Core>, body: Bytes) -> Answer {
    let request: VoteMessage = format::decode(&body).map_err(malformed)?;
    let response = core.raft.vote(request.into()).await.map_err(stopped)?;
    Ok(format::encode(&VoteAnswer::from(response)))
}

async fn pre_vote(core: Arc<Core>, body: Bytes) -> Answer {
    let request: VoteMessage = format::decode(&body).map_err(malformed)?;
    let response = core.raft.pre_vote(request.into()).await.map_err(stopped)?;
    Ok(format::encode(&VoteAnswer::from(response)))
}

async fn transfer_leader(core: Arc<Core>, body: Bytes) -> Answer {
    let request: TransferMessage = format::decode(&body).map_err(malformed)?;
    let response = core.raft.handle_transfer_leader(request.into()).await.map_err(stopped)?;
    let refusal = response.err().map(|error| match error {
        TransferLeaderError::VoteChanged { expected, actual } => {
            TransferRefusal::VoteChanged { expected: VoteRecord::from(expected), actual: VoteRecord::from(actual) }
        }
        TransferLeaderError::LogNotFlushed { expected, actual } => {
            TransferRefusal::LogNotFlushed { expected: expected.map(Into::into), actual: actual.map(Into::into) }
        }
    });
    Ok(format::encode(&refusal))
}

/// Proposals that another node forwards: each group is answered for itself.
async fn propose(core: Arc<Core>, body: Bytes) -> Answer {
    let groups = batch::decode_groups(body, core.versions).map_err(malformed)?;
    let proposer = core.proposer();
    let answers = groups.into_iter().map(|group| proposer.propose(group, true));
    Ok(format::encode(&futures_util::future::join_all(answers).await))
}

async fn plan(core: Arc<Core>, body: Bytes) -> Answer {
    let change: Option<Change> = format::decode(&body).map_err(malformed)?;
    Ok(format::encode(&core.plan_here(change).await))
}

async fn raise(core: Arc<Core>, body: Bytes) -> Answer {
    let message: RaiseMessage = format::decode(&body).map_err(malformed)?;
    Ok(format::encode(&core.raise_here(message).await))
}

async fn manage(core: Arc<Core>, body: Bytes) -> Answer {
    let request: ManageMessage = format::decode(&body).map_err(malformed)?;
    Ok(format::encode(&core.manage_here(request).await))
}
