//! What programs make of the events, kept outside so that it outlives every one of them: the copy of all tickets, the letterbox,
//! and the book of who hears everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_events::broker::Message;
use holdfast_events::consumer::{Handler, OnGap, Received, Trouble};
use holdfast_events::wire::Body;
use holdfast_services::notifications::Mail;
use holdfast_services::notifications::post::{Post, Undelivered};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::time::sleep;

use crate::client::minor;
use crate::machine::Ground;
use crate::streams::stream;
use crate::trace::Trace;

/// Writing a row takes up to this long, and so does posting a mail.
const WRITE_MS_MAX: u64 = 20;
const POST_MS_MAX: u64 = 40;
/// Of 100 rows, so many cannot be written for now.
const FAILED_WRITES_PERCENT: u32 = 3;
/// Of 100 mails, so many are refused for now, and so many are taken without a word.
const LATER_PERCENT: u32 = 3;
const LOST_ANSWERS_PERCENT: u32 = 3;

/// A ticket as a copy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub version: u64,
    pub price_minor: u64,
    /// The word on the wire.
    pub status: String,
}

/// The copy of all tickets: the highest version is the truth. It begins anew with every lineage.
#[derive(Default)]
pub struct Copy(Mutex<Copying>);

#[derive(Default)]
struct Copying {
    lineage: u16,
    tickets: BTreeMap<String, Copied>,
}

impl Copy {
    fn copying(&self) -> MutexGuard<'_, Copying> {
        self.0.lock().expect("nothing panics while it holds the copy")
    }

    pub fn tickets(&self) -> BTreeMap<String, Copied> {
        self.copying().tickets.clone()
    }

    /// The lineage that it is of.
    pub fn lineage(&self) -> u16 {
        self.copying().lineage
    }

    fn take_in(&self, lineage: u16, id: String, copied: Copied) {
        let mut copying = self.copying();
        if lineage > copying.lineage {
            *copying = Copying { lineage, tickets: BTreeMap::new() };
        }
        let is_news = copying.tickets.get(&id).is_none_or(|known| known.version < copied.version);
        if lineage == copying.lineage && is_news {
            copying.tickets.insert(id, copied);
        }
    }
}

/// Follows tickets, as `examples/ticket-mirror` does.
pub struct Mirroring {
    ground: Arc<Ground>,
    rng: Mutex<SmallRng>,
}

impl Mirroring {
    pub fn new(ground: Arc<Ground>, copy: u32) -> Mirroring {
        let rng = Mutex::new(stream(ground.seed, &format!("mirror {copy}")));
        Mirroring { ground, rng }
    }
}

impl Handler for Mirroring {
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            let Body::Ticket(ticket) = &received.message.body else { return Ok(()) };
            let (delay_ms, draw) = {
                let mut rng = self.rng.lock().expect("nothing panics while it draws");
                (rng.random_range(0..WRITE_MS_MAX), rng.random_range(0..100))
            };
            sleep(Duration::from_millis(delay_ms)).await;
            let words = serde_json::to_value(ticket).map_err(|error| Trouble::Hopeless(error.to_string()))?;
            let copied = Copied {
                version: ticket.version,
                price_minor: minor(&words["price"]).unwrap_or_default(),
                status: words["status"].as_str().unwrap_or_default().to_string(),
            };
            let trace = &self.ground.trace;
            if draw < FAILED_WRITES_PERCENT {
                trace.note(format_args!("mirror cannot take {} {} {}", ticket.id, ticket.version, copied.status));
                return Err(Trouble::Away("the disk is busy".into()));
            }
            trace.note(format_args!("mirror has {} {} {}", ticket.id, ticket.version, copied.status));
            self.ground.copy.take_in(received.message.envelope.lineage, ticket.id.to_string(), copied);
            Ok(())
        }
        .boxed()
    }

    fn gap<'a>(&'a self, _: &'a Received, _: Option<u64>) -> BoxFuture<'a, Result<OnGap, Trouble>> {
        std::future::ready(Ok(OnGap::Handle)).boxed()
    }
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    pub name: String,
    pub reader: String,
    pub text: String,
}

/// Where mails go. It takes its time, refuses now and then for now, and now and then takes a mail without a word.
pub struct Letterbox {
    trace: Arc<Trace>,
    inside: Mutex<Inside>,
}

struct Inside {
    rng: SmallRng,
    mails: Vec<Posted>,
}

impl Letterbox {
    pub fn new(seed: u64, trace: Arc<Trace>) -> Letterbox {
        Letterbox { trace, inside: Mutex::new(Inside { rng: stream(seed, "post"), mails: Vec::new() }) }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("nothing panics while it posts")
    }

    /// All mails, in the order in which they were taken.
    pub fn mails(&self) -> Vec<Posted> {
        self.inside().mails.clone()
    }
}

impl Post for Letterbox {
    fn deliver<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            let (delay_ms, draw) = {
                let rng = &mut self.inside().rng;
                (rng.random_range(0..POST_MS_MAX), rng.random_range(0..100))
            };
            sleep(Duration::from_millis(delay_ms)).await;
            if draw < LATER_PERCENT {
                return Err(Undelivered::Later("the server is busy".into()));
            }
            self.trace.note(format_args!("mail {} to {}", mail.name(), mail.reader()));
            let (name, reader, text) = (mail.name().into(), mail.reader().into(), mail.text().into());
            self.inside().mails.push(Posted { name, reader, text });
            if draw < LATER_PERCENT + LOST_ANSWERS_PERCENT {
                return Err(Undelivered::Later("the connection broke after the mail".into()));
            }
            Ok(())
        }
        .boxed()
    }
}

/// An event as it stands in a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    pub id: String,
    pub seq: u64,
    pub kind: String,
    pub entity: String,
    pub version: u64,
    pub body: String,
}

impl Heard {
    /// What the headers say, each by its name.
    pub fn of(message: &Message) -> Heard {
        let text = |name: &str| message.header(name).unwrap_or_default().to_string();
        Heard {
            id: text("ce-id"),
            seq: text("holdfast-seq").parse().unwrap_or(0),
            kind: text("ce-type"),
            entity: text("ce-subject"),
            version: text("holdfast-version").parse().unwrap_or(u64::MAX),
            body: serde_json::from_slice::<Value>(&message.body).map(|body| body.to_string()).unwrap_or_default(),
        }
    }
}

/// Everything that was ever heard, by event id; what is heard again in other words is kept beside it.
#[derive(Default)]
pub struct Book(Mutex<BTreeMap<String, Vec<Heard>>>);

impl Book {
    pub fn note(&self, heard: Heard) {
        let mut book = self.0.lock().expect("nothing panics while it writes the book");
        let known = book.entry(heard.id.clone()).or_default();
        if !known.contains(&heard) {
            known.push(heard);
        }
    }

    pub fn events(&self) -> Vec<Heard> {
        self.0.lock().expect("nothing panics while it reads the book").values().flatten().cloned().collect()
    }
}
