//! Durable pull consumers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::datetime::parse_rfc3339;
use async_nats::jetstream::consumer::pull::{Batch, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::message::AckKind;
use async_nats::jetstream::{self};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{NatsConnection, broken, message, with_cause};
use crate::broker::{Acker, BrokerError, Delivery, Pull, PullSettings, StartAt, Verdict};
use crate::wire::time::rfc3339;

/// What the server may take beyond the time that was asked for.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// A reader of its own is forgotten when it has asked for nothing for so long.
const INACTIVE: Duration = Duration::from_secs(60);

struct NatsPull {
    consumer: Consumer<Config>,
    is_lost: watch::Receiver<bool>,
}

impl NatsConnection {
    pub(super) async fn open_pull(&self, stream: &str, settings: PullSettings) -> Result<Box<dyn Pull>, BrokerError> {
        self.check()?;
        let config = config(&settings);
        let known = match &settings.durable {
            Some(durable) => self.context.get_consumer_from_stream::<Config, _, _>(durable, stream).await.ok(),
            None => None,
        };
        let fits = |known: &Consumer<Config>| known.cached_info().config.filter_subject == config.filter_subject;
        let consumer = match known {
            // Where it began is long past; another filter would mean that two programs share a name.
            Some(known) if fits(&known) => known,
            Some(known) => {
                let (name, filter) = (&known.cached_info().name, &known.cached_info().config.filter_subject);
                return Err(BrokerError::Misconfigured(format!(
                    "consumer {name} of {stream} follows {filter:?}, not {:?}: give this one another name",
                    config.filter_subject
                )));
            }
            None => {
                let made = self.context.create_consumer_on_stream(config, stream).await;
                made.map_err(|error| BrokerError::Refused(format!("consumer of {stream}: {}", with_cause(&error))))?
            }
        };
        Ok(Box::new(NatsPull { consumer, is_lost: self.is_lost.clone() }))
    }
}

fn config(settings: &PullSettings) -> Config {
    let deliver_policy = match settings.start {
        StartAt::First => DeliverPolicy::All,
        StartAt::New => DeliverPolicy::New,
        StartAt::Seq(seq) => DeliverPolicy::ByStartSequence { start_sequence: seq.max(1) },
        StartAt::Since(age) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let since = rfc3339(now.saturating_sub(age).as_millis() as u64);
            let start_time = parse_rfc3339(since.as_str()).expect("what we write is RFC 3339");
            DeliverPolicy::ByStartTime { start_time }
        }
    };
    Config {
        durable_name: settings.durable.clone(),
        deliver_policy,
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.ack_wait,
        // NAKs count as deliveries, and waiting for a gap to close is no fault of the message: poison is counted by ourselves.
        max_deliver: -1,
        filter_subject: settings.filter.clone().unwrap_or_default(),
        max_ack_pending: settings.ack_pending_max as i64,
        inactive_threshold: if settings.durable.is_none() { INACTIVE } else { Duration::ZERO },
        ..Config::default()
    }
}

impl NatsPull {
    /// What is there at once, else the first that comes.
    async fn take(&self, limit: usize, wait: Duration) -> Result<Vec<Delivery>, BrokerError> {
        let failed = |error: jetstream::consumer::pull::BatchError| BrokerError::Away(with_cause(&error));
        let there = collect(self.consumer.fetch().max_messages(limit).messages().await.map_err(failed)?).await?;
        if !there.is_empty() || wait.is_zero() {
            return Ok(there);
        }
        collect(self.consumer.batch().max_messages(1).expires(wait).messages().await.map_err(failed)?).await
    }
}

impl Pull for NatsPull {
    fn fetch(&self, limit: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        let mut is_lost = self.is_lost.clone();
        async move {
            tokio::select! {
                biased;
                _ = is_lost.wait_for(|lost| *lost) => Err(broken()),
                taken = timeout(wait + ANSWER_WAIT, self.take(limit, wait)) => {
                    taken.unwrap_or_else(|_| Err(BrokerError::Away("no messages and no answer in time".into())))
                }
            }
        }
        .boxed()
    }
}

async fn collect(mut batch: Batch) -> Result<Vec<Delivery>, BrokerError> {
    let mut deliveries = Vec::new();
    while let Some(fetched) = batch.next().await {
        match fetched {
            Ok(fetched) => deliveries.push(delivery(fetched)?),
            // What has come is worked on; the next fetch will say what is wrong.
            Err(_) if !deliveries.is_empty() => break,
            Err(error) => return Err(BrokerError::Away(error.to_string())),
        }
    }
    Ok(deliveries)
}

fn delivery(fetched: jetstream::Message) -> Result<Delivery, BrokerError> {
    let info =
        fetched.info().map_err(|error| BrokerError::Refused(format!("a delivery without its place: {error}")))?;
    let (seq, deliveries) = (info.stream_sequence, info.delivered.max(1) as u64);
    let (fetched, acker) = fetched.split();
    let message = message(&fetched.subject, fetched.headers.as_ref(), fetched.payload);
    Ok(Delivery { seq, deliveries, message, acker: Box::new(NatsAcker(acker)) })
}

struct NatsAcker(jetstream::message::Acker);

impl Acker for NatsAcker {
    fn settle(&self, verdict: Verdict) -> BoxFuture<'_, Result<(), BrokerError>> {
        let kind = match verdict {
            Verdict::Done => AckKind::Ack,
            Verdict::Again(delay) => AckKind::Nak(Some(delay)),
        };
        async move { self.0.ack_with(kind).await.map_err(|error| BrokerError::Away(error.to_string())) }.boxed()
    }
}
