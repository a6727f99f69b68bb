//! A broker in this process: for one node that needs no other program, for tests, and for the simulator.
//!
//! It keeps everything in memory, bounded by a number of messages a stream, and it can fail as real brokers fail: lose a
//! publish or its acknowledgement, carry a publish out late (after its sender has gone), deliver twice and in another order,
//! ignore acknowledgements, be away, be wiped, come back with an older copy. Faults are drawn from a stream of random numbers
//! that the caller seeds, so a run repeats.
//!
//! What this deliberately does not do: survive the process, age messages out by time, and route publishes by subject.

mod faults;
mod stream;

pub use faults::Faults;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::{
    Acker, Acknowledged, Broker, BrokerError, Connection, ConsumerState, Delivery, Message, Pull, PullSettings, Stored,
    StreamSettings, StreamState, Verdict,
};
use faults::Draw;
use stream::Stream;

/// Streams that stand at once; lineages are few.
const STREAMS_MAX: usize = 1_000;
/// Publishes that are on their way at once.
const GHOSTS_MAX: usize = 10_000;

/// The broker. Clones are the same one.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// Something came, or the broker came back.
    news: Notify,
    messages_max: usize,
}

struct Inner {
    streams: BTreeMap<String, Stream>,
    away: bool,
    /// Raised when the broker goes away: connections of before are dead.
    generation: u64,
    faults: Faults,
    draw: Draw,
    ghosts: Vec<Ghost>,
}

/// A publish that is carried out later than its sender believes.
struct Ghost {
    due: Instant,
    stream: String,
    message: Message,
    expected_last: Option<u64>,
}

/// All that a broker held at a moment.
#[derive(Clone)]
pub struct Image(BTreeMap<String, Stream>);

impl Memory {
    /// An empty broker that keeps at most `messages_max` messages a stream, and then lets the oldest go. `seed` decides what
    /// faults hit.
    pub fn new(seed: u64, messages_max: usize) -> Memory {
        let inner = Inner {
            streams: BTreeMap::new(),
            away: false,
            generation: 0,
            faults: Faults::default(),
            draw: Draw::new(seed),
            ghosts: Vec::new(),
        };
        let shared = Shared { inner: Mutex::new(inner), news: Notify::new(), messages_max };
        Memory { shared: Arc::new(shared) }
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// Goes away: connections break, new ones are refused. What it holds stays.
    pub fn stop(&self) {
        let mut inner = self.shared.lock();
        inner.away = true;
        inner.generation += 1;
        drop(inner);
        self.shared.news.notify_waiters();
    }

    pub fn start(&self) {
        self.shared.lock().away = false;
    }

    /// Loses everything, consumers included; connections break.
    pub fn wipe(&self) {
        self.restore(Image(BTreeMap::new()));
    }

    pub fn image(&self) -> Image {
        Image(self.shared.lock().streams.clone())
    }

    /// Becomes what it was when the image was taken; connections break.
    pub fn restore(&self, image: Image) {
        let mut inner = self.shared.lock();
        inner.streams = image.0;
        inner.ghosts.clear();
        inner.generation += 1;
        drop(inner);
        self.shared.news.notify_waiters();
    }

    /// Loses the newest `count` messages of every stream, as after a power failure before a sync; connections break.
    pub fn lose_newest(&self, count: u64) {
        let mut inner = self.shared.lock();
        inner.streams.values_mut().for_each(|stream| stream.lose_newest(count));
        inner.generation += 1;
        drop(inner);
        self.shared.news.notify_waiters();
    }

    /// The last number of a stream; 0 where there is none.
    pub fn last(&self, stream: &str) -> u64 {
        self.shared.lock().streams.get(stream).map_or(0, |stream| stream.state().last)
    }

    /// How many messages of a stream its durable consumer has not acknowledged; all where it is not there.
    pub fn unacknowledged(&self, stream: &str, durable: &str) -> u64 {
        self.shared.lock().streams.get(stream).map_or(0, |stream| stream.unacknowledged(durable))
    }

    /// All messages that a stream holds, in order; empty where there is none.
    pub fn messages(&self, stream: &str) -> Vec<Stored> {
        self.shared.lock().streams.get(stream).map(Stream::messages).unwrap_or_default()
    }
}

impl Broker for Memory {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        let inner = self.shared.lock();
        let connected = match inner.away {
            true => Err(BrokerError::Away("it was stopped".into())),
            false => {
                let connection = MemoryConnection { shared: self.shared.clone(), generation: inner.generation };
                Ok(Arc::new(connection) as Arc<dyn Connection>)
            }
        };
        std::future::ready(connected).boxed()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the broker's lock panics")
    }

    /// The broker, for a connection that was made in `generation`; what was on its way before now has arrived.
    fn reach(&self, generation: u64) -> Result<MutexGuard<'_, Inner>, BrokerError> {
        let mut inner = self.lock();
        if inner.away || inner.generation != generation {
            return Err(BrokerError::Away("the connection broke".into()));
        }
        inner.carry_out_ghosts(self.messages_max);
        Ok(inner)
    }
}

impl Inner {
    fn stream(&mut self, name: &str) -> Result<&mut Stream, BrokerError> {
        self.streams.get_mut(name).ok_or_else(|| BrokerError::NoStream(name.into()))
    }

    fn carry_out_ghosts(&mut self, messages_max: usize) {
        let now = Instant::now();
        let (due, waiting) = std::mem::take(&mut self.ghosts).into_iter().partition(|ghost: &Ghost| ghost.due <= now);
        self.ghosts = waiting;
        for ghost in due {
            // Nobody waits for the answer any more.
            if let Some(stream) = self.streams.get_mut(&ghost.stream) {
                let _ = stream.append(ghost.message, ghost.expected_last, messages_max);
            }
        }
    }

    /// What becomes of one publish under the present faults.
    fn publish(
        &mut self,
        stream: &str,
        message: Message,
        expected_last: Option<u64>,
        messages_max: usize,
    ) -> Result<Acknowledged, BrokerError> {
        let faults = self.faults;
        if self.draw.happens(faults.publish_lost_permille) {
            return Ok(std::future::pending().boxed());
        }
        if self.draw.happens(faults.publish_late_permille) && self.ghosts.len() < GHOSTS_MAX {
            let due = Instant::now() + self.draw.up_to(faults.late_max);
            self.ghosts.push(Ghost { due, stream: stream.into(), message, expected_last });
            return Ok(std::future::pending().boxed());
        }
        let appended = self.stream(stream)?.append(message, expected_last, messages_max);
        if self.draw.happens(faults.publish_ack_lost_permille) {
            return Ok(std::future::pending().boxed());
        }
        Ok(std::future::ready(appended).boxed())
    }
}

struct MemoryConnection {
    shared: Arc<Shared>,
    generation: u64,
}

impl MemoryConnection {
    fn now<'a, T: Send + 'a>(
        &self,
        work: impl FnOnce(&mut Inner) -> Result<T, BrokerError>,
    ) -> BoxFuture<'a, Result<T, BrokerError>> {
        std::future::ready(self.shared.reach(self.generation).and_then(|mut inner| work(&mut inner))).boxed()
    }
}

impl Connection for MemoryConnection {
    fn streams(&self) -> BoxFuture<'_, Result<Vec<String>, BrokerError>> {
        self.now(|inner| Ok(inner.streams.keys().cloned().collect()))
    }

    fn state<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Option<StreamState>, BrokerError>> {
        self.now(|inner| Ok(inner.streams.get(stream).map(Stream::state)))
    }

    fn ensure<'a>(&'a self, settings: &'a StreamSettings) -> BoxFuture<'a, Result<StreamState, BrokerError>> {
        self.now(|inner| {
            if inner.streams.len() >= STREAMS_MAX && !inner.streams.contains_key(&settings.name) {
                return Err(BrokerError::Refused(format!("more than {STREAMS_MAX} streams")));
            }
            let stream = inner.streams.entry(settings.name.clone()).or_insert_with(|| Stream::new(settings.clone()));
            Ok(stream.state())
        })
    }

    fn remove<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.now(|inner| Ok(inner.streams.remove(stream).is_some()))
    }

    fn message<'a>(&'a self, stream: &'a str, seq: u64) -> BoxFuture<'a, Result<Option<Stored>, BrokerError>> {
        self.now(|inner| Ok(inner.stream(stream)?.message(seq)))
    }

    fn publish<'a>(
        &'a self,
        stream: &'a str,
        message: Message,
        expected_last: Option<u64>,
    ) -> BoxFuture<'a, Result<Acknowledged, BrokerError>> {
        let messages_max = self.shared.messages_max;
        let sent = self.now(|inner| inner.publish(stream, message, expected_last, messages_max));
        self.shared.news.notify_waiters();
        sent
    }

    fn pull<'a>(
        &'a self,
        stream: &'a str,
        settings: PullSettings,
    ) -> BoxFuture<'a, Result<Box<dyn Pull>, BrokerError>> {
        let (shared, generation) = (self.shared.clone(), self.generation);
        self.now(|inner| {
            let consumer = inner.stream(stream)?.consumer(settings);
            Ok(Box::new(MemoryPull { shared, generation, stream: stream.into(), consumer }) as Box<dyn Pull>)
        })
    }

    fn delete<'a>(&'a self, stream: &'a str, seq: u64) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.now(|inner| inner.stream(stream)?.delete(seq))
    }

    fn forget<'a>(&'a self, stream: &'a str, durable: &'a str) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.now(|inner| Ok(inner.stream(stream)?.forget(durable)))
    }

    fn consumers<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<ConsumerState>, BrokerError>> {
        self.now(|inner| Ok(inner.streams.get(stream).map(Stream::consumers).unwrap_or_default()))
    }

    fn held<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, u64>, BrokerError>> {
        self.now(|inner| Ok(inner.streams.get(stream).map(|stream| stream.held(filter)).unwrap_or_default()))
    }
}

struct MemoryPull {
    shared: Arc<Shared>,
    generation: u64,
    stream: String,
    consumer: String,
}

impl MemoryPull {
    /// What there is now, and else when to look again at the latest.
    fn take(&self, limit: usize) -> Result<(Vec<Delivery>, Option<Instant>), BrokerError> {
        let mut inner = self.shared.reach(self.generation)?;
        let (faults, mut draw) = (inner.faults, inner.draw);
        let (mut taken, next) = inner.stream(&self.stream)?.take(&self.consumer, limit)?;
        if draw.happens(faults.delivery_reordered_permille) && taken.len() > 1 {
            let to = draw.below(taken.len() as u64) as usize;
            taken.swap(0, to);
        }
        if draw.happens(faults.delivery_twice_permille)
            && let Some(again) = taken.first().cloned()
        {
            taken.push(again);
        }
        inner.draw = draw;
        drop(inner);
        let deliver = |(stored, deliveries): (Stored, u64)| Delivery {
            seq: stored.seq,
            deliveries,
            message: stored.message,
            acker: Box::new(MemoryAcker {
                shared: self.shared.clone(),
                generation: self.generation,
                stream: self.stream.clone(),
                consumer: self.consumer.clone(),
                seq: stored.seq,
            }),
        };
        Ok((taken.into_iter().map(deliver).collect(), next))
    }
}

impl Pull for MemoryPull {
    fn fetch(&self, limit: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        let until = Instant::now() + wait;
        async move {
            loop {
                let mut news = std::pin::pin!(self.shared.news.notified());
                // Whatever comes from here on is not missed.
                news.as_mut().enable();
                let (taken, next) = self.take(limit)?;
                if !taken.is_empty() || Instant::now() >= until {
                    return Ok(taken);
                }
                let look = next.map_or(until, |next| next.min(until));
                tokio::select! {
                    biased;
                    () = news => {}
                    () = tokio::time::sleep_until(look) => {}
                }
            }
        }
        .boxed()
    }
}

struct MemoryAcker {
    shared: Arc<Shared>,
    generation: u64,
    stream: String,
    consumer: String,
    seq: u64,
}

impl Acker for MemoryAcker {
    fn settle(&self, verdict: Verdict) -> BoxFuture<'_, Result<(), BrokerError>> {
        let settled = self.shared.reach(self.generation).map(|mut inner| {
            let lost = inner.faults.ack_lost_permille;
            if inner.draw.happens(lost) {
                return false;
            }
            // A stream or consumer that is gone swallows it, as JetStream does.
            inner.stream(&self.stream).is_ok_and(|stream| stream.settle(&self.consumer, self.seq, verdict))
        });
        if settled == Ok(true) {
            self.shared.news.notify_waiters();
        }
        std::future::ready(settled.map(drop)).boxed()
    }
}
