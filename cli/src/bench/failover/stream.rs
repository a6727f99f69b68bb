//! A steady stream of writes and reads to one node, whatever becomes of those before.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use holdfast_ledger::entities::Policy;
use reqwest::Method;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::super::{PATIENCE, create_tickets};
use crate::client::{Account, Ask, Client};
use crate::failure::Failure;

/// Between two writes, and between two reads.
const PACE: Duration = Duration::from_millis(20);
/// Writes that are under way at once; each has a ticket of its own.
pub const TICKETS: u64 = 512;
/// Reads that are under way at once.
const READS_MAX: usize = 512;
/// Idempotency keys of one write: the lock's, and the cancellation's.
const KEYS_EACH: u32 = 2;
/// A buyer whose session is older is not begun a round with: while his stream does not flow, nothing renews it.
const BUYER_AGE_MAX: Duration = Duration::from_secs(600);

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Write,
    Read,
}

/// One answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub what: Seen,
    pub sent: Instant,
    pub answered: Instant,
}

/// Whom a stream asks, as whom, and about which tickets.
#[derive(Clone)]
pub struct Stream {
    client: Client,
    buyer: Arc<Buyer>,
    free: Arc<Mutex<VecDeque<String>>>,
    run: String,
}

/// As whom a stream writes, and how many keys it has used as him: the ledger keeps so many a user and no more.
struct Buyer {
    account: Account,
    keys: AtomicU32,
    since: Instant,
}

/// A stream that flows.
pub struct Flowing {
    pub seen: Answers,
    over: watch::Sender<bool>,
    task: JoinHandle<Result<(), Failure>>,
}

/// The answers so far.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<Answer>>>);

impl Answers {
    fn all(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.0.lock().expect("nothing panics while it holds the answers")
    }

    /// How many requests that were sent after `since` are answered.
    pub fn count(&self, what: Seen, since: Instant) -> usize {
        self.all().iter().filter(|answer| answer.what == what && answer.sent >= since).count()
    }

    fn add(&self, what: Seen, sent: Instant) {
        self.all().push(Answer { what, sent, answered: Instant::now() });
    }
}

impl Stream {
    /// A stream to the node at `url`. `client` reaches all nodes and prepares.
    pub async fn prepare(client: &Client, url: String, node: usize) -> Result<Stream, Failure> {
        let run = format!("{node}-{:08x}", rand::random::<u32>());
        let buyer = Arc::new(Buyer::sign_up(client, node).await?);
        let tickets = create_tickets(client, TICKETS, &run).await?;
        let client = Client::new(&[url], PATIENCE)?;
        Ok(Stream { client, buyer, free: Arc::new(Mutex::new(tickets.into())), run })
    }

    /// Goes on as somebody else, when half of the keys are used or the session is old: what is left is enough for a round.
    pub async fn change_buyer(&mut self, client: &Client) -> Result<(), Failure> {
        if self.buyer.is_worn() {
            self.buyer = Arc::new(Buyer::sign_up(client, 0).await?);
        }
        Ok(())
    }

    /// Lets it flow.
    pub fn flow(&self) -> Flowing {
        let (over, ends) = watch::channel(false);
        let seen = Answers::default();
        Flowing { task: tokio::spawn(self.clone().run(seen.clone(), ends)), seen, over }
    }

    fn free(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.free.lock().expect("nothing panics while it holds the tickets")
    }

    /// Asks at a steady pace until `ends` is raised, and waits for the answers then.
    async fn run(self, seen: Answers, ends: watch::Receiver<bool>) -> Result<(), Failure> {
        let (mut writes, mut reads) = (JoinSet::new(), JoinSet::new());
        let mut pace = tokio::time::interval(PACE);
        while !*ends.borrow() {
            pace.tick().await;
            let ticket = if self.buyer.has_keys() { self.free().pop_front() } else { None };
            if let Some(ticket) = ticket {
                self.buyer.keys.fetch_add(KEYS_EACH, Ordering::Relaxed);
                if reads.len() < READS_MAX {
                    reads.spawn(self.clone().read(ticket.clone(), seen.clone()));
                }
                writes.spawn(self.clone().write(ticket, seen.clone()));
            }
            while let Some(done) = writes.try_join_next().or_else(|| reads.try_join_next()) {
                done.map_err(|error| Failure::failed(format!("a request's task: {error}")))??;
            }
        }
        for done in writes.join_all().await.into_iter().chain(reads.join_all().await) {
            done?;
        }
        Ok(())
    }

    /// Locks a ticket, and lets it go again.
    async fn write(self, ticket: String, seen: Answers) -> Result<(), Failure> {
        let key = format!("{}-{:016x}", self.run, rand::random::<u64>());
        let sent = Instant::now();
        let lock = Ask::post("/api/orders", json!({ "ticketId": ticket })).key(&key).by(&self.buyer.account);
        let order = self.client.send(lock).await?.expect(201, "lock")?;
        seen.add(Seen::Write, sent);
        let order = order["id"].as_str().unwrap_or_default();
        let cancel =
            Ask::new(Method::DELETE, format!("/api/orders/{order}")).key(format!("{key}-x")).by(&self.buyer.account);
        self.client.send(cancel).await?.expect(204, "cancellation")?;
        self.free().push_back(ticket);
        Ok(())
    }

    async fn read(self, ticket: String, seen: Answers) -> Result<(), Failure> {
        let sent = Instant::now();
        self.client.send(Ask::get(format!("/api/tickets/{ticket}"))).await?.expect(200, "ticket")?;
        seen.add(Seen::Read, sent);
        Ok(())
    }
}

impl Buyer {
    async fn sign_up(client: &Client, first_node: usize) -> Result<Buyer, Failure> {
        let email = format!("bench-{:016x}@holdfast.example", rand::random::<u64>());
        let account = client.account(&email, "bench-password", first_node).await?;
        Ok(Buyer { account, keys: AtomicU32::new(0), since: Instant::now() })
    }

    fn keys_left(&self) -> u32 {
        keys_max().saturating_sub(self.keys.load(Ordering::Relaxed))
    }

    fn has_keys(&self) -> bool {
        self.keys_left() >= KEYS_EACH
    }

    fn is_worn(&self) -> bool {
        self.keys_left() < keys_max() / 2 || self.since.elapsed() > BUYER_AGE_MAX
    }
}

/// Keys that the ledger keeps of one user; the nodes are ours and have the policy that they began with.
fn keys_max() -> u32 {
    Policy::default().idempotency_keys_per_user_max
}

impl Flowing {
    /// Ends the stream; all of its answers.
    pub async fn end(mut self) -> Result<Vec<Answer>, Failure> {
        self.over.send_replace(true);
        (&mut self.task).await.map_err(|error| Failure::failed(format!("a stream's task: {error}")))??;
        Ok(std::mem::take(&mut *self.seen.all()))
    }
}

impl Drop for Flowing {
    /// A round that came to no end leaves no stream behind that goes on.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// From `at` to the first answer to something that was sent after it.
pub fn first_after(seen: &[Answer], what: Seen, at: Instant) -> Duration {
    let after = seen.iter().filter(|answer| answer.what == what && answer.sent >= at);
    after.map(|answer| answer.answered - at).min().unwrap_or_default()
}

/// The longest time between two answers after `at`.
pub fn longest_gap(seen: &[Answer], what: Seen, at: Instant) -> Duration {
    let mut answered: Vec<Instant> =
        seen.iter().filter(|answer| answer.what == what && answer.answered >= at).map(|one| one.answered).collect();
    answered.push(at);
    answered.sort();
    answered.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_after_the_act_counts() {
        let at = Instant::now() + Duration::from_secs(1);
        let ms = |ms: u64| Duration::from_millis(ms);
        let answer = |sent: Instant, answered: Instant| Answer { what: Seen::Write, sent, answered };
        let seen = [answer(at - ms(5), at + ms(3)), answer(at + ms(1), at + ms(40)), answer(at + ms(2), at + ms(100))];
        assert_eq!(first_after(&seen, Seen::Write, at), ms(40));
        assert_eq!(longest_gap(&seen, Seen::Write, at), ms(60));
        assert_eq!(first_after(&seen, Seen::Read, at), ms(0));
    }
}
