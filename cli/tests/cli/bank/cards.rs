//! A card number is refused wherever somebody writes it, and stands nowhere afterwards: not in what nodes, broker and services
//! store, not in a mail, and not in the log of any process, each at its most talkative.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use holdfast_cli::client::Account;
use holdfast_cli::estate::{Estate, EstatePlan};
use holdfast_cli::tools;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::WEBHOOK_SECRET;
use super::webhooks::{post, post_signed};
use crate::support::people::People;
use crate::support::{PATIENCE, plan, program};

const CARD: &str = "4000056655665556";
const CARD_IN_GROUPS: &str = "4000 0566 5566 5556";
/// What is looked for to see that a search finds what is there.
const MARK: &str = "Row Q, seat 7311";

/// A program that runs `program` with `before` in front of its arguments, everything logged.
fn talkative(dir: &Path, name: &str, program: &Path, before: &str) -> PathBuf {
    let script = dir.join(name);
    let text = format!("#!/bin/sh\nHOLDFAST_LOG=trace exec '{}' {before} \"$@\"\n", program.display());
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("made a program");
    script
}

/// Files below `folder` whose names end with `end` and in which `text` stands.
fn files_with(folder: &Path, end: &str, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, end, text));
        } else if path.to_string_lossy().ends_with(end)
            && String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).contains(text)
        {
            found.push(path);
        }
    }
    found
}

/// What a careless or a hostile client may send to a node.
fn attempts(node: &str, order: &str, buyer: &Account) -> Vec<RequestBuilder> {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().expect("a client");
    let ask =
        |method: Method, path: &str| http.request(method, format!("{node}{path}")).header("cookie", buyer.cookie());
    let pay = |body: Value| ask(Method::POST, "/api/payments").json(&body);
    let good = json!({ "token": "tok_visa", "orderId": order });
    vec![
        pay(json!({ "token": CARD, "orderId": order })),
        pay(json!({ "token": CARD_IN_GROUPS, "orderId": order })),
        pay(json!({ "token": format!("tok_{CARD}"), "orderId": order })),
        pay(json!({ "token": "tok_visa", "orderId": CARD })),
        pay(json!({ "token": CARD, "orderId": order, "card": { "number": CARD }, CARD: CARD })),
        pay(json!(CARD)),
        pay(good.clone()).header("idempotency-key", CARD),
        pay(good.clone()).header("idempotency-key", format!("\"{CARD_IN_GROUPS}\"")),
        pay(json!({ "token": CARD })).header("x-request-id", CARD).header("user-agent", CARD).header("accept", CARD),
        ask(Method::POST, "/api/payments")
            .header("content-type", "application/json")
            .body(format!("{{\"token\":\"{CARD}")),
        ask(Method::POST, "/api/payments").header("content-type", "text/plain").body(CARD),
        ask(Method::POST, &format!("/orders/{order}/pay")).form(&[("token", CARD)]),
        ask(Method::POST, &format!("/orders/{CARD}/pay")).form(&[("token", CARD)]),
        ask(Method::GET, &format!("/api/payments/{CARD}?number={CARD}")),
    ]
}

/// What may come to the worker's listener, whoever sends it.
async fn at_the_worker(url: &str) {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let object = json!({ "id": CARD, "metadata": { "payment": CARD, "card": CARD } });
    let event = json!({ "id": CARD, "type": CARD, "data": { "object": object } }).to_string();
    assert_eq!(post_signed(url, &event, now_s).await.0, 200, "no payment of ours");
    for body in [format!("{{\"id\":{CARD}}}"), CARD.to_string(), format!("{{\"{CARD}")] {
        assert_eq!(post_signed(url, &body, now_s).await.0, 400, "{body}");
    }
    for signature in [CARD.to_string(), format!("t={CARD},v1=00")] {
        assert_eq!(post(url, &event, &signature).await.0, 400, "{signature}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_number_is_refused_everywhere_and_stands_in_no_store_mail_or_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = tools::find("nats-server", &program()).expect("the test tools");
    let (secret, mails) = (dir.path().join("webhook.secret"), dir.path().join("mails"));
    std::fs::write(&secret, WEBHOOK_SECRET).expect("written");
    let told = |flag: &str, path: &Path| vec![flag.to_string(), path.display().to_string()];
    let mut nodes = plan(dir.path(), 3);
    nodes.program = talkative(dir.path(), "holdfast", &program(), "");
    let plan = EstatePlan {
        nodes,
        broker: talkative(dir.path(), "nats", &server, "-DVV"),
        payments: (1, told("--webhook-secret-file", &secret)),
        notifications: (1, told("--outbox", &mails)),
    };
    let mut estate = Estate::start(plan).await.expect("everything starts");
    let people = People::sign_up(&estate.cluster).await;
    let ticket = people.ticket(MARK).await;
    let bought = people.lock(&ticket).await;
    for node in estate.cluster.urls() {
        for attempt in attempts(&node, &bought.order, &bought.buyer) {
            let asked = format!("{attempt:?}");
            let answer = attempt.send().await.expect("an answer");
            assert!(answer.status().is_client_error(), "{}: {asked}", answer.status());
        }
    }
    at_the_worker(&estate.payments[0].url).await;
    // None of it was a reason not to sell him his ticket, and that is in every store.
    assert_eq!(bought.shown().await["status"], "created");
    assert_eq!(bought.pay("tok_visa").await.expect("paid").status, 201);
    bought.settled("captured").await;
    let started = std::time::Instant::now();
    while files_with(&mails, ".eml", MARK).is_empty() {
        assert!(started.elapsed() < PATIENCE, "no mail");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    estate.stop();

    let below = |folder: &str| dir.path().join(folder);
    for store in ["node-1", "node-2", "node-3", "broker"] {
        assert!(!files_with(&below(store), "", MARK).is_empty(), "the search finds what {store} has stored");
    }
    let logs = files_with(dir.path(), ".log", "TRACE");
    assert!(logs.len() >= 5, "nodes and services log everything: {logs:?}");
    assert!(!files_with(dir.path(), "broker.log", "ticket:created").is_empty(), "so does the broker");
    for card in [CARD, CARD_IN_GROUPS] {
        assert_eq!(files_with(dir.path(), "", card), Vec::<PathBuf>::new(), "{card}");
    }
}
