//! What changes, while somebody looks: server-sent events of tickets, orders and the cluster.
//!
//! Every stream follows this node's own state: it waits until the node has applied more, looks at what it watches, and says
//! what is new, under the log index of the state that it saw. A client that comes back names the last index it got
//! (`Last-Event-ID`) and is told only of what changed after it, on whichever node.
//!
//! Nothing is queued for a reader: a stream looks when its connection takes more, so a slow one sees fewer states in between,
//! never old ones, and one that takes nothing at all is ended by the server's bound on writing. Streams are bounded in
//! number, for the node and for an address.
//!
//! What this deliberately does not do: tell every state in between. Whoever needs each change follows the events.

mod availability;
mod frame;
mod slots;
mod streams;

use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use holdfast_ledger::query;
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::request::Parts;
use http::{HeaderValue, header};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use utoipa::IntoParams;

pub use self::frame::Frame;
use self::slots::Slot;
pub use self::slots::Slots;
pub use self::streams::routes;
use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::limits::Peer;
use crate::router::QueryOf;
use crate::session::{self, Caller, Identity};

/// A comment goes out after this long without anything else, so that nobody in between thinks the connection dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The usual time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// When a browser whose stream broke off asks again, in milliseconds.
const RETRY_MS: u64 = 2_000;

/// Raised when the server is about to stop: streams end then, as they would never end by themselves. Put into requests by
/// the server; without one a stream ends with its reader.
#[derive(Clone)]
pub struct Stopping(pub watch::Receiver<bool>);

/// Something that is looked at again and again.
pub trait Watched: Send + Sync + 'static {
    /// Asks what is to be asked before a look.
    fn prepare(&mut self, _app: &App) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// What is new since the last look. Short: apply waits for it.
    fn look(&mut self, app: &App, state: &Ledger) -> Result<Vec<Frame>, StoreError>;

    /// How long to wait at most before the next look, where nothing is applied meanwhile.
    fn look_every(&self) -> Duration {
        KEEP_ALIVE
    }

    /// The shortest time between two looks: under load every entry would wake every stream.
    fn rest(&self) -> Duration {
        LOOK_AGAIN
    }
}

/// Where a client left off, and in the query for those who cannot send the header.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResumeQuery {
    /// The last log index that the client has seen; the header `Last-Event-ID` says the same.
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
}

/// A reader who wants a stream: who he is, where he left off, and his slot.
pub struct Reader {
    caller: Option<Caller>,
    /// The last log index that he has seen.
    resumes_at: Option<u64>,
    stopping: Option<watch::Receiver<bool>>,
    slot: Slot,
}

impl Reader {
    /// What he has seen last: a log index, or what else the stream's ids are.
    pub fn resumes_at(&self) -> Option<u64> {
        self.resumes_at
    }

    /// The state to begin with must include what the reader has seen.
    fn freshness(&self) -> Consistency {
        self.resumes_at.map_or(Consistency::Linearizable, Consistency::AtLeast)
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Reader, Fault> {
        let QueryOf(query): QueryOf<ResumeQuery> = QueryOf::from_request_parts(parts, app).await?;
        let header = parts.headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
        let text = header.or(query.last_event_id.as_deref()).filter(|text| !text.is_empty());
        let malformed = |_| Fault::bad_field("Last-Event-ID", "invalid", "Last-Event-ID is a log index");
        let resumes_at = text.map(|text| text.parse().map_err(malformed)).transpose()?;
        let caller = match parts.extensions.get::<Identity>() {
            Some(Identity::SignedIn(caller)) => Some(*caller),
            _ => None,
        };
        let peer = parts.extensions.get::<Peer>().copied().filter(|peer| app.limiter.applies_to(Some(*peer)));
        Ok(Reader {
            caller,
            resumes_at,
            stopping: parts.extensions.get::<Stopping>().map(|Stopping(flag)| flag.clone()),
            slot: app.streams.take(peer)?,
        })
    }
}

/// The answer that goes on until its reader leaves.
pub fn respond(app: App, reader: Reader, watched: impl Watched) -> Response {
    let Reader { caller, stopping, slot, .. } = reader;
    let running =
        Running { app, caller, stopping, watched, said_at: Instant::now(), began: false, ended: false, _slot: slot };
    let frames = stream::unfold(running, |mut running| async move {
        let bytes = running.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), running))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that collects the answer would hold it back for ever.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A stream on its way.
struct Running<W> {
    app: App,
    /// A signed-in reader's stream ends with his session.
    caller: Option<Caller>,
    stopping: Option<watch::Receiver<bool>>,
    watched: W,
    /// When something was last said.
    said_at: Instant,
    began: bool,
    ended: bool,
    _slot: Slot,
}

/// What ended the wait for something new.
enum Woken {
    Look,
    Stopping,
}

impl<W: Watched> Running<W> {
    /// The next bytes; `None` after the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if !self.began {
            self.began = true;
            return Some(Bytes::from(format!("retry: {RETRY_MS}\n\n")));
        }
        loop {
            if let Some(reason) = self.is_over().await {
                return Some(self.end(reason));
            }
            self.watched.prepare(&self.app).await;
            let (app, watched) = (&self.app, &mut self.watched);
            let look = |state: &Ledger| Ok((watched.look(app, state)?, state.meta().index));
            let Ok((frames, index)) = self.app.node.read(Consistency::Stale, look).await else {
                return Some(self.end("stopping"));
            };
            if !frames.is_empty() {
                return Some(self.say(frame::encode(&frames)));
            }
            if self.said_at.elapsed() >= KEEP_ALIVE {
                return Some(self.say(Bytes::from_static(b": still here\n\n")));
            }
            match self.wait(index).await {
                Woken::Look => sleep(self.watched.rest()).await,
                Woken::Stopping => return Some(self.end("stopping")),
            }
        }
    }

    /// Waits until the node has applied more than `index`, it is time to look or to say something, or the server stops.
    async fn wait(&mut self, index: u64) -> Woken {
        let silent = KEEP_ALIVE.saturating_sub(self.said_at.elapsed());
        let applied = timeout(silent.min(self.watched.look_every()), self.app.node.applied_beyond(index));
        let stopping = async {
            match &mut self.stopping {
                // An error means that the sender is gone, which is the end as well.
                Some(flag) => drop(flag.wait_for(|raised| *raised).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stopping => Woken::Stopping,
            _ = applied => Woken::Look,
        }
    }

    /// Why the reader may not read on.
    async fn is_over(&self) -> Option<&'static str> {
        let caller = self.caller?;
        if session::holds(&self.app, caller.signed_in).await.unwrap_or(true) {
            return None;
        }
        let user = self.app.node.read(Consistency::Stale, |state| query::user(state, caller.signed_in.user)).await;
        let is_banned = user.is_ok_and(|user| user.is_some_and(|user| user.banned));
        Some(if is_banned { "banned" } else { "signed_out" })
    }

    fn say(&mut self, bytes: Bytes) -> Bytes {
        self.said_at = Instant::now();
        bytes
    }

    fn end(&mut self, reason: &'static str) -> Bytes {
        self.ended = true;
        frame::encode(&[Frame::new("end", None, &serde_json::json!({"reason": reason}))])
    }
}
