//! openraft's network over sessions: what a leader, a candidate or a snapshot's sender asks of a peer.
//!
//! Appends are pipelined: requests go out as openraft makes them, several at once, and answers are handed back in the order
//! of the requests. Each append stands for itself at the receiver, which processes them in the order of arrival, so an
//! append that got lost makes those behind it conflict, never apply.
//!
//! Each of a follower's clients (entries, heartbeats, snapshots) has a connection of its own.

pub mod dispatch;
mod floors;
mod links;
pub mod message;
mod pipeline;
mod snapshot;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use openraft::RPCTypes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

pub use links::{LinkError, Links};

use crate::format;
use crate::session::{CallError, Lane};
use crate::snapshot::SnapshotFiles;
use crate::types::{NodeId, NodeRecord, TypeConfig, Vote};
use message::{TransferMessage, TransferRefusal, VoteAnswer, VoteMessage, method};

/// Makes openraft's clients.
#[derive(Clone)]
pub struct Network {
    links: Arc<Links>,
}

impl Network {
    pub fn new(links: Arc<Links>) -> Network {
        Network { links }
    }

    fn client(&self, target: NodeId, record: &NodeRecord, lane: Lane) -> Peer {
        Peer { links: self.links.clone(), target, record: record.clone(), lane }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, node: &NodeRecord) -> Peer {
        self.client(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &NodeRecord) -> Peer {
        self.client(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &NodeRecord) -> Peer {
        self.client(target, node, Lane::Snapshot)
    }
}

/// A client of one peer, on one lane.
pub struct Peer {
    links: Arc<Links>,
    target: NodeId,
    record: NodeRecord,
    lane: Lane,
}

impl Peer {
    /// One urgent request, within `soft_ttl`.
    async fn ask(
        &self,
        action: RPCTypes,
        method: u8,
        body: &[u8],
        option: &RPCOption,
    ) -> Result<bytes::Bytes, RPCError<TypeConfig>> {
        let answer = self.links.call(self.target, &self.record, Lane::Control, method, body, option.soft_ttl()).await;
        answer.map_err(|error| self.rpc_error(action, error))
    }

    fn rpc_error(&self, action: RPCTypes, error: LinkError) -> RPCError<TypeConfig> {
        match error {
            LinkError::TimedOut(timeout) => self.timed_out(action, timeout).into(),
            // The connection broke: the next attempt opens another one, or finds that it cannot.
            LinkError::Call(CallError::NotSent | CallError::Lost) => NetworkError::new(&error).into(),
            _ => Unreachable::new(&error).into(),
        }
    }

    fn timed_out(&self, action: RPCTypes, timeout: Duration) -> Timeout<TypeConfig> {
        Timeout { action, id: self.links.place.node_id, target: self.target, timeout }
    }

    /// An answer that is not one: this peer's build cannot be worked with.
    fn malformed(&self, error: impl std::fmt::Display) -> Unreachable<TypeConfig> {
        Unreachable::from_string(format!("node {} answered what cannot be read: {error}", self.target))
    }

    async fn ask_for_vote(
        &self,
        method: u8,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteAnswer, RPCError<TypeConfig>> {
        let body = format::encode(&VoteMessage::from(&request));
        let answer = self.ask(RPCTypes::Vote, method, &body, &option).await?;
        Ok(format::decode(&answer).map_err(|error| self.malformed(error))?)
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotFiles;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let input = Box::pin(stream::once(async { request }));
        let mut answers = RaftNetworkV2::stream_append(self, input, option).await?;
        match answers.next().await {
            Some(answer) => Ok(match answer? {
                Ok(_) => AppendEntriesResponse::Success,
                Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
                Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
            }),
            None => Err(NetworkError::new(&CallError::Lost).into()),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>, RPCError<TypeConfig>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(std::future::ready(Ok(pipeline::answers(self, input, option))))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask_for_vote(method::VOTE, request, option).await?;
        self.links.floors.voted(self.target, answer.vote);
        Ok(answer.into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        // Nothing is stored for this, so the answer's vote, which may be the hypothetical one, is no floor.
        Ok(self.ask_for_vote(method::PRE_VOTE, request, option).await?.into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: snapshot::Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = snapshot::send(self, vote, snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = format::encode(&TransferMessage::from(&request));
        let answer = self.ask(RPCTypes::TransferLeader, method::TRANSFER_LEADER, &body, &option).await?;
        let refusal: Option<TransferRefusal> = format::decode(&answer).map_err(|error| self.malformed(error))?;
        Ok(match refusal {
            None => Ok(()),
            Some(TransferRefusal::VoteChanged { expected, actual }) => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            Some(TransferRefusal::LogNotFlushed { expected, actual }) => Err(TransferLeaderError::LogNotFlushed {
                expected: expected.map(Into::into),
                actual: actual.map(Into::into),
            }),
        })
    }
}
