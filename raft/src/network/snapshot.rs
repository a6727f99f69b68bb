//! A snapshot on its way to a follower: its manifest, its files in chunks, and the request to install it.
//!
//! A few chunks are under way at once; the receiver writes them in the order of sending. A transfer that breaks is begun
//! anew: files are many and small enough, and openraft tries again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use openraft::errors::{NetworkError, StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::message::method;
use super::{LinkError, Peer};
use crate::format::{self, VoteRecord};
use crate::node::Core;
use crate::session::{Call, CallError, Failure, Lane, Session};
use crate::snapshot::{Manifest, SnapshotFiles, SnapshotReceiver};
use crate::types::{TypeConfig, Vote};

/// openraft's snapshot, over our files.
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFiles>;

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks under way at once.
const CHUNKS_IN_FLIGHT_MAX: usize = 4;
/// How long one chunk may take to be sent, written and acknowledged.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct BeginMessage {
    manifest: Manifest,
}

/// The leader's vote in a request to install, and the follower's in its answer.
#[derive(Serialize, Deserialize)]
struct VoteOnly {
    vote: VoteRecord,
}

/// Sends a snapshot and waits until it is installed.
pub(super) async fn send(
    peer: &Peer,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
    let links = &peer.links;
    let session = links.session(peer.target, &peer.record, Lane::Snapshot).await;
    let session = session.map_err(|error| Unreachable::new(&error))?;
    let files = snapshot.snapshot;
    let begin = format::encode(&BeginMessage { manifest: files.manifest().clone() });
    let begun = links.within(&session, CHUNK_TIMEOUT, session.call(method::SNAPSHOT_BEGIN, &begin)).await;
    begun.map_err(streaming_error)?;
    send_files(peer, &session, &files).await?;
    let end = format::encode(&VoteOnly { vote: vote.into() });
    let timeout = Duration::from_millis(links.settings.snapshot_timeout_ms);
    let installed = links.within(&session, timeout, session.call(method::SNAPSHOT_END, &end)).await;
    let installed: VoteOnly =
        format::decode(&installed.map_err(streaming_error)?).map_err(|error| peer.malformed(error))?;
    if installed.vote.term == vote.leader_id.term {
        let last = snapshot.meta.last_log_id;
        links.floors.acknowledged(peer.target, last, last);
    }
    Ok(SnapshotResponse::new(installed.vote.into()))
}

async fn send_files(peer: &Peer, session: &Session, files: &SnapshotFiles) -> Result<(), StreamingError<TypeConfig>> {
    let mut in_flight: VecDeque<Call> = VecDeque::new();
    for (number, record) in files.manifest().files.iter().enumerate() {
        let (mut offset, mut crc) = (0, 0);
        while offset < record.bytes {
            let chunk = match files.read(number, offset, CHUNK_BYTES).await {
                Ok(chunk) if !chunk.is_empty() => chunk,
                Ok(_) => return Err(condemn(peer, files, io::ErrorKind::UnexpectedEof.into()).await),
                Err(error) => return Err(condemn(peer, files, error).await),
            };
            offset += chunk.len() as u64;
            crc = crc32c::crc32c_append(crc, &chunk);
            if offset == record.bytes && crc != record.crc32c {
                return Err(condemn(peer, files, io::Error::other("a file's checksum is wrong")).await);
            }
            if in_flight.len() >= CHUNKS_IN_FLIGHT_MAX {
                acknowledged(peer, session, in_flight.pop_front()).await?;
            }
            let start = session.start(method::SNAPSHOT_CHUNK, chunk.len() + 4, |frame| {
                frame.put_u32_le(number as u32);
                frame.put_slice(&chunk);
            });
            let call = peer.links.within(session, CHUNK_TIMEOUT, start).await.map_err(streaming_error)?;
            in_flight.push_back(call);
        }
    }
    while let Some(call) = in_flight.pop_front() {
        acknowledged(peer, session, Some(call)).await?;
    }
    Ok(())
}

async fn acknowledged(peer: &Peer, session: &Session, call: Option<Call>) -> Result<(), StreamingError<TypeConfig>> {
    let Some(call) = call else { return Ok(()) };
    peer.links.within(session, CHUNK_TIMEOUT, call).await.map(|_| ()).map_err(streaming_error)
}

/// The sender's own snapshot cannot be used: another one is made, and openraft tries again.
async fn condemn(peer: &Peer, files: &SnapshotFiles, error: io::Error) -> StreamingError<TypeConfig> {
    tracing::error!(%error, path = files.path(), "a snapshot is damaged; another one is made");
    files.condemn();
    peer.links.make_snapshot().await;
    Unreachable::new(&error).into()
}

fn streaming_error(error: LinkError) -> StreamingError<TypeConfig> {
    match error {
        LinkError::Call(CallError::NotSent | CallError::Lost) => NetworkError::new(&error).into(),
        _ => Unreachable::new(&error).into(),
    }
}

/// The snapshot that one session is receiving.
#[derive(Default)]
pub(super) struct Incoming {
    // Whoever asks for the lock first gets it first, so chunks are written in the order of their arrival.
    receiver: Arc<Mutex<Option<SnapshotReceiver>>>,
}

type Answer = Result<Bytes, Failure>;

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Other(format!("the snapshot cannot be received: {error}"))
}

fn nothing_begun() -> Failure {
    failed("nothing was begun, or it has failed")
}

impl Incoming {
    pub fn begin(&mut self, core: Arc<Core>, body: Bytes) -> BoxFuture<'static, Answer> {
        let slot = self.receiver.clone();
        async move {
            let mut slot = slot.lock().await;
            *slot = None;
            let begin: BeginMessage = format::decode(&body).map_err(|error| Failure::Malformed(error.to_string()))?;
            *slot = Some(core.state().map_err(failed)?.receive_snapshot(begin.manifest).await.map_err(failed)?);
            Ok(Bytes::new())
        }
        .boxed()
    }

    pub fn chunk(&mut self, mut body: Bytes) -> BoxFuture<'static, Answer> {
        let slot = self.receiver.clone();
        async move {
            let mut slot = slot.lock().await;
            let file = body.try_get_u32_le().map_err(|error| Failure::Malformed(error.to_string()))?;
            let receiver = slot.as_mut().ok_or_else(nothing_begun)?;
            if let Err(error) = receiver.write(file as usize, body).await {
                *slot = None;
                return Err(failed(error));
            }
            Ok(Bytes::new())
        }
        .boxed()
    }

    pub fn end(&mut self, core: Arc<Core>, body: Bytes) -> BoxFuture<'static, Answer> {
        let slot = self.receiver.clone();
        async move {
            let receiver = slot.lock().await.take().ok_or_else(nothing_begun)?;
            let end: VoteOnly = format::decode(&body).map_err(|error| Failure::Malformed(error.to_string()))?;
            let files = receiver.finish().await.map_err(failed)?;
            let meta = files.meta().map_err(failed)?;
            let last = meta.last_log_id;
            let snapshot = Snapshot { meta, snapshot: files };
            let installed = core.raft.install_full_snapshot(end.vote.into(), snapshot).await.map_err(failed)?;
            // The leader takes the answer for an acknowledgement of all that the snapshot holds. openraft gives it at once where the
            // same entries have come meanwhile, synced or not.
            if let Some(last) = last
                && installed.vote.leader_id.term == end.vote.term
            {
                core.synced(last.index()).await.map_err(failed)?;
            }
            Ok(format::encode(&VoteOnly { vote: installed.vote.into() }))
        }
        .boxed()
    }
}
