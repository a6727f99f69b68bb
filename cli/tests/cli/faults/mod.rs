//! Real processes under faults: nodes, a broker, both services, a provider and a mail server, one of which is killed, halted,
//! wiped or left without an answer while tickets are sold. Each drill ends with the same audit: the stream is the outbox, a
//! consumer saw every version once and in order, one charge was captured for each complete order and none elsewhere, none is
//! left authorised, and every mail has the id that it must have.
//!
//! `cargo test -p holdfast --test cli fault_table -- --ignored --nocapture` runs them all and prints the table of
//! `docs/EVENTS.md`.

mod acks;
mod broker;
mod pile;
mod relay;
mod steps;
mod table;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use holdfast_cli::client::Client;
use holdfast_cli::estate::{Estate, EstatePlan, Worker};
use holdfast_cli::stream::{self, Scan};
use holdfast_cli::tools;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::follower::Follower;
use crate::support::gate::Gate;
use crate::support::mail::Mail;
use crate::support::people::{PRICE_MINOR, People};
use crate::support::stripe::{Caught, Moment, Step, Stripe};
use crate::support::{Load, PATIENCE, WAIT, holdfast_beside, plan, program, text};

pub const RECENT: &str = "nats-server";
pub const DEBIAN: &str = "nats-server-2.9.10";
const BUYERS: usize = 4;
const TICKETS: usize = 2_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What a drill came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub fault: &'static str,
    pub done: String,
    pub events: u64,
    pub orders: u64,
    pub lost: u64,
    pub doubled: u64,
    pub charges_wrong: u64,
    pub mails: u64,
    pub mails_wrong: u64,
    /// Mails that came again, under the same id.
    pub mails_repeated: u64,
    /// From the end of the fault until stream, consumer and charges were as they must be.
    pub catch_up: Duration,
    /// One line for each thing that is wrong.
    pub findings: Vec<String>,
}

impl Outcome {
    fn assert_clean(&self) {
        println!("{}", table::row(self));
        assert!(self.findings.is_empty(), "{}: {}", self.fault, self.findings.join("\n"));
        assert!(self.orders > 0 && self.events > 0, "{self:?}");
    }
}

/// Everything under load, before the fault.
struct Drill {
    estate: Estate,
    stripe: Stripe,
    mail: Mail,
    follower: Follower,
    load: Load,
    people: People,
    /// How orders of the test's own, beside the load's, must have ended.
    own: BTreeMap<String, Ending>,
    /// Before the broker, for payments and for notifications, where the setting has them.
    gates: Vec<Gate>,
    dir: TempDir,
}

/// What must have become of the money of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Taken,
    LetGo,
    GivenBack,
}

/// How many copies of a service a drill runs, and how mails are received.
#[derive(Debug, Clone, Copy)]
struct Setting {
    server: &'static str,
    nodes: usize,
    payments: usize,
    mails_refused: u32,
    mails_dropped: u32,
    /// The services reach the broker through gates.
    gated: bool,
}

const USUAL: Setting =
    Setting { server: RECENT, nodes: 3, payments: 2, mails_refused: 0, mails_dropped: 0, gated: false };

impl Drill {
    async fn start(setting: Setting) -> Drill {
        let dir = tempfile::tempdir().expect("a folder");
        let stripe = Stripe::start(dir.path()).await;
        let mail = Mail::start(dir.path(), setting.mails_refused, setting.mails_dropped).await;
        let secret = dir.path().join("stripe.key");
        std::fs::write(&secret, "sk_test_holdfast").expect("written");
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let secret = secret.display().to_string();
        let provider = words(&["--provider", "stripe", "--stripe-url", &stripe.url, "--stripe-key-file", &secret]);
        let plan = EstatePlan {
            nodes: plan(dir.path(), setting.nodes),
            broker: tools::find(setting.server, &program()).expect("the test tools"),
            payments: (0, Vec::new()),
            notifications: (0, Vec::new()),
        };
        let mut estate = Estate::start(plan).await.expect("everything starts");
        let smtp = words(&["--smtp", &mail.url]);
        let mut gates = Vec::new();
        for (service, copies, flags) in [("payments", setting.payments, provider), ("notifications", 1, smtp)] {
            let mut nats = estate.broker.url();
            if setting.gated {
                let gate = Gate::start(estate.broker.address()).await;
                nats.clone_from(&gate.url);
                gates.push(gate);
            }
            estate.employ(service, copies, &nats, &flags).await.expect("the service starts");
        }
        let follower = Follower::start(&estate.broker.url(), 2);
        let load = Load::start(&estate.cluster, BUYERS, TICKETS).await;
        let people = People::sign_up(&estate.cluster).await;
        load.wait_for(5).await;
        Drill { estate, stripe, mail, follower, load, people, own: BTreeMap::new(), gates, dir }
    }

    /// Waits until a worker's request is in a trap.
    async fn caught(&self, step: Step, moment: Moment) -> Caught {
        Drill::sprung(self.stripe.trap(step, moment)).await
    }

    async fn sprung(trap: oneshot::Receiver<Caught>) -> Caught {
        tokio::time::timeout(WAIT, trap).await.expect("a worker asks for it").expect("the proxy runs")
    }

    /// Ends the load, waits until everything is as it must be, and audits all of it. The fault is over.
    async fn end(mut self, fault: &'static str, done: impl Into<String>) -> Outcome {
        let healed = Instant::now();
        let mut outcome = Outcome { fault, done: done.into(), ..Outcome::default() };
        self.load.wait_for(5).await;
        let url = self.estate.broker.url();
        let buyers = self.load.finish().await;
        outcome.orders = buyers.orders.len() as u64;
        let scan = self.settle(&url).await;
        outcome.catch_up = healed.elapsed();
        outcome.findings.extend(buyers.findings);
        self.audit_charges(&buyers.orders, &mut outcome).await;
        self.audit_mails(&scan, &mut outcome);
        self.check_events(&url, &mut outcome).await;
        self.estate.payments.iter_mut().chain(&mut self.estate.notifications).for_each(Worker::stop);
        self.estate.cluster.stop_all();
        self.audit_stream(&url, &scan, &mut outcome).await;
        self.estate.stop();
        drop(self.dir);
        outcome
    }

    /// How many orders of the test's own were given back.
    fn refunds(&self) -> usize {
        self.own.values().filter(|ending| **ending == Ending::GivenBack).count()
    }

    /// Waits until the stream grows no more, the consumer has seen all of it, no charge is open and the mails are out.
    async fn settle(&self, url: &str) -> Scan {
        let started = Instant::now();
        let mut before = None;
        loop {
            let is_over = started.elapsed() > WAIT;
            let open = self.stripe.intents().await.iter().filter(|intent| is_open(&intent.status)).count();
            let last = stream::last(url).await.ok().flatten();
            // Reading all of it is worth while only once it grows no more. Over the time limit the audit says what is missing.
            if is_over || (open == 0 && last.is_some() && last == before) {
                let scan = stream::scan(url).await.unwrap_or_default();
                let names: BTreeSet<String> = self.mail.taken().keys().map(|id| name_of(id)).collect();
                let all_told = scan.mails_must.is_subset(&names) && refunds_in(&names) >= self.refunds();
                if is_over || (self.follower.has_caught_up(&scan) && all_told) {
                    return scan;
                }
            }
            before = last;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// `holdfast events check`: the stream against the outbox of a running node, row by row.
    async fn check_events(&self, url: &str, outcome: &mut Outcome) {
        let operator = self.estate.cluster.members[0].operator.to_string();
        let output = holdfast_beside(&["events", "check", "--json", "--nats", url, "--operator", &operator]).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let compared = report["equal"].as_u64().unwrap_or(0);
        if !output.status.success() || compared == 0 {
            outcome.findings.push(format!("events check: {report} {}", text(&output.stderr)));
        }
    }

    /// No id twice, no version missing, every row of the outbox under its own number, and a consumer that was told each once.
    async fn audit_stream(&self, url: &str, scan: &Scan, outcome: &mut Outcome) {
        outcome.events = scan.events;
        outcome.doubled = scan.doubled;
        outcome.lost = scan.gaps;
        if scan.doubled + scan.gaps > 0 {
            outcome.findings.push(format!("the stream: {} doubled, {} missing", scan.doubled, scan.gaps));
        }
        let (compared, differences) =
            stream::differences(url, &self.estate.cluster.members[0].data).await.expect("stream and outbox");
        assert!(compared > 0, "an outbox without rows compares nothing");
        outcome.lost += differences.len() as u64;
        outcome.findings.extend(differences);
        outcome.findings.extend(self.follower.complaints(scan));
    }

    /// One captured charge of the right amount for each complete order, and nothing else held or taken.
    async fn audit_charges(&self, orders: &BTreeMap<String, u64>, outcome: &mut Outcome) {
        let mut charged: BTreeMap<String, u64> = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut own = self.own.clone();
        for intent in self.stripe.intents().await {
            if let Some(ending) = own.remove(&intent.order) {
                let stands = (intent.status.as_str(), intent.captures, intent.refunded);
                let is_right = match ending {
                    Ending::Taken => stands == ("succeeded", 1, false),
                    Ending::LetGo => stands.0 == "canceled" && stands.1 == 0,
                    Ending::GivenBack => stands == ("succeeded", 1, true),
                };
                if !is_right || intent.amount_minor != PRICE_MINOR {
                    wrong.push(format!("{intent:?}: it must be {ending:?}"));
                }
            } else if intent.status == "succeeded" {
                *charged.entry(intent.order.clone()).or_default() += 1;
                if intent.captures != 1 || orders.get(&intent.order) != Some(&intent.amount_minor) {
                    wrong.push(format!("{intent:?}: the order costs {:?}", orders.get(&intent.order)));
                }
            } else if is_open(&intent.status) {
                wrong.push(format!("{intent:?} is left open"));
            }
        }
        let once = |order: &&String| charged.get(*order) != Some(&1);
        wrong
            .extend(orders.keys().filter(once).map(|order| format!("order {order}: {:?} charges", charged.get(order))));
        wrong.extend(own.keys().map(|order| format!("order {order}: no charge, or more than one")));
        outcome.charges_wrong = wrong.len() as u64;
        outcome.findings.extend(wrong);
    }

    /// Every complete order is confirmed, under the one id that this mail has, and nobody is written to without a reason. A mail
    /// whose answer was lost may come again, as the same mail.
    fn audit_mails(&self, scan: &Scan, outcome: &mut Outcome) {
        let taken = self.mail.taken();
        outcome.mails = taken.len() as u64;
        outcome.mails_repeated = taken.values().map(|times| u64::from(times - 1)).sum();
        let names: BTreeSet<String> = taken.keys().map(|id| name_of(id)).collect();
        let missing = scan.mails_must.difference(&names).map(|name| format!("no mail {name}"));
        let known = |name: &&String| scan.mails_must.contains(*name) || scan.mails_may.contains(*name);
        let unasked = names.iter().filter(|name| !known(name)).map(|name| format!("a mail {name} without a reason"));
        let mut wrong: Vec<String> = missing.chain(unasked).collect();
        let (refunds, told) = (self.refunds(), refunds_in(&names));
        if told != refunds {
            wrong.push(format!("{told} mails about {refunds} refunds"));
        }
        outcome.mails_wrong = wrong.len() as u64;
        outcome.findings.extend(wrong);
    }
}

/// What stands before the domain of a message id.
fn name_of(id: &str) -> String {
    id.trim_matches(['<', '>']).split('@').next().unwrap_or_default().to_string()
}

/// How many of these mails tell of a refund.
fn refunds_in(names: &BTreeSet<String>) -> usize {
    names.iter().filter(|name| name.starts_with("refunded.")).count()
}

/// Whether money is held, or may come to be.
fn is_open(status: &str) -> bool {
    matches!(status, "requires_capture" | "requires_confirmation" | "requires_action" | "processing")
}

/// A client of an estate's nodes.
fn client(estate: &Estate) -> Client {
    Client::new(&estate.cluster.urls(), PATIENCE).expect("a client")
}
