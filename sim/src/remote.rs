//! The way from a service to the cluster's routes: as a client takes it, one node after the other.
//!
//! A call asks one node. Without an answer the caller is told so, and the next call asks the next node: the services are made
//! to ask again, and they sign each request by the clock of the node that is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_raft::clock::Clock;
use holdfast_services::WallClock;
use holdfast_services::client::{Api, Unreachable};
use http::{Request, Response, header};
use madsim::net::Endpoint;

use crate::hop::{HttpAnswer, HttpCall};
use crate::machine::{Ground, Present, http_addr};

/// How long one call waits.
const WAIT: Duration = Duration::from_secs(2);

/// The routes of whichever node answers.
pub struct Remote {
    endpoint: Endpoint,
    present: Present,
    /// Who is asked next.
    node: Arc<AtomicU32>,
}

impl Remote {
    /// Must be made on the simulated machine that it runs on. The first asked is node `first`.
    pub async fn new(ground: &Ground, first: u32) -> Remote {
        let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("a service's own machine has a free port");
        let present = ground.present.clone();
        let node = Arc::new(AtomicU32::new(present.next(first)));
        Remote { endpoint, present, node }
    }

    /// What the clock of the node says that is asked next. How long a token lives among clocks that are off is not what is looked
    /// at here.
    pub fn clock(&self, ground: &Arc<Ground>) -> WallClock {
        let (ground, node) = (ground.clone(), self.node.clone());
        Arc::new(move || ground.machines[&node.load(Ordering::Relaxed)].clock.wall_ms())
    }

    fn ask_another(&self, than: u32) {
        self.node.store(self.present.next(than), Ordering::Relaxed);
    }
}

impl Api for Remote {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Unreachable>> {
        async move {
            let node = self.node.load(Ordering::Relaxed);
            let asked = self.endpoint.call_timeout(http_addr(node), call(&request), WAIT).await;
            let answer = asked.map_err(|error| {
                self.ask_another(node);
                Unreachable(format!("n{node}: {error}"))
            })?;
            if matches!(answer.status, 401 | 500..) {
                self.ask_another(node);
            }
            Ok(response(answer))
        }
        .boxed()
    }
}

fn call(request: &Request<Bytes>) -> HttpCall {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    HttpCall {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        token: token.and_then(|token| token.strip_prefix("Bearer ")).map(str::to_string),
        idempotency_key: None,
        body: String::from_utf8_lossy(request.body()).into_owned(),
    }
}

fn response(answer: HttpAnswer) -> Response<Bytes> {
    let mut response = Response::builder().status(answer.status);
    if let Some(cursor) = answer.next_cursor {
        response = response.header("x-next-cursor", cursor);
    }
    response.body(Bytes::from(answer.body)).expect("a node's answer is a response")
}
