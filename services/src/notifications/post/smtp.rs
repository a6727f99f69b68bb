//! Mails to an SMTP server.
//!
//! A 4xx answer, no answer and a connection that broke (also after the whole mail was handed over, when nobody knows whether
//! it was taken) mean later; a 5xx answer means never, but for those about our own credentials or the conversation itself.
//!
//! A mail is handed over in a task of its own. Whoever waits for it may be called off in the middle, as when the broker goes
//! away; a connection that was left there would take the next mail for a part of this one.

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
/// The conversation is out of step: the fault of the connection, and not of the mail.
const BAD_SEQUENCE: u16 = 503;

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
            let (transport, envelope, bytes) = (self.transport.clone(), mail.envelope().clone(), mail.bytes().to_vec());
            let sending = tokio::spawn(async move { transport.send_raw(&envelope, &bytes).await });
            let error = match sending.await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => return Err(Undelivered::Later("the mail was not handed over to its end".into())),
            };
            match error.status().map(u16::from) {
                Some(code) if CREDENTIALS.contains(&code) || code == BAD_SEQUENCE => {}
                _ if error.is_permanent() => return Err(Undelivered::Never(said(&error))),
                _ => {}
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
