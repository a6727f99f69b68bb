//! NATS JetStream.
//!
//! Two generations of servers are served. Since 2.10 a stream can be made to begin at a number; an older one (Debian's 2.9.10) ignores
//! that, so there a stream can be made, or made anew after a loss, only while the outbox still keeps event 1. It is said when
//! this is met. Everything else that is used here, both have.
//!
//! A connection that breaks is over: what was in flight is not carried on silently, the caller connects anew and looks at the
//! stream again. JetStream acknowledges before it has synced, so what it acknowledged may be gone then.

mod figures;
mod login;
mod pull;
mod stream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::RequestErrorKind;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{Context, ContextBuilder, ErrorCode};
use async_nats::{
    ConnectError, ConnectErrorKind, ConnectOptions, Event, HeaderMap, HeaderName, HeaderValue, ServerAddr,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;

use self::login::Login;
use crate::broker::{
    Acknowledged, Broker, BrokerError, Connection, ConsumerState, Message, Pull, PullSettings, Stored, StreamSettings,
    StreamState,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one answer of the broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses that are tried.
const URLS_MAX: usize = 16;
/// Names of streams that are looked at.
const STREAMS_MAX: usize = 10_000;

/// A NATS server or cluster.
#[derive(Debug, Clone)]
pub struct Nats {
    servers: Vec<ServerAddr>,
    login: Option<Login>,
    credentials: Option<PathBuf>,
    ca: Option<PathBuf>,
}

impl Nats {
    /// The cluster that answers at any of these URLs (`nats://host:port`, `tls://…`), with a user's name and password or a token
    /// in the URL, or a credentials file. The file is read at each connection, so that it can be replaced.
    pub fn new(urls: &[String], credentials: Option<&Path>) -> Result<Nats, BrokerError> {
        let misconfigured = |url: &str, error: &dyn std::fmt::Display| {
            BrokerError::Misconfigured(format!("{}: not the address of a NATS server: {error}", without_password(url)))
        };
        if urls.is_empty() || urls.len() > URLS_MAX {
            return Err(BrokerError::Misconfigured(format!("1 to {URLS_MAX} addresses of NATS servers are needed")));
        }
        let servers = urls.iter().map(|url| ServerAddr::from_str(url).map_err(|error| misconfigured(url, &error)));
        let credentials = credentials.map(Path::to_path_buf);
        let servers: Vec<ServerAddr> = servers.collect::<Result<_, _>>()?;
        let several = || BrokerError::Misconfigured("the URLs name several users: name one and the same".into());
        let login = login::named_by(&servers).map_err(|()| several())?;
        Ok(Nats { servers, login, credentials, ca: None })
    }

    /// Trusts the authorities whose certificates (PEM) are in this file instead of the system's, and speaks to the servers over
    /// TLS alone. The file is read at each connection.
    pub fn trusting(self, ca: Option<&Path>) -> Nats {
        Nats { ca: ca.map(Path::to_path_buf), ..self }
    }

    /// The servers without their secrets, for errors.
    fn names(&self) -> String {
        let name = |server: &ServerAddr| format!("{}://{}:{}", server.scheme(), server.host(), server.port());
        self.servers.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    async fn open(&self) -> Result<NatsConnection, BrokerError> {
        let (lost, is_lost) = watch::channel(false);
        let lost = Arc::new(lost);
        let options = ConnectOptions::new()
            .name("holdfast")
            .connection_timeout(CONNECT_TIMEOUT)
            .max_reconnects(1)
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    lost.send_replace(true);
                }
                std::future::ready(())
            });
        let options = match &self.login {
            Some(login) => login.applied_to(options),
            None => options,
        };
        let options = match &self.credentials {
            Some(path) => options
                .credentials_file(path)
                .await
                .map_err(|error| BrokerError::Misconfigured(format!("credentials file {}: {error}", path.display())))?,
            None => options,
        };
        let options = match &self.ca {
            Some(path) => {
                // The client would say only that something about TLS is wrong.
                std::fs::metadata(path)
                    .map_err(|error| BrokerError::Misconfigured(format!("CA file {}: {error}", path.display())))?;
                options.require_tls(true).add_root_certificates(path.clone())
            }
            None => options,
        };
        let client = options.connect(self.servers.clone()).await.map_err(|error| self.no_connection(&error))?;
        let numbers_streams = client.is_server_compatible(2, 10, 0);
        let context = ContextBuilder::new().timeout(REQUEST_TIMEOUT).ack_timeout(REQUEST_TIMEOUT).build(client);
        Ok(NatsConnection { context, numbers_streams, is_lost })
    }
}

impl Nats {
    /// What went wrong, with whom, and what may mend it.
    fn no_connection(&self, error: &ConnectError) -> BrokerError {
        let (servers, text) = (self.names(), with_cause(error));
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                BrokerError::Refused(format!(
                    "{servers}: {text}: give a user and his password in the URL, or a credentials file, that it accepts"
                ))
            }
            // What the handshake does not like comes as an error of reading and writing.
            kind if kind == ConnectErrorKind::Tls || text.contains("certificate") => BrokerError::Refused(format!(
                "{servers}: {text}: give the certificate of the authority that its own is from as the CA file"
            )),
            _ => BrokerError::Away(format!("{servers}: {text}")),
        }
    }
}

fn without_password(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, address)| address)
}

impl Broker for Nats {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        async { Ok(Arc::new(self.open().await?) as Arc<dyn Connection>) }.boxed()
    }
}

struct NatsConnection {
    context: Context,
    /// The server knows `first_seq`.
    numbers_streams: bool,
    is_lost: watch::Receiver<bool>,
}

/// For requests without a body.
const EMPTY: Option<&()> = None;

/// What an answer of JetStream's own is, or its error code.
enum Answer<T> {
    Good(T),
    Code(ErrorCode, BrokerError),
}

impl NatsConnection {
    /// Asks JetStream's API. Where it takes no body it must get none.
    async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        body: Option<&(impl Serialize + ?Sized)>,
    ) -> Result<Answer<T>, BrokerError> {
        self.check()?;
        let body = body.map(|body| serde_json::to_vec(body).expect("requests are JSON")).unwrap_or_default();
        let client = self.context.client();
        let asked = client.request(format!("$JS.API.{subject}"), body.into());
        let answer = match timeout(REQUEST_TIMEOUT, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if matches!(error.kind(), RequestErrorKind::NoResponders) => {
                return Err(BrokerError::Away("JetStream is not enabled there, or has no leader".into()));
            }
            Ok(Err(error)) => return Err(BrokerError::Away(format!("{subject}: {error}"))),
            Err(_) => return Err(BrokerError::Away(format!("{subject}: no answer in time"))),
        };
        match serde_json::from_slice::<Response<T>>(&answer.payload) {
            Ok(Response::Ok(answer)) => Ok(Answer::Good(answer)),
            Ok(Response::Err { error }) => {
                Ok(Answer::Code(error.error_code(), BrokerError::Refused(format!("{subject}: {error}"))))
            }
            Err(error) => Err(BrokerError::Refused(format!("{subject}: an answer that cannot be read: {error}"))),
        }
    }

    fn check(&self) -> Result<(), BrokerError> {
        match *self.is_lost.borrow() {
            true => Err(broken()),
            false => Ok(()),
        }
    }

    async fn names(&self) -> Result<Vec<String>, BrokerError> {
        self.check()?;
        let mut names = self.context.stream_names();
        let mut found = Vec::new();
        while let Some(name) = names.next().await {
            found.push(name.map_err(|error| BrokerError::Away(format!("names of streams: {error}")))?);
            if found.len() >= STREAMS_MAX {
                break;
            }
        }
        Ok(found)
    }

    async fn send(
        &self,
        stream: &str,
        message: Message,
        expected_last: Option<u64>,
    ) -> Result<Acknowledged, BrokerError> {
        self.check()?;
        let mut publish =
            PublishMessage::build().payload(message.body).headers(headers(&message.headers)?).expected_stream(stream);
        if let Some(last) = expected_last {
            publish = publish.expected_last_sequence(last);
        }
        let sent = self.context.send_publish(message.subject, publish).await.map_err(publish_failure)?;
        let (mut is_lost, stream) = (self.is_lost.clone(), stream.to_string());
        let acknowledged = async move {
            let acknowledged = tokio::select! {
                biased;
                acknowledged = sent.into_future() => acknowledged.map_err(publish_failure)?,
                _ = is_lost.wait_for(|lost| *lost) => return Err(broken()),
            };
            if acknowledged.stream != stream {
                return Err(BrokerError::WrongLast(format!("stored in {} instead of {stream}", acknowledged.stream)));
            }
            Ok(acknowledged.sequence)
        };
        Ok(acknowledged.boxed())
    }
}

fn broken() -> BrokerError {
    BrokerError::Away("the connection broke".into())
}

fn headers(pairs: &[(std::borrow::Cow<'static, str>, String)]) -> Result<HeaderMap, BrokerError> {
    let refused = |error: &dyn std::fmt::Display| BrokerError::Refused(format!("a header: {error}"));
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_str(name).map_err(|error| refused(&error))?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|error| refused(&error))?);
    }
    Ok(headers)
}

fn publish_failure(error: async_nats::jetstream::context::PublishError) -> BrokerError {
    let text = with_cause(&error);
    match error.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => BrokerError::WrongLast(text),
        PublishErrorKind::StreamNotFound => BrokerError::NoStream(text),
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe | PublishErrorKind::MaxAckPending => {
            BrokerError::Away(text)
        }
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::Other => BrokerError::Refused(text),
    }
}

/// The message of an error with that of its cause.
fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) if !error.to_string().contains(&cause.to_string()) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

/// A message as it came from the server.
fn message(subject: &str, headers: Option<&HeaderMap>, body: bytes::Bytes) -> Message {
    let pairs = headers.into_iter().flat_map(HeaderMap::iter);
    let headers = pairs.filter_map(|(name, values)| {
        let value = values.first()?;
        Some((name.to_string().into(), value.as_str().to_string()))
    });
    let mut headers: Vec<_> = headers.collect();
    // The client keeps them in no order.
    headers.sort();
    Message { subject: subject.to_string(), headers, body }
}

impl Connection for NatsConnection {
    fn streams(&self) -> BoxFuture<'_, Result<Vec<String>, BrokerError>> {
        self.names().boxed()
    }

    fn state<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Option<StreamState>, BrokerError>> {
        async move { Ok(self.stream_info(stream).await?.map(|info| stream::state(&info))) }.boxed()
    }

    fn ensure<'a>(&'a self, settings: &'a StreamSettings) -> BoxFuture<'a, Result<StreamState, BrokerError>> {
        self.ensure_stream(settings).boxed()
    }

    fn remove<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.delete_stream(stream).boxed()
    }

    fn message<'a>(&'a self, stream: &'a str, seq: u64) -> BoxFuture<'a, Result<Option<Stored>, BrokerError>> {
        self.stored(stream, seq).boxed()
    }

    fn publish<'a>(
        &'a self,
        stream: &'a str,
        message: Message,
        expected_last: Option<u64>,
    ) -> BoxFuture<'a, Result<Acknowledged, BrokerError>> {
        self.send(stream, message, expected_last).boxed()
    }

    fn pull<'a>(
        &'a self,
        stream: &'a str,
        settings: PullSettings,
    ) -> BoxFuture<'a, Result<Box<dyn Pull>, BrokerError>> {
        self.open_pull(stream, settings).boxed()
    }

    fn delete<'a>(&'a self, stream: &'a str, seq: u64) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.delete_message(stream, seq).boxed()
    }

    fn forget<'a>(&'a self, stream: &'a str, durable: &'a str) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.delete_consumer(stream, durable).boxed()
    }

    fn consumers<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<ConsumerState>, BrokerError>> {
        self.durable_consumers(stream).boxed()
    }

    fn held<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, u64>, BrokerError>> {
        self.held_by_subject(stream, filter).boxed()
    }
}
