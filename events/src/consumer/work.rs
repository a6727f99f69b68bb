//! One worker's loop: fetch, sort by entity, take in, say what became of it.

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use holdfast_ledger::planted::{Bug, at_work};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::inbox::{InboxError, Key, Place};
use super::{Consumer, OnGap, Received, Settings, Trouble};
use crate::broker::{
    BrokerError, Connection, DEAD_STREAM, Delivery, Pull, PullSettings, StartAt, StreamSettings, ledger_stream,
    newest_lineage,
};
use crate::pause::jittered;
use crate::{dead, wire};

/// How long a fetch waits for a first message; then it is time to see whether a lineage has begun.
const FETCH_WAIT: Duration = Duration::from_secs(2);
/// Between two looks for a stream that is not there yet, or for a broker that is away; it doubles while the broker stays away …
const AWAY_PAUSE_MIN: Duration = Duration::from_millis(500);
/// … up to this, and is spread by half.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Entities handled side by side.
const ENTITIES_MAX: usize = 16;
/// Messages whose failures are counted at once. Beyond, counting begins anew for those longest known.
const FAILING_MAX: usize = 10_000;

/// What one worker counts while it is connected.
struct Work<'a> {
    consumer: &'a Consumer,
    connection: &'a dyn Connection,
    stream: String,
    /// Failures by the number of the message.
    failures: std::sync::Mutex<BTreeMap<u64, u32>>,
}

/// Why a delivery is not done with.
enum Undone {
    Trouble(Trouble),
    Later,
}

impl From<InboxError> for Undone {
    fn from(error: InboxError) -> Undone {
        Undone::Trouble(Trouble::Away(error.to_string()))
    }
}

impl From<Trouble> for Undone {
    fn from(trouble: Trouble) -> Undone {
        Undone::Trouble(trouble)
    }
}

pub(super) async fn run(consumer: &Consumer, stop: watch::Receiver<bool>) {
    let durable = &consumer.settings.durable;
    let mut complained: Option<String> = None;
    let mut pause = AWAY_PAUSE_MIN;
    while !is_raised(&stop) {
        let began = Instant::now();
        match session(consumer, &stop).await {
            Ok(()) => complained = None,
            Err(error) => {
                let error = error.to_string();
                if complained.as_ref() != Some(&error) {
                    tracing::warn!("consumer {durable}: {error}");
                    complained = Some(error);
                }
            }
        }
        // One that has worked for a while has met something new.
        if complained.is_none() || began.elapsed() > FETCH_WAIT {
            pause = AWAY_PAUSE_MIN;
        }
        unless_stopped(&stop, sleep(jittered(pause))).await;
        pause = (pause * 2).min(AWAY_PAUSE_MAX);
    }
}

fn is_raised(stop: &watch::Receiver<bool>) -> bool {
    // Nobody who could raise it any more is the end as well.
    *stop.borrow() || stop.has_changed().is_err()
}

/// What `work` came to, unless it is time to stop before.
async fn unless_stopped<T>(stop: &watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        _ = stop.wait_for(|raised| *raised) => None,
        done = work => Some(done),
    }
}

/// Consumes the stream of the newest lineage on one connection, until there is a newer one.
async fn session(consumer: &Consumer, stop: &watch::Receiver<bool>) -> Result<(), BrokerError> {
    let connection = consumer.broker.connect().await?;
    let Some(lineage) = newest_lineage(&*connection).await? else { return Ok(()) };
    connection.ensure(&StreamSettings::dead()).await?;
    let stream = ledger_stream(lineage);
    let fresh = pull(&consumer.settings, consumer.settings.filter.clone(), consumer.settings.start);
    let replayed = pull(&consumer.settings, Some(dead::redo_subject(&consumer.settings.durable)), StartAt::First);
    let fresh = connection.pull(&stream, fresh).await?;
    let replayed = connection.pull(DEAD_STREAM, replayed).await?;
    let work =
        |stream: String| Work { consumer, connection: &*connection, stream, failures: std::sync::Mutex::default() };
    let (main, redo) = (work(stream), work(DEAD_STREAM.into()));
    // Either of them ends both: the connection they share is over.
    let (over, ended) = watch::channel(false);
    let until = |result: Result<(), BrokerError>| {
        over.send_replace(true);
        result
    };
    let main = async { until(main.follow(&*fresh, stop, &ended, Some(lineage)).await) };
    let redo = async { until(redo.follow(&*replayed, stop, &ended, None).await) };
    let (main, redo) = join(main, redo).await;
    main.and(redo)
}

fn pull(settings: &Settings, filter: Option<String>, start: StartAt) -> PullSettings {
    PullSettings {
        durable: Some(settings.durable.clone()),
        filter,
        start,
        ack_wait: settings.ack_wait,
        ack_pending_max: settings.batch_max * 16,
    }
}

impl Work<'_> {
    /// Takes in what comes, until it is time to stop, the other loop has ended, or a newer lineage than `lineage` is there.
    async fn follow(
        &self,
        pull: &dyn Pull,
        stop: &watch::Receiver<bool>,
        ended: &watch::Receiver<bool>,
        lineage: Option<u16>,
    ) -> Result<(), BrokerError> {
        loop {
            let fetch = pull.fetch(self.consumer.settings.batch_max, FETCH_WAIT);
            let Some(Some(fetched)) = unless_stopped(stop, unless_stopped(ended, fetch)).await else { return Ok(()) };
            let fetched = fetched?;
            if fetched.is_empty() {
                let newest = newest_lineage(self.connection).await?;
                // What the older stream still had has been fetched; what of it was put off is read anew with the lineage.
                if lineage.is_some() && newest != lineage {
                    return Ok(());
                }
            }
            self.take_in_all(fetched, lineage.is_none()).await?;
        }
    }

    /// Entities side by side, the events of one entity in the stream's order.
    async fn take_in_all(&self, deliveries: Vec<Delivery>, replayed: bool) -> Result<(), BrokerError> {
        let mut by_entity: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
        for delivery in deliveries {
            let entity = delivery.message.header(wire::header::CE_SUBJECT).unwrap_or_default().to_string();
            by_entity.entry(entity).or_default().push(delivery);
        }
        let entities = by_entity.into_values().map(|mut deliveries| async move {
            deliveries.sort_by_key(|delivery| delivery.seq);
            for delivery in &deliveries {
                self.take_in(delivery, replayed).await?;
            }
            Ok(())
        });
        let mut entities = stream::iter(entities).buffer_unordered(ENTITIES_MAX);
        while let Some(done) = entities.next().await {
            done?;
        }
        Ok(())
    }

    /// Errors are the broker's alone.
    async fn take_in(&self, delivery: &Delivery, replayed: bool) -> Result<(), BrokerError> {
        let message = match wire::Message::read(|name| delivery.message.header(name), &delivery.message.body) {
            Ok(message) => message,
            Err(malformed) => return self.bury(delivery, None, &malformed.to_string()).await,
        };
        let received = Received { message, deliveries: delivery.deliveries, replayed };
        if at_work(Bug::AckBeforeHandled) {
            delivery.ack().await?;
        }
        match self.settle(&received).await {
            Ok(()) => {
                self.failing().remove(&delivery.seq);
                delivery.ack().await
            }
            Err(Undone::Later) => self.put_off(delivery, &received, "what came before it has not").await,
            Err(Undone::Trouble(Trouble::Away(reason))) => self.put_off(delivery, &received, &reason).await,
            Err(Undone::Trouble(Trouble::Hopeless(reason))) => self.bury(delivery, Some(&received), &reason).await,
            Err(Undone::Trouble(Trouble::Failed(reason))) => {
                if self.count_failure(delivery.seq) >= self.consumer.settings.failures_max {
                    return self.bury(delivery, Some(&received), &reason).await;
                }
                self.put_off(delivery, &received, &reason).await
            }
        }
    }

    /// Handles the event if it is its turn.
    async fn settle(&self, received: &Received) -> Result<(), Undone> {
        let envelope = &received.message.envelope;
        self.follow_lineage(envelope.lineage).await?;
        let inbox = &self.consumer.inbox;
        // What was not acknowledged in time is delivered to another worker while the first is still at it.
        let Some(_claim) = inbox.claim(Key::of(envelope)) else { return Err(Undone::Later) };
        match inbox.place(envelope) {
            Place::Over => return Ok(()),
            // An operator wants it handled, whatever has come since.
            _ if received.replayed => {}
            Place::Seen => return Ok(()),
            Place::Next => {}
            Place::Gap(seen) => match self.consumer.handler.gap(received, seen).await? {
                OnGap::Handle => {}
                OnGap::Later => return Err(Undone::Later),
                OnGap::CaughtUp { version } => {
                    inbox.record(envelope, version)?;
                    // The ledger as it was read may be older than the event: then what is missing will be there soon.
                    return if version >= envelope.version { Ok(()) } else { Err(Undone::Later) };
                }
            },
        }
        let begun = Instant::now();
        match timeout(self.consumer.settings.handle_timeout, self.consumer.handler.handle(received)).await {
            Ok(handled) => handled?,
            Err(_) => return Err(Trouble::Away("it took too long".into()).into()),
        }
        tracing::trace!(
            target: "holdfast::spans",
            span = "consume",
            consumer = self.consumer.settings.durable.as_str(),
            event = envelope.event_type.name(),
            traceparent = envelope.traceparent.as_str(),
            duration_us = begun.elapsed().as_micros() as u64
        );
        inbox.record(envelope, envelope.version)?;
        Ok(())
    }

    async fn follow_lineage(&self, lineage: u16) -> Result<(), Undone> {
        if lineage <= self.consumer.inbox.lineage() {
            return Ok(());
        }
        self.consumer.handler.lineage_rose(lineage).await?;
        Ok(self.consumer.inbox.raise(lineage)?)
    }

    async fn put_off(&self, delivery: &Delivery, received: &Received, reason: &str) -> Result<(), BrokerError> {
        if delivery.deliveries >= self.consumer.settings.deliveries_max {
            let reason = format!("delivered {} times; last: {reason}", delivery.deliveries);
            return self.bury(delivery, Some(received), &reason).await;
        }
        let (durable, id) = (&self.consumer.settings.durable, &received.message.envelope.id);
        tracing::debug!(durable, id, deliveries = delivery.deliveries, "an event is put off: {reason}");
        delivery.nak(self.consumer.settings.retry_after(delivery.deliveries)).await
    }

    /// Lays the message down with the reason. What comes after it of the same entity is handled as if it had been.
    async fn bury(&self, delivery: &Delivery, received: Option<&Received>, reason: &str) -> Result<(), BrokerError> {
        let durable = &self.consumer.settings.durable;
        tracing::error!(durable, stream = self.stream, seq = delivery.seq, "an event is a dead letter: {reason}");
        metrics::counter!("holdfast_dead_letters_total", "consumer" => durable.clone()).increment(1);
        dead::bury(self.connection, durable, &self.stream, delivery, reason).await?;
        self.failing().remove(&delivery.seq);
        if let Some(envelope) = received.map(|received| &received.message.envelope) {
            // Without the record the next one waits for this one, and is laid down in its turn.
            if let Err(error) = self.consumer.inbox.record(envelope, envelope.version) {
                tracing::warn!(durable, "{error}");
            }
        }
        delivery.ack().await
    }

    fn count_failure(&self, seq: u64) -> u32 {
        let mut failing = self.failing();
        let count = failing.entry(seq).or_insert(0);
        *count += 1;
        let count = *count;
        if failing.len() > FAILING_MAX {
            failing.pop_first();
        }
        count
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.failures.lock().expect("no holder of the counts panics")
    }
}
