//! The routes of a node in the same process: for development, tests and the simulator.

use std::convert::Infallible;
use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};

use super::{Api, Unreachable};

/// Calls a router as the service it is, without a socket. `B` is the body that the router takes.
pub struct InProcess<S, B> {
    router: S,
    body: PhantomData<fn(B)>,
}

impl<S, B> InProcess<S, B> {
    pub fn new(router: S) -> InProcess<S, B> {
        InProcess { router, body: PhantomData }
    }
}

impl<S, B, C> Api for InProcess<S, B>
where
    S: Service<http::Request<B>, Response = http::Response<C>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: From<Bytes> + Send + 'static,
    C: BodyExt<Data = Bytes> + Send,
{
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Unreachable>> {
        let router = self.router.clone();
        async move {
            let answered = router.oneshot(request.map(B::from)).await.unwrap_or_else(|never| match never {});
            let (head, body) = answered.into_parts();
            let body = body.collect().await.map_err(|_| Unreachable("the answer broke off".into()))?;
            Ok(http::Response::from_parts(head, body.to_bytes()))
        }
        .boxed()
    }
}
