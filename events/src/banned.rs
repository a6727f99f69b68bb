//! Who was banned lately: for services that check tokens by signature alone, without asking the ledger.
//!
//! A token is good for its lifetime whatever happens to its user, so a ban is remembered for exactly one token lifetime: after
//! that no token from before it is left. On a cold start the bans of the last lifetime are replayed from the stream, and until that is
//! done no token is to be trusted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_ledger::event::EventType;
use holdfast_ledger::id::UserId;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::broker::{BrokerError, PullSettings, SharedBroker, StartAt, ledger_stream, newest_lineage};
use crate::wire;

/// Bans that are remembered at once. Beyond, the oldest are forgotten early, and it is said.
const BANS_MAX: usize = 100_000;
/// Messages taken at once.
const BATCH_MAX: usize = 256;
const FETCH_WAIT: Duration = Duration::from_secs(1);
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// The users banned within the last token lifetime. Clones are the same list.
#[derive(Clone)]
pub struct BannedUsers {
    token_ttl: Duration,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// When, in milliseconds of ledger time.
    banned_ms: BTreeMap<UserId, u64>,
    is_replayed: bool,
}

impl BannedUsers {
    /// `token_ttl` is how long a token is valid from its issue.
    pub fn new(token_ttl: Duration) -> BannedUsers {
        BannedUsers { token_ttl, known: Arc::default() }
    }

    /// Whether tokens of the user that were issued before `now_ms` may not be honoured. Also while it is not known yet.
    pub fn is_banned(&self, user: UserId, now_ms: u64) -> bool {
        let known = self.lock();
        !known.is_replayed || known.banned_ms.get(&user).is_some_and(|banned_ms| now_ms < banned_ms + self.ttl_ms())
    }

    /// The bans of the last lifetime have been replayed.
    pub fn is_replayed(&self) -> bool {
        self.lock().is_replayed
    }

    /// Remembers a ban, and forgets those whose lifetime was over by then.
    pub fn record(&self, user: UserId, banned_ms: u64) {
        let ttl_ms = self.ttl_ms();
        let mut known = self.lock();
        known.banned_ms.retain(|_, ms| *ms + ttl_ms > banned_ms);
        let ms = known.banned_ms.entry(user).or_insert(banned_ms);
        *ms = banned_ms.max(*ms);
        if known.banned_ms.len() > BANS_MAX
            && let Some(oldest) = known.banned_ms.iter().min_by_key(|(_, ms)| **ms).map(|(user, _)| *user)
        {
            tracing::error!("more than {BANS_MAX} bans within one token lifetime: the oldest are forgotten");
            known.banned_ms.remove(&oldest);
        }
    }

    fn ttl_ms(&self) -> u64 {
        self.token_ttl.as_millis() as u64
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of the bans panics")
    }
}

/// Keeps `users` up to date until `stop` becomes true: first what lies up to a token lifetime back, then what comes.
pub async fn follow(broker: SharedBroker, users: BannedUsers, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|raised| *raised) => return,
            result = session(&broker, &users) => {
                if let Err(error) = result {
                    tracing::debug!("bans are not followed at the moment: {error}");
                }
            }
        }
        sleep(AWAY_PAUSE).await;
    }
}

async fn session(broker: &SharedBroker, users: &BannedUsers) -> Result<(), BrokerError> {
    let connection = broker.connect().await?;
    let lineage = newest_lineage(&*connection).await?;
    let Some(lineage) = lineage else {
        // Nothing was ever published, so nobody was banned.
        users.lock().is_replayed = true;
        return Ok(());
    };
    let settings = PullSettings {
        durable: None,
        filter: Some(wire::filter_of(EventType::UserBanned)),
        // A broker that was filled again dates events later than they happened: that replays more than needed, never less.
        start: StartAt::Since(users.token_ttl),
        ack_wait: Duration::from_secs(30),
        ack_pending_max: 2 * BATCH_MAX,
    };
    let pull = connection.pull(&ledger_stream(lineage), settings).await?;
    loop {
        let fetched = pull.fetch(BATCH_MAX, FETCH_WAIT).await?;
        if fetched.is_empty() {
            users.lock().is_replayed = true;
            if newest_lineage(&*connection).await? != Some(lineage) {
                return Ok(());
            }
        }
        for delivery in fetched {
            if let Ok(envelope) = wire::Envelope::read(|name| delivery.message.header(name)) {
                users.record(UserId(envelope.entity), envelope.time_ms);
            }
            delivery.ack().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::id::Id;

    use super::*;

    #[test]
    fn a_ban_is_remembered_for_exactly_one_token_lifetime() {
        let users = BannedUsers::new(Duration::from_secs(900));
        let (mallory, alice) = (UserId(Id::mint(0, 1, 0)), UserId(Id::mint(0, 1, 1)));
        assert!(users.is_banned(alice, 0), "nobody is trusted before the replay");
        users.lock().is_replayed = true;
        users.record(mallory, 1_000);
        assert!(!users.is_banned(alice, 1_000));
        assert!(users.is_banned(mallory, 900_999));
        assert!(!users.is_banned(mallory, 901_000));
        users.record(alice, 2_000_000);
        assert_eq!(users.lock().banned_ms.len(), 1, "what is over is forgotten");
    }
}
