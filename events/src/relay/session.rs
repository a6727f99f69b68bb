//! One session of the relay: look at the stream's end on a fresh connection, then publish from there until something fails.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use holdfast_ledger::event::Event;
use holdfast_ledger::planted::{Bug, at_work};
use holdfast_raft::node::Unavailable;
use tokio::time::{Instant, sleep_until};

use super::{Ended, Relay};
use crate::broker::{
    Acknowledged, BrokerError, Connection, Message, Stored, StreamSettings, ledger_stream, newest_lineage,
};
use crate::outbox::{Figures, Outbox};
use crate::wire;

/// Rows read at once.
const PAGE_ROWS: usize = 100;
/// By which the broker knows a repeated publish.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// A stream whose end has been looked at.
struct Opened {
    connection: Arc<dyn Connection>,
    stream: String,
    lineage: u16,
    cluster: String,
    last: u64,
    /// How often the ledger knew the stream to have lost events, when this was looked at.
    losses: u32,
}

/// What is on its way.
struct Window {
    acks: FuturesOrdered<Acknowledged>,
    /// The last event that was sent …
    sent: u64,
    /// … and the last that the stream has.
    confirmed: u64,
    /// When the oldest acknowledgement must have come.
    due: Instant,
    /// When the stream's end was last heard of.
    seen: Instant,
}

/// How far the ledger knows what the stream has.
struct Mirror {
    /// What it knows, or is being told.
    told: u64,
    told_at: Instant,
    /// The last time it could not be told: then only time brings the next.
    failed: bool,
    telling: Option<BoxFuture<'static, Result<(), Unavailable>>>,
}

/// What one look at everything brought.
enum Step {
    Acknowledged(u64),
    Applied,
    Mirrored(Result<(), Unavailable>),
    Look,
}

impl<O: Outbox> Relay<O> {
    /// Ends only with a reason. `backoff` begins anew once something was published, or the session has lasted.
    pub(super) async fn session(&self, backoff: &mut Duration) -> Result<Infallible, Ended> {
        self.board.opens();
        let opening = tokio::time::timeout(self.settings.ack_timeout * 2, self.open()).await;
        let away = || BrokerError::Away("no answer in time".into());
        let opened = opening.map_err(|_| Ended::Broker(away()))??;
        self.board.relays(&opened.stream, opened.last);
        self.pump(opened, backoff).await
    }

    /// Connects, makes the stream if need be, and sees that it ends with the row that it should.
    async fn open(&self) -> Result<Opened, Ended> {
        let connection = self.broker.connect().await?;
        // After this read: what the stream has beyond it was not emitted by this ledger.
        let figures = self.outbox.figures().await?;
        self.board.read(&figures);
        let Figures { lineage, last: emitted, first: kept, .. } = figures;
        if let Some(newer) = newest_lineage(&*connection).await?.filter(|newest| *newest > lineage) {
            return Err(Ended::Stopped(format!(
                "the broker holds events of lineage {newer} and this ledger is of lineage {lineage}: an older ledger must not publish beside it"
            )));
        }
        let first = self.first_of_lineage(&figures).await?;
        let (stream, cluster) = (ledger_stream(lineage), self.outbox.cluster());
        // Before a stream is made: once the ledger knows, the rows that it is to be filled from stay.
        let has = connection.state(&stream).await?.map_or(0, |state| state.last).max(first - 1);
        if has < figures.acked {
            self.outbox.acknowledge(has, figures.losses + 1).await?;
            return Err(Ended::Lost(has));
        }
        let settings = StreamSettings::ledger(lineage, first);
        let mut state = connection.ensure(&settings).await?;
        if state.last + 1 < first && state.first > state.last {
            // Made by who knew of older rows, and nothing was published to it since.
            connection.remove(&stream).await?;
            state = connection.ensure(&settings).await?;
        }
        if state.last > emitted {
            return Err(Ended::Stopped(format!(
                "{stream} ends with event {} and the ledger has emitted {emitted}: the stream is another ledger's, or this ledger has lost its end",
                state.last
            )));
        }
        if state.last + 1 < first {
            return Err(Ended::Stopped(format!(
                "{stream} ends with event {} and events before {first} are not kept any more: remove the stream, it is made anew from {first}",
                state.last
            )));
        }
        let opened = Opened { connection, stream, lineage, cluster, last: state.last, losses: figures.losses };
        if at_work(Bug::SkipOutboxOnLeaderChange) {
            return Ok(Opened { last: emitted, ..opened });
        }
        if state.last >= first && state.last >= kept {
            self.check_end(&opened).await?;
        }
        Ok(opened)
    }

    /// The number of the first event that is both kept and of the present lineage; one past the last where none is.
    async fn first_of_lineage(&self, figures: &Figures) -> Result<u64, Ended> {
        let (mut low, mut high) = (figures.first, figures.last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.row(middle).await? {
                Some(event) if event.lineage < figures.lineage => low = middle + 1,
                // A row that has gone meanwhile was followed by younger ones only.
                None => low = middle + 1,
                Some(_) => high = middle,
            }
        }
        Ok(low)
    }

    async fn row(&self, seq: u64) -> Result<Option<Event>, Ended> {
        let rows = self.outbox.rows(seq - 1, 1).await?;
        Ok(rows.events.into_iter().next().filter(|event| event.seq == seq))
    }

    /// Message L must be row L. One that has aged out of the stream cannot be compared.
    async fn check_end(&self, opened: &Opened) -> Result<(), Ended> {
        let Some(row) = self.row(opened.last).await? else { return Ok(()) };
        let Some(stored) = opened.connection.message(&opened.stream, opened.last).await? else { return Ok(()) };
        match difference(&row, &opened.cluster, &stored) {
            None => Ok(()),
            Some(what) => Err(Ended::Stopped(format!(
                "message {} of {} is not event {} of this ledger ({what}): the stream is another ledger's",
                opened.last, opened.stream, opened.last
            ))),
        }
    }

    /// Whether the stream still ends with `confirmed`, or further on.
    async fn look_at_end(&self, opened: &Opened, confirmed: u64) -> Result<(), Ended> {
        let state = tokio::time::timeout(self.settings.ack_timeout, opened.connection.state(&opened.stream)).await;
        match state.map_err(|_| BrokerError::Away("no answer in time".into()))?? {
            Some(state) if state.last >= confirmed => Ok(()),
            state => {
                let ends = state.map_or("is not there".into(), |state| format!("ends with {}", state.last));
                Err(BrokerError::WrongLast(format!("{} {ends}, it had event {confirmed}", opened.stream)).into())
            }
        }
    }

    async fn pump(&self, opened: Opened, backoff: &mut Duration) -> Result<Infallible, Ended> {
        let now = Instant::now();
        let mut window =
            Window { acks: FuturesOrdered::new(), sent: opened.last, confirmed: opened.last, due: now, seen: now };
        let mut mirror = Mirror { told: 0, told_at: Instant::now(), failed: false, telling: None };
        let mut queue = VecDeque::new();
        let (mut index, mut more) = (0, true);
        loop {
            if more && queue.is_empty() {
                let rows = self.outbox.rows(window.sent, PAGE_ROWS).await?;
                self.board.read(&rows.figures);
                if rows.figures.losses != opened.losses {
                    return Err(Ended::MovedOn);
                }
                mirror.told = mirror.told.max(rows.figures.acked);
                (index, more) = (rows.index, rows.figures.last > window.sent + rows.events.len() as u64);
                queue.extend(rows.events);
            }
            self.send(&opened, &mut window, &mut queue).await?;
            self.tell(&mut mirror, window.confirmed, opened.losses);
            match self.next(&mut window, &mut mirror, queue.is_empty() && !more, index).await? {
                Step::Acknowledged(seq) => {
                    *backoff = self.settings.backoff_min;
                    window.confirmed = seq;
                    window.seen = Instant::now();
                    window.due = window.seen + self.settings.ack_timeout;
                    self.board.confirmed(seq);
                    metrics::counter!("holdfast_events_published_total").increment(1);
                }
                Step::Applied => more = true,
                Step::Mirrored(told) => {
                    mirror.telling = None;
                    mirror.failed = told.is_err();
                    if mirror.failed {
                        mirror.told = 0;
                    }
                }
                Step::Look if !self.outbox.leads() => return Err(Ended::NotLeading),
                Step::Look => {
                    if window.acks.is_empty() && window.seen.elapsed() >= self.settings.stream_look {
                        self.look_at_end(&opened, window.confirmed).await?;
                        window.seen = Instant::now();
                    }
                    *backoff = self.settings.backoff_min;
                }
            }
        }
    }

    /// Sends what the window has room for, each with the demand that the stream ends right before it.
    async fn send(&self, opened: &Opened, window: &mut Window, queue: &mut VecDeque<Event>) -> Result<(), Ended> {
        while window.acks.len() < self.settings.window_max {
            let Some(event) = queue.pop_front() else { break };
            if event.seq != window.sent + 1 || event.lineage != opened.lineage {
                return Err(Ended::MovedOn);
            }
            if window.acks.is_empty() {
                window.due = Instant::now() + self.settings.ack_timeout;
            }
            let message = encoded(&event, &opened.cluster);
            let unfenced = at_work(Bug::RelayWithoutFence) || at_work(Bug::SkipOutboxOnLeaderChange);
            let expected_last = Some(window.sent).filter(|_| !unfenced);
            window.acks.push_back(opened.connection.publish(&opened.stream, message, expected_last).await?);
            window.sent = event.seq;
        }
        Ok(())
    }

    /// Begins to tell the ledger how far the stream has come, when enough has come together.
    fn tell(&self, mirror: &mut Mirror, confirmed: u64, losses: u32) {
        let news = confirmed.saturating_sub(mirror.told);
        let is_much = news >= self.settings.mirror_events && !mirror.failed;
        let is_time = news > 0 && mirror.told_at.elapsed() >= self.settings.mirror_interval;
        if mirror.telling.is_some() || !(is_much || is_time) {
            return;
        }
        let outbox = self.outbox.clone();
        mirror.telling = Some(async move { outbox.acknowledge(confirmed, losses).await }.boxed());
        (mirror.told, mirror.told_at) = (confirmed, Instant::now());
    }

    async fn next(&self, window: &mut Window, mirror: &mut Mirror, idle: bool, index: u64) -> Result<Step, Ended> {
        let expected = window.confirmed + 1;
        let waiting = !window.acks.is_empty();
        let telling = mirror.telling.is_some();
        let told = async {
            match &mut mirror.telling {
                Some(telling) => telling.await,
                None => std::future::pending().await,
            }
        };
        let look = Instant::now() + self.settings.leader_look;
        let step = tokio::select! {
            biased;
            Some(acknowledged) = window.acks.next(), if waiting => {
                let seq = acknowledged?;
                if seq != expected && !at_work(Bug::SkipOutboxOnLeaderChange) && !at_work(Bug::RelayWithoutFence) {
                    let what = format!("event {expected} was stored as message {seq}");
                    return Err(Ended::Broker(BrokerError::WrongLast(what)));
                }
                Step::Acknowledged(expected)
            }
            told = told, if telling => Step::Mirrored(told),
            () = sleep_until(window.due), if waiting => {
                return Err(Ended::Broker(BrokerError::Away("no acknowledgement in time".into())));
            }
            () = self.outbox.applied_beyond(index), if idle => Step::Applied,
            () = sleep_until(look) => Step::Look,
        };
        Ok(step)
    }
}

/// The message that an event is, with the id by which a broker knows a repeated one.
fn encoded(event: &Event, cluster: &str) -> Message {
    let mut message: Message = wire::publish(event, cluster).into();
    let id = message.header(wire::header::CE_ID).expect("the wire format has ids").to_string();
    message.headers.push((MESSAGE_ID.into(), id));
    message
}

/// In what a stored message is not the event that it should be; `None` if it is.
pub(crate) fn difference(event: &Event, cluster: &str, stored: &Stored) -> Option<String> {
    let wanted = wire::publish(event, cluster);
    let id = |name| stored.message.header(name).unwrap_or_default();
    let wanted_id = wanted.headers.iter().find(|(name, _)| *name == wire::header::CE_ID).map(|(_, id)| id.as_str());
    if wanted_id != Some(id(wire::header::CE_ID)) {
        return Some(format!("its id is {:?}", id(wire::header::CE_ID)));
    }
    if wanted.subject != stored.message.subject {
        return Some(format!("its subject is {}", stored.message.subject));
    }
    (wanted.body != stored.message.body).then(|| "its body is another one".into())
}
