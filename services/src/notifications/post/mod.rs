//! Where mails go: a folder, or an SMTP server.

#[cfg(not(madsim))]
mod folder;
#[cfg(not(madsim))]
mod smtp;

use futures_util::future::BoxFuture;

use super::Mail;

#[cfg(not(madsim))]
pub use folder::Folder;
#[cfg(not(madsim))]
pub use smtp::{Smtp, SmtpUrlError};

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// Not now, or nobody knows whether: the same mail may be posted again.
    #[error("{0}")]
    Later(String),
    /// It was refused for good.
    #[error("{0}")]
    Never(String),
}

/// Takes mails.
pub trait Post: Send + Sync + 'static {
    fn deliver<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), Undelivered>>;
}
