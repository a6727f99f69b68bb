//! Consumers on a broker that delivers late, twice, and in the wrong order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_events::banned::{self, BannedUsers};
use holdfast_events::broker::{Message, SharedBroker, StreamSettings, ledger_stream};
use holdfast_events::consumer::{
    Consumer, Handler, MemoryInbox, OnGap, Received, Settings, SharedInbox, Trouble, shared,
};
use holdfast_events::dead;
use holdfast_events::memory::Faults;
use holdfast_events::wire::{self, Body};
use holdfast_ledger::event::{EventBody, EventType};
use holdfast_ledger::id::{Id, UserId};
use tokio::sync::watch;

use super::servers::{Server, VERSIONS};
use super::support::{Ledger, eventually, memory, quick, relay};

/// Workers of consumers; they end with the test.
struct Workers(watch::Sender<bool>);

impl Workers {
    fn new() -> Workers {
        Workers(watch::Sender::new(false))
    }

    fn start(&self, broker: &SharedBroker, settings: Settings, inbox: SharedInbox, handler: impl Handler) {
        let consumer = Consumer::new(broker.clone(), settings, inbox, handler);
        let stop = self.0.subscribe();
        tokio::spawn(async move { consumer.run(stop).await });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

fn settings(durable: &str) -> Settings {
    Settings {
        ack_wait: Duration::from_millis(400),
        handle_timeout: Duration::from_millis(300),
        retry_min: Duration::from_millis(5),
        retry_max: Duration::from_millis(100),
        failures_max: 3,
        ..Settings::new(durable, wire::filter("ticket"))
    }
}

fn inbox() -> SharedInbox {
    shared(MemoryInbox::new(10_000))
}

/// The bank of the example: every change of an account is a version of its entity, and its title the amount.
#[derive(Clone)]
struct Bank {
    accounts: Arc<Mutex<BTreeMap<Id, Account>>>,
    pace: Duration,
    /// The first attempt at these versions fails.
    fails_first: Arc<Mutex<BTreeSet<(Id, u64)>>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    balance: i64,
    versions: Vec<u64>,
    overdrawn: bool,
}

impl Bank {
    fn new(pace: Duration, fails_first: impl IntoIterator<Item = (Id, u64)>) -> Bank {
        let fails_first = Arc::new(Mutex::new(fails_first.into_iter().collect()));
        Bank { accounts: Arc::default(), pace, fails_first }
    }

    fn account(&self, id: Id) -> Account {
        self.accounts.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }
}

impl Handler for Bank {
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            tokio::time::sleep(self.pace).await;
            let envelope = &received.message.envelope;
            if self.fails_first.lock().unwrap().remove(&(envelope.entity, envelope.version)) {
                return Err(Trouble::Failed("the first attempt".into()));
            }
            let Body::Ticket(ticket) = &received.message.body else {
                return Err(Trouble::Hopeless("no ticket".into()));
            };
            let amount: i64 = ticket.title.parse().map_err(|_| Trouble::Hopeless("no amount".into()))?;
            let mut accounts = self.accounts.lock().unwrap();
            let account = accounts.entry(envelope.entity).or_default();
            account.balance += amount;
            account.versions.push(envelope.version);
            account.overdrawn |= account.balance < 0;
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_is_right_whatever_is_delivered_late_twice_or_in_the_wrong_order() {
    let (ledger, (memory, broker)) = (Ledger::new(1), memory(5));
    let accounts: Vec<Id> = (0..20).map(|ordinal| Id::mint(0, 3, ordinal)).collect();
    for (version, amount) in ["0", "+70", "+40", "-100"].iter().enumerate() {
        accounts.iter().for_each(|account| ledger.emit_ticket(*account, version as u64, amount));
    }
    memory.set_faults(Faults {
        delivery_twice_permille: 300,
        delivery_reordered_permille: 500,
        ack_lost_permille: 200,
        ..Faults::default()
    });
    let _relay = relay(&ledger, &broker, quick());
    let workers = Workers::new();
    let first_fails = || accounts.iter().map(|account| (*account, 1));
    let banks = [Bank::new(Duration::ZERO, first_fails()), Bank::new(Duration::from_millis(15), first_fails())];
    for (bank, durable) in banks.iter().zip(["fast", "slow"]) {
        let inbox = inbox();
        for _ in 0..2 {
            // Small batches, so that the versions of one account come to different workers.
            let settings = Settings { batch_max: 3, ..settings(durable) };
            workers.start(&broker, settings, inbox.clone(), bank.clone());
        }
    }
    eventually("every account has had all of its changes", || async {
        banks.iter().all(|bank| accounts.iter().all(|account| bank.account(*account).versions.len() >= 4))
    })
    .await;
    let right = Account { balance: 10, versions: vec![0, 1, 2, 3], overdrawn: false };
    for bank in &banks {
        for account in &accounts {
            assert_eq!(bank.account(*account), right);
        }
    }
    let connection = broker.connect().await.unwrap();
    assert_eq!(dead::list(&*connection, 0, 10).await.unwrap(), [], "nothing was given up");
}

/// Counts what came, and fails as its titles say.
#[derive(Clone, Default)]
struct Moody {
    handled: Arc<Mutex<Vec<(String, bool)>>>,
    /// Titles that are refused from now on.
    refuses: Arc<Mutex<BTreeMap<String, Trouble>>>,
}

impl Moody {
    fn refusing(title: &str, trouble: Trouble) -> Moody {
        let moody = Moody::default();
        moody.refuses.lock().unwrap().insert(title.into(), trouble);
        moody
    }

    fn relent(&self) {
        self.refuses.lock().unwrap().clear();
    }

    fn handled(&self) -> Vec<(String, bool)> {
        self.handled.lock().unwrap().clone()
    }
}

impl Handler for Moody {
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>> {
        let Body::Ticket(ticket) = &received.message.body else {
            return std::future::ready(Err(Trouble::Hopeless("no ticket".into()))).boxed();
        };
        let refused = self.refuses.lock().unwrap().get(&ticket.title).cloned();
        if refused.is_none() {
            self.handled.lock().unwrap().push((ticket.title.clone(), received.replayed));
        }
        std::future::ready(refused.map_or(Ok(()), Err)).boxed()
    }
}

async fn what_cannot_be_handled_is_laid_down_and_replayed(broker: SharedBroker) {
    let ledger = Ledger::new(1);
    let relay = relay(&ledger, &broker, quick());
    let (poison, other) = (Id::mint(0, 3, 1), Id::mint(0, 3, 2));
    ledger.emit_ticket(poison, 0, "poison");
    ledger.emit_ticket(poison, 1, "after the poison");
    ledger.emit_ticket(other, 0, "another");
    relay.has_published(3).await;
    let (workers, moody) = (Workers::new(), Moody::refusing("poison", Trouble::Failed("it tastes bad\nvery".into())));
    workers.start(&broker, settings("tasters"), inbox(), moody.clone());
    eventually("the others are handled", || async { moody.handled().len() == 2 }).await;

    let connection = broker.connect().await.unwrap();
    let letters = dead::list(&*connection, 0, 10).await.unwrap();
    let [letter] = &letters[..] else { panic!("one dead letter: {letters:?}") };
    assert_eq!((letter.consumer.as_str(), letter.reason.as_str()), ("tasters", "it tastes bad very"));
    assert_eq!((letter.stream.as_str(), letter.stream_seq), (ledger_stream(0).as_str(), 1));
    assert_eq!(letter.message.subject, wire::subject(EventType::TicketCreated, poison));
    assert_eq!(dead::show(&*connection, letter.seq).await.unwrap().as_ref(), Some(letter));

    assert!(dead::replay(&*connection, letter.seq).await.unwrap());
    assert!(!dead::replay(&*connection, letter.seq).await.unwrap(), "it is on its way already");
    eventually("it fails again and is laid down again", || async {
        dead::list(&*connection, letter.seq, 10).await.unwrap().len() == 1
    })
    .await;
    moody.relent();
    let again = dead::list(&*connection, 0, 10).await.unwrap().pop().expect("the letter").seq;
    assert!(dead::replay(&*connection, again).await.unwrap());
    eventually("it is handled", || async { moody.handled().contains(&("poison".into(), true)) }).await;
    assert_eq!(dead::list(&*connection, 0, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_is_laid_down_with_its_reason_holds_nobody_up_and_can_be_replayed() {
    what_cannot_be_handled_is_laid_down_and_replayed(memory(1).1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_stand_on_nats_as_well() {
    for version in VERSIONS {
        let Some(server) = Server::start(version).await else { continue };
        what_cannot_be_handled_is_laid_down_and_replayed(server.broker()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_laid_down_at_once() {
    let (_, broker) = memory(1);
    let connection = broker.connect().await.unwrap();
    connection.ensure(&StreamSettings::ledger(0, 1)).await.unwrap();
    let subject = "ledger.v1.ticket.00.created".to_string();
    let nonsense = Message { subject, headers: vec![("ce-type".into(), "ticket:eaten".into())], body: Bytes::new() };
    connection.publish(&ledger_stream(0), nonsense, Some(0)).await.unwrap().await.unwrap();
    let (workers, moody) = (Workers::new(), Moody::default());
    workers.start(&broker, settings("readers"), inbox(), moody.clone());
    eventually("it is laid down", || async { dead::list(&*connection, 0, 10).await.unwrap().len() == 1 }).await;
    let letter = dead::list(&*connection, 0, 10).await.unwrap().remove(0);
    assert!(letter.reason.contains("ticket:eaten"), "{}", letter.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_waited_for_however_often_it_fails() {
    let (ledger, (_, broker)) = (Ledger::new(1), memory(1));
    let _relay = relay(&ledger, &broker, quick());
    ledger.emit_ticket(Id::mint(0, 3, 1), 0, "waits");
    let (workers, moody) = (Workers::new(), Moody::refusing("waits", Trouble::Away("the mail server is away".into())));
    workers.start(&broker, settings("patient"), inbox(), moody.clone());
    // More than the failures that make a dead letter.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let connection = broker.connect().await.unwrap();
    assert_eq!(dead::list(&*connection, 0, 10).await.unwrap(), []);
    moody.relent();
    eventually("it is handled", || async { moody.handled().len() == 1 }).await;
}

/// Keeps the last version of every entity, and reads the ledger where it has missed some.
#[derive(Clone, Default)]
struct Copies {
    versions: Arc<Mutex<BTreeMap<Id, u64>>>,
    read_anew: Arc<Mutex<Vec<Id>>>,
    lineages: Arc<Mutex<Vec<u16>>>,
}

impl Handler for Copies {
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>> {
        let envelope = &received.message.envelope;
        self.versions.lock().unwrap().insert(envelope.entity, envelope.version);
        std::future::ready(Ok(())).boxed()
    }

    fn gap<'a>(&'a self, received: &'a Received, _seen: Option<u64>) -> BoxFuture<'a, Result<OnGap, Trouble>> {
        let envelope = &received.message.envelope;
        self.read_anew.lock().unwrap().push(envelope.entity);
        self.versions.lock().unwrap().insert(envelope.entity, envelope.version);
        std::future::ready(Ok(OnGap::CaughtUp { version: envelope.version })).boxed()
    }

    fn lineage_rose(&self, lineage: u16) -> BoxFuture<'_, Result<(), Trouble>> {
        self.lineages.lock().unwrap().push(lineage);
        std::future::ready(Ok(())).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_consumers_follow_the_new_stream_and_read_entities_anew() {
    let (older, (_, broker)) = (Ledger::new(1), memory(1));
    let ticket = Id::mint(0, 3, 1);
    (0..3).for_each(|version| older.emit_ticket(ticket, version, "before"));
    let restored = older.restored(1);
    // What is lost in the restore: consumers have seen versions that are given out again.
    (3..6).for_each(|version| older.emit_ticket(ticket, version, "lost"));
    let old_relay = relay(&older, &broker, quick());
    let (workers, copies) = (Workers::new(), Copies::default());
    workers.start(&broker, settings("copies"), inbox(), copies.clone());
    let version = |copies: &Copies| copies.versions.lock().unwrap().get(&ticket).copied();
    eventually("the older lineage is followed", || async { version(&copies) == Some(5) }).await;
    drop(old_relay);

    restored.emit_ticket(ticket, 3, "after");
    let _new_relay = relay(&restored, &broker, quick());
    eventually("the newer lineage counts", || async { version(&copies) == Some(3) }).await;
    assert_eq!(*copies.lineages.lock().unwrap(), [1]);
    assert_eq!(*copies.read_anew.lock().unwrap(), [ticket], "its versions begin anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_of_the_last_token_lifetime_are_replayed_before_anybody_is_trusted() {
    let (ledger, (_, broker)) = (Ledger::new(1), memory(1));
    let (mallory, alice) = (UserId(Id::mint(0, 1, 1)), UserId(Id::mint(0, 1, 2)));
    let banned = EventBody::User { user: mallory, banned: true, erased: false, verified: true, epoch: 1 };
    ledger.emit(EventType::UserBanned, mallory.0, 1, banned);
    relay(&ledger, &broker, quick()).has_published(1).await;
    let users = BannedUsers::new(Duration::from_secs(900));
    let now_ms = 1_700_000_000_000;
    assert!(users.is_banned(alice, now_ms), "nothing is known yet");
    let stop = watch::Sender::new(false);
    tokio::spawn(banned::follow(broker, users.clone(), stop.subscribe()));
    eventually("they are replayed", || async { users.is_replayed() }).await;
    assert!(users.is_banned(mallory, now_ms) && !users.is_banned(alice, now_ms));
    stop.send_replace(true);
}
