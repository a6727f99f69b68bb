//! A thousand users at once for one ticket, through three nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_cli::client::{Account, Ask, Client};
use holdfast_cli::sale::Seller;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::{PATIENCE, cluster};

const USERS: usize = 1_000;
const ROUNDS: usize = 20;
/// Sign-ups under way at once.
const SIGN_UPS_MAX: usize = 32;

/// In every round one user gets 201, and everybody else the contract's 400.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_at_once_for_one_ticket() {
    allow_connections();
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let client = Client::new(&cluster.urls(), PATIENCE).expect("a client");
    let seller = Seller::sign_up(&client, "seller@rush.example", "password").await.expect("a seller");
    let users = sign_up(&client).await;
    for round in 0..ROUNDS {
        let body = json!({ "title": "The one", "price": 50, "externalId": format!("round-{round}") });
        let ticket = seller.create(&[body]).await.expect("a ticket").remove(0);
        let statuses = rush(&client, &users, &ticket, round).await;
        let expected =
            BTreeMap::from([((201, String::new()), 1), ((400, "ticket_reserved".to_string()), USERS as u64 - 1)]);
        assert_eq!(statuses, expected, "round {round}");
    }
    cluster.stop_all();
}

/// All users ask at the same moment, each at a node of his own; how often each answer was given.
async fn rush(client: &Client, users: &[Arc<Account>], ticket: &str, round: usize) -> BTreeMap<(u16, String), u64> {
    let start = Arc::new(Barrier::new(users.len()));
    let mut asking = JoinSet::new();
    for (number, user) in users.iter().enumerate() {
        let (client, user, start) = (client.clone(), user.clone(), start.clone());
        let body = json!({ "ticketId": ticket });
        asking.spawn(async move {
            start.wait().await;
            let ask = Ask::post("/api/orders", body).key(format!("round-{round}")).by(&user).at(number);
            let reply = client.send(ask).await.expect("an answer");
            (reply.status, reply.code().to_string())
        });
    }
    let mut statuses = BTreeMap::new();
    for answer in asking.join_all().await {
        *statuses.entry(answer).or_default() += 1;
    }
    statuses
}

async fn sign_up(client: &Client) -> Vec<Arc<Account>> {
    let mut users = Vec::with_capacity(USERS);
    let mut signing_up = JoinSet::new();
    for number in 0..USERS {
        if signing_up.len() >= SIGN_UPS_MAX {
            users.extend(signing_up.join_next().await);
        }
        let client = client.clone();
        signing_up.spawn(async move {
            let email = format!("user-{number}@rush.example");
            Arc::new(client.account(&email, "password", number).await.expect("an account"))
        });
    }
    users.extend(signing_up.join_all().await.into_iter().map(Ok));
    users.into_iter().map(|user| user.expect("a task")).collect()
}

/// A thousand connections need as many file descriptors.
fn allow_connections() {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum }).expect("more descriptors");
}
