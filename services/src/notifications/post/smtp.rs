//! Mails to an SMTP server.
//!
//! A 4xx answer, no answer and a connection that broke (also after the whole mail was handed over, when nobody knows whether
//! it was taken) mean later; a 5xx answer means never, but for those about our own credentials.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{Post, Undelivered};
use crate::notifications::Mail;

/// For one step of the conversation.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// Connections at once.
const CONNECTIONS_MAX: u32 = 4;
/// Answers about who we are rather than about the mail (RFC 4954, section 6): an operator can mend them.
const CREDENTIALS: [u16; 4] = [530, 534, 535, 538];

/// An SMTP server.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

/// A URL that is not one of an SMTP server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an SMTP server's URL, such as smtp://localhost:25 or smtps://user:password@mail.example.org: {0}")]
pub struct SmtpUrlError(String);

impl Smtp {
    /// The server at `url`: `smtp://` (with `?tls=required` for STARTTLS) or `smtps://`. Nothing is connected yet.
    pub fn new(url: &str) -> Result<Smtp, SmtpUrlError> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|error| {
            // The URL may carry a password: only the reason is told.
            SmtpUrlError(error.to_string())
        })?;
        let pool = PoolConfig::new().max_size(CONNECTIONS_MAX);
        Ok(Smtp { transport: builder.timeout(Some(STEP_TIMEOUT)).pool_config(pool).build() })
    }
}

impl Post for Smtp {
    fn deliver<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            let Err(error) = self.transport.send_raw(mail.envelope(), mail.bytes()).await else { return Ok(()) };
            let code = error.status().map(u16::from);
            if error.is_permanent() && !code.is_some_and(|code| CREDENTIALS.contains(&code)) {
                return Err(Undelivered::Never(said(&error)));
            }
            Err(Undelivered::Later(said(&error)))
        }
        .boxed()
    }
}

/// The kind of error and the code. The server's own words are left out: they tend to repeat the reader's address.
fn said(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the SMTP server answered {code}"),
        None if error.is_timeout() => "the SMTP server did not answer in time".into(),
        None => format!("the SMTP server: {}", crate::client::innermost(error)),
    }
}
