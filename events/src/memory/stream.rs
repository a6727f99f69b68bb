//! One stream of the broker in memory, and its consumers.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::broker::{
    BrokerError, ConsumerState, Message, PullSettings, StartAt, Stored, StreamSettings, StreamState, Verdict, matches,
};

/// The header by which a repeated publish is known.
const MESSAGE_ID: &str = "nats-msg-id";
/// Message ids that are remembered.
const IDS_MAX: usize = 65_536;

/// A message, and when it came.
#[derive(Clone)]
struct Kept {
    at: Instant,
    stored: Stored,
}

#[derive(Clone)]
pub struct Stream {
    settings: StreamSettings,
    /// Ascending by number; numbers of deleted messages are missing.
    kept: VecDeque<Kept>,
    last: u64,
    ids: BTreeMap<String, (Instant, u64)>,
    ids_by_age: VecDeque<(Instant, String)>,
    consumers: BTreeMap<String, Consumer>,
    readers: u64,
}

/// Messages for a consumer, each with the count of its deliveries.
pub type Due = Vec<(Stored, u64)>;

#[derive(Clone)]
struct Consumer {
    settings: PullSettings,
    /// The number from which on nothing has been delivered yet.
    next: u64,
    pending: BTreeMap<u64, Pending>,
}

impl Consumer {
    fn wants(&self, subject: &str) -> bool {
        self.settings.filter.as_deref().is_none_or(|filter| matches(filter, subject))
    }
}

/// Delivered, and not acknowledged.
#[derive(Clone, Copy)]
struct Pending {
    again: Instant,
    deliveries: u64,
}

impl Stream {
    pub fn new(settings: StreamSettings) -> Stream {
        Stream {
            last: settings.first_seq - 1,
            settings,
            kept: VecDeque::new(),
            ids: BTreeMap::new(),
            ids_by_age: VecDeque::new(),
            consumers: BTreeMap::new(),
            readers: 0,
        }
    }

    pub fn state(&self) -> StreamState {
        let first = self.kept.front().map_or(self.last + 1, |kept| kept.stored.seq);
        StreamState { first, last: self.last }
    }

    pub fn messages(&self) -> Vec<Stored> {
        self.kept.iter().map(|kept| kept.stored.clone()).collect()
    }

    pub fn message(&self, seq: u64) -> Option<Stored> {
        self.place(seq).ok().map(|at| self.kept[at].stored.clone())
    }

    fn place(&self, seq: u64) -> Result<usize, usize> {
        self.kept.binary_search_by_key(&seq, |kept| kept.stored.seq)
    }

    /// Appends, if the stream ends with the expected number. A repeated message id gets the number of the first.
    pub fn append(
        &mut self,
        message: Message,
        expected_last: Option<u64>,
        messages_max: usize,
    ) -> Result<u64, BrokerError> {
        let now = Instant::now();
        self.forget_ids(now);
        let id = message.header(MESSAGE_ID).map(str::to_string);
        if let Some((_, seq)) = id.as_ref().and_then(|id| self.ids.get(id)) {
            return Ok(*seq);
        }
        if let Some(expected) = expected_last.filter(|expected| *expected != self.last) {
            return Err(BrokerError::WrongLast(format!("expected {expected}, is {}", self.last)));
        }
        self.last += 1;
        if let Some(id) = id {
            self.ids.insert(id.clone(), (now, self.last));
            self.ids_by_age.push_back((now, id));
        }
        self.kept.push_back(Kept { at: now, stored: Stored { seq: self.last, message } });
        while self.kept.len() > messages_max {
            self.kept.pop_front();
        }
        Ok(self.last)
    }

    fn forget_ids(&mut self, now: Instant) {
        let window = self.settings.duplicate_window;
        while let Some((at, id)) = self.ids_by_age.front() {
            if now.duration_since(*at) <= window && self.ids_by_age.len() <= IDS_MAX {
                return;
            }
            self.ids.remove(id);
            self.ids_by_age.pop_front();
        }
    }

    pub fn delete(&mut self, seq: u64) -> Result<bool, BrokerError> {
        if self.settings.append_only {
            return Err(BrokerError::Refused(format!("{} is append-only", self.settings.name)));
        }
        let place = self.place(seq).ok();
        Ok(place.and_then(|at| self.kept.remove(at)).is_some())
    }

    /// As if the last `count` messages had never come; what was known of their ids goes too.
    pub fn lose_newest(&mut self, count: u64) {
        for _ in 0..count {
            let Some(lost) = self.kept.pop_back() else { break };
            self.last = lost.stored.seq - 1;
        }
        let last = self.last;
        self.ids.retain(|_, (_, seq)| *seq <= last);
        for consumer in self.consumers.values_mut() {
            consumer.next = consumer.next.min(last + 1);
            consumer.pending.retain(|seq, _| *seq <= last);
        }
    }

    /// The name of the consumer that the settings mean; made where it is missing.
    pub fn consumer(&mut self, settings: PullSettings) -> String {
        self.readers += 1;
        let name = settings.durable.clone().unwrap_or_else(|| format!("reader {}", self.readers));
        let next = match settings.start {
            StartAt::First => 0,
            StartAt::New => self.last + 1,
            StartAt::Seq(seq) => seq,
            StartAt::Since(age) => {
                let young = self.kept.iter().find(|kept| kept.at.elapsed() <= age);
                young.map_or(self.last + 1, |kept| kept.stored.seq)
            }
        };
        self.consumers.entry(name.clone()).or_insert(Consumer { settings, next, pending: BTreeMap::new() });
        name
    }

    /// The durable consumers, by name.
    pub fn consumers(&self) -> Vec<ConsumerState> {
        let durable = self.consumers.iter().filter(|(_, consumer)| consumer.settings.durable.is_some());
        durable.map(|(name, consumer)| self.figures(name, consumer)).collect()
    }

    fn figures(&self, name: &str, consumer: &Consumer) -> ConsumerState {
        let start = self.place(consumer.next).unwrap_or_else(|at| at);
        let pending = self.kept.range(start..).filter(|kept| consumer.wants(&kept.stored.message.subject));
        ConsumerState {
            name: name.to_string(),
            pending: pending.count() as u64,
            ack_pending: consumer.pending.len() as u64,
            redelivered: consumer.pending.values().filter(|pending| pending.deliveries > 1).count() as u64,
            delivered: consumer.next.saturating_sub(1).min(self.last),
        }
    }

    /// How many messages there are under each subject that `filter` means.
    pub fn held(&self, filter: &str) -> BTreeMap<String, u64> {
        let mut held = BTreeMap::new();
        for kept in self.kept.iter().filter(|kept| matches(filter, &kept.stored.message.subject)) {
            *held.entry(kept.stored.message.subject.clone()).or_default() += 1;
        }
        held
    }

    pub fn forget(&mut self, consumer: &str) -> bool {
        self.consumers.remove(consumer).is_some()
    }

    /// At most `limit` messages for a consumer, first what is due again, then what is new. And when the next is due again.
    pub fn take(&mut self, consumer: &str, limit: usize) -> Result<(Due, Option<Instant>), BrokerError> {
        let Some(mut consumer) = self.consumers.remove(consumer).map(|found| (consumer.to_string(), found)) else {
            return Err(BrokerError::Away(format!("consumer {consumer} is gone")));
        };
        let taken = self.take_for(&mut consumer.1, limit);
        let next = consumer.1.pending.values().map(|pending| pending.again).min();
        self.consumers.insert(consumer.0, consumer.1);
        Ok((taken, next))
    }

    fn take_for(&self, consumer: &mut Consumer, limit: usize) -> Due {
        let now = Instant::now();
        let again = now + consumer.settings.ack_wait;
        let first = self.state().first;
        // What has aged out cannot come again.
        consumer.pending.retain(|seq, _| *seq >= first);
        let mut taken = Vec::new();
        for (seq, pending) in consumer.pending.iter_mut().filter(|(_, pending)| pending.again <= now).take(limit) {
            *pending = Pending { again, deliveries: pending.deliveries + 1 };
            taken.extend(self.message(*seq).map(|stored| (stored, pending.deliveries)));
        }
        let start = self.place(consumer.next).unwrap_or_else(|at| at);
        for kept in self.kept.range(start..) {
            if taken.len() >= limit || consumer.pending.len() >= consumer.settings.ack_pending_max {
                break;
            }
            let stored = &kept.stored;
            consumer.next = stored.seq + 1;
            if consumer.wants(&stored.message.subject) {
                consumer.pending.insert(stored.seq, Pending { again, deliveries: 1 });
                taken.push((stored.clone(), 1));
            }
        }
        taken
    }

    /// What is wanted by a consumer and not acknowledged; all messages where there is no such consumer.
    pub fn unacknowledged(&self, consumer: &str) -> u64 {
        let figures = self.consumers.get(consumer).map(|found| self.figures(consumer, found));
        figures.map_or(self.kept.len() as u64, |figures| figures.pending + figures.ack_pending)
    }

    /// Says whether there may be news for whoever waits.
    pub fn settle(&mut self, consumer: &str, seq: u64, verdict: Verdict) -> bool {
        let Some(consumer) = self.consumers.get_mut(consumer) else { return false };
        let delay = match verdict {
            Verdict::Done => {
                let was_full = consumer.pending.len() >= consumer.settings.ack_pending_max;
                consumer.pending.remove(&seq);
                return was_full;
            }
            Verdict::Again(delay) => delay,
        };
        if let Some(pending) = consumer.pending.get_mut(&seq) {
            pending.again = Instant::now() + delay;
        }
        true
    }
}
