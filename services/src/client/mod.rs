//! How a service reaches the cluster's HTTP routes: over the network, or inside one process.
//!
//! A service is written against [`Api`] and so depends on routes and bodies, never on the crate that serves them. What every
//! caller wants (a signed token, JSON, errors told apart by what they mean for a retry) is in [`Signed`].

mod in_process;
#[cfg(not(madsim))]
mod over_http;
mod signed;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use in_process::InProcess;
#[cfg(not(madsim))]
pub(crate) use over_http::innermost;
#[cfg(not(madsim))]
pub use over_http::{OverHttp, Patience, UrlError};
pub use signed::{CallError, Signed};

/// No node answered. What was asked may or may not have been done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// The cluster's HTTP routes. The request's URI is a path with its query; who carries it out adds the rest.
pub trait Api: Send + Sync + 'static {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Unreachable>>;
}
