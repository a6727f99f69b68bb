//! A consumer, as anybody writes one with the library, and what it makes of the stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_cli::stream::{Scan, broker};
use holdfast_events::consumer::{Consumer, Handler, MemoryInbox, Received, Settings, Trouble, shared};
use tokio::sync::watch;

const ENTITIES_MAX: usize = 1_000_000;

/// A consumer that keeps what it was told, in effect.
pub struct Follower {
    seen: Arc<Mutex<BTreeMap<String, Vec<u64>>>>,
    stop: watch::Sender<bool>,
}

struct Keep(Arc<Mutex<BTreeMap<String, Vec<u64>>>>);

impl Handler for Keep {
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>> {
        let envelope = &received.message.envelope;
        // An expiry repeats its order's version and changes nothing.
        if envelope.is_change() {
            let mut seen = self.0.lock().expect("nothing panics under the lock");
            seen.entry(envelope.entity.to_string()).or_default().push(envelope.version);
        }
        std::future::ready(Ok(())).boxed()
    }
}

impl Follower {
    /// Follows everything from the beginning, with `workers` that share one consumer.
    pub fn start(url: &str, workers: usize) -> Follower {
        let seen = Arc::<Mutex<BTreeMap<String, Vec<u64>>>>::default();
        let (stop, stopping) = watch::channel(false);
        let inbox = shared(MemoryInbox::new(ENTITIES_MAX));
        for _ in 0..workers {
            let settings = Settings::new("follower", None);
            let consumer =
                Consumer::new(broker(url).expect("the broker's URL"), settings, inbox.clone(), Keep(seen.clone()));
            let stopping = stopping.clone();
            tokio::spawn(async move { consumer.run(stopping).await });
        }
        Follower { seen, stop }
    }

    /// Whether it has come as far as the stream.
    pub fn has_caught_up(&self, scan: &Scan) -> bool {
        let seen = self.seen.lock().expect("nothing panics under the lock");
        scan.versions.iter().all(|(entity, last)| seen.get(entity).is_some_and(|seen| seen.contains(last)))
    }

    /// Versions that it was told out of order, twice or not at all: one line each.
    pub fn complaints(&self, scan: &Scan) -> Vec<String> {
        let seen = self.seen.lock().expect("nothing panics under the lock");
        let expected = |last: u64| (0..=last).collect::<Vec<_>>();
        let wrong = |(entity, last): (&String, &u64)| match seen.get(entity) {
            Some(seen) if *seen == expected(*last) => None,
            seen => Some(format!("{entity} at version {last}: the consumer saw {seen:?}")),
        };
        scan.versions.iter().filter_map(wrong).collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
