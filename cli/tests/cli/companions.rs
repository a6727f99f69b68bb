//! The other programs that the demonstration and the fault tests start: they end when they should, and do what is said of them.

use std::process::{Command, Stdio};

use holdfast_cli::broker::NatsServer;
use holdfast_cli::tools;
use rustix::process::{Pid, test_kill_process};
use serde_json::Value;

use crate::support::stripe::{Moment, Step, Stripe};
use crate::support::{WAIT, program};

#[test]
fn a_guarded_program_does_not_outlive_its_parent() {
    let mut guard = Command::new(program())
        .args(["guard", "--", "sleep", "600"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = guard.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    assert!(test_kill_process(pid).is_ok());
    // What the end of the parent does, however it ends.
    drop(guard.stdin.take());
    guard.wait().expect("it ends");
    assert!(test_kill_process(pid).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_brokers_are_killed_and_come_back() {
    for name in ["nats-server", "nats-server-2.9.10"] {
        let dir = tempfile::tempdir().expect("a folder");
        let server = tools::find(name, &program()).expect("the test tools");
        let mut broker = NatsServer::start(&program(), &server, dir.path()).await.expect(name);
        broker.kill();
        broker.restart().await.expect(name);
        broker.stop();
        broker.save_to(&dir.path().join("copy")).expect("a copy");
        broker.wipe().expect("wiped");
        broker.restore_from(&dir.path().join("copy")).expect("restored");
        broker.restart().await.expect(name);
    }
}

/// Sends one request as a worker does.
async fn ask(stripe: &Stripe, path: &str, key: &str, form: &[(&str, &str)]) -> Result<(u16, Value), reqwest::Error> {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(WAIT).build()?;
    let request = http.post(format!("{}/v1/{path}", stripe.url)).bearer_auth("sk_test_holdfast").form(form);
    let answer = request.header("idempotency-key", key).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_for_stripe_answers_a_key_once_and_captures_nothing_cancelled() {
    let dir = tempfile::tempdir().expect("a folder");
    let stripe = Stripe::start(dir.path()).await;
    let form =
        [("amount", "2000"), ("currency", "usd"), ("capture_method", "manual"), ("payment_method", "pm_card_visa")];
    // The answer is lost after it took effect; the same key gets it, and another request under it gets none.
    let trap = stripe.trap(Step::Create, Moment::Done);
    let lost = tokio::spawn(async move { trap.await.expect("a request").drop_answer() });
    assert!(ask(&stripe, "payment_intents", "order:1:create", &form).await.is_err());
    lost.await.expect("caught");
    let (status, intent) = ask(&stripe, "payment_intents", "order:1:create", &form).await.expect("an answer");
    assert_eq!(status, 200, "{intent}");
    let (status, _) = ask(&stripe, "payment_intents", "order:1:create", &form[..2]).await.expect("an answer");
    assert_eq!(status, 400);
    let id = intent["id"].as_str().expect("an id");
    let step = |step: &str| (format!("payment_intents/{id}/{step}"), format!("order:1:{step}"));
    for (name, status) in [("confirm", 200), ("cancel", 200), ("capture", 400)] {
        let (path, key) = step(name);
        assert_eq!(ask(&stripe, &path, &key, &[]).await.expect("an answer").0, status, "{name}");
    }
    let intents = stripe.intents().await;
    assert_eq!(intents.len(), 1, "{intents:?}");
    let only = &intents[0];
    assert_eq!((only.order.as_str(), only.status.as_str(), only.captures), ("order", "canceled", 0));
    assert_eq!(only.amount_minor, 2_000);
}
