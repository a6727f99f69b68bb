//! What mails say, and that each is written once.

use std::path::Path;
use std::sync::Arc;

use holdfast_events::memory::Faults;
use holdfast_ledger::event::EventType;
use holdfast_services::notifications::SentLog;
use holdfast_services::notifications::post::Folder;
use serde_json::json;

use super::*;

fn link(purpose: &str) -> Value {
    let url = format!("https://tickets.example.org/auth/{purpose}?token=abc");
    json!({ "purpose": purpose, "url": url, "expiresAt": "2023-11-14T23:13:20.000Z" })
}

/// Every mail is as it was when somebody last looked at it. `UPDATE_GOLDENFILES=1` writes them anew.
#[tokio::test]
async fn every_mail_reads_as_it_was_agreed() {
    let routes = Routes::with_buyer("Dodgers @ Giants, Row 7");
    let folder = tempfile::tempdir().expect("a folder");
    let post = Arc::new(Folder::new(folder.path()).expect("a folder"));
    let mut running = Running::start(&routes, post, SentLog::memory(100), false).await;
    let link_path = format!("POST /api/services/users/{}/link", buyer());
    let events = [
        ("locked", locked()),
        ("confirmed", confirmed()),
        ("expired", expired()),
        ("refunded", refunded()),
        ("price-changed", price_changed("Dodgers @ Giants, Row 7", 4, 4)),
        ("offer", offered()),
        ("reset", link_asked_for(EventType::UserResetRequested, 2, 50)),
        ("verification", link_asked_for(EventType::UserVerificationRequested, 3, 51)),
    ];
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/mails"));
    let mut differ = Vec::new();
    for (name, event) in events {
        routes.set(link_path.clone(), 200, link(if name == "reset" { "reset" } else { "verify" }));
        running.publish(&event).await;
        let mut file = format!("{name}.{}.{}", event.entity, event.version);
        if name == "price-changed" {
            file = format!("{file}.{}", buyer());
        }
        let file = folder.path().join(format!("{file}.eml"));
        until(&format!("{}", file.display()), || file.exists()).await;
        let written = std::fs::read_to_string(&file).expect("a mail");
        let kept = golden.join(format!("{name}.eml"));
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            std::fs::write(&kept, &written).expect("a file");
        }
        if std::fs::read_to_string(&kept).unwrap_or_default() != written {
            differ.push(name);
        }
    }
    assert!(differ.is_empty(), "these mails differ: {differ:?}");
    running.end().await;
    let left = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 8, "one file a mail, and nothing unfinished");
}

/// What a seller calls his ticket is text, in the HTML part and in the headers.
#[tokio::test]
async fn a_title_is_no_markup_and_no_header() {
    let title = "<script>alert(1)</script>\r\nBcc: all@example.org\r\n\r\n<img>";
    let routes = Routes::with_buyer(title);
    let post = Letterbox::default();
    let mut running = Running::start(&routes, Arc::new(post.clone()), SentLog::memory(100), false).await;
    running.publish(&price_changed(title, 1, 1)).await;
    until("the mail", || post.names().len() == 1).await;
    let mail = post.0.lock().unwrap()[0].clone();
    let text = String::from_utf8(mail.bytes().to_vec()).expect("ASCII").replace("=\r\n", "");
    let (headers, body) = text.split_once("\r\n\r\n").expect("headers and body");
    assert!(!headers.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{headers}");
    assert_eq!(mail.envelope().to().len(), 1);
    let html = &body[body.find("text/html").expect("an HTML part")..];
    assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
    assert!(html.contains("script&#62;") || html.contains("script&gt;"), "{html}");
    for remote in ["src=", "url(", "@import", "<link"] {
        assert!(!html.contains(remote), "nothing is fetched when a mail is read: {remote}");
    }
    running.end().await;
}

#[tokio::test]
async fn a_change_that_left_the_price_alone_is_no_news_of_it() {
    let routes = Routes::with_buyer("Floor");
    let post = Letterbox::default();
    let mut running = Running::start(&routes, Arc::new(post.clone()), SentLog::memory(100), false).await;
    running.publish(&price_changed("Floor", 5, 4)).await;
    running.publish(&locked()).await;
    until("the mail after it", || !post.names().is_empty()).await;
    assert_eq!(post.names(), [format!("locked.{}.0", order())]);
    running.end().await;
}

/// A broker that delivers twice, loses acknowledgements and mixes up the order: one mail an occasion all the same.
#[tokio::test]
async fn what_is_delivered_twice_is_written_once() {
    let routes = Routes::with_buyer("Floor");
    let post = Letterbox::default();
    let mut running = Running::start(&routes, Arc::new(post.clone()), SentLog::memory(1_000), false).await;
    let faults = Faults { delivery_twice_permille: 500, delivery_reordered_permille: 500, ..Faults::default() };
    running.broker.set_faults(faults);
    for round in 0..20 {
        for mut event in [locked(), expired()] {
            event.seq = round;
            running.publish(&event).await;
        }
    }
    running.publish(&refunded()).await;
    until("all mails", || post.names().len() >= 3).await;
    // Everything that was published is acknowledged before the end.
    running.end().await;
    let mut names = post.names();
    names.sort();
    let expected = [format!("expired.{}.1", order()), format!("locked.{}.0", order()), format!("refunded.{}.5", id(4))];
    assert_eq!(names, expected);
}

/// What was written before a restart is not written after it.
#[tokio::test]
async fn a_restart_forgets_nothing() {
    let routes = Routes::with_buyer("Floor");
    let folder = tempfile::tempdir().expect("a folder");
    let sent = || SentLog::open(&folder.path().join("sent"), 100).expect("a file");
    let first = Letterbox::default();
    let mut running = Running::start(&routes, Arc::new(first.clone()), sent(), false).await;
    running.publish(&locked()).await;
    until("the first mail", || first.names().len() == 1).await;
    running.end().await;
    // A broker that has forgotten what was acknowledged delivers everything again.
    let second = Letterbox::default();
    let mut running = Running::start(&routes, Arc::new(second.clone()), sent(), false).await;
    running.publish(&locked()).await;
    running.publish(&expired()).await;
    until("the mail after it", || !second.names().is_empty()).await;
    running.end().await;
    assert_eq!(second.names(), [format!("expired.{}.1", order())]);
}

#[tokio::test]
async fn who_is_banned_or_gone_is_not_written_to() {
    for contact in [
        json!({ "email": "a@example.org", "verified": true, "banned": true, "erased": false }),
        json!({ "email": null, "verified": true, "banned": false, "erased": true }),
        json!({ "email": "no address", "verified": true, "banned": false, "erased": false }),
    ] {
        let routes = Routes::with_buyer("Floor");
        let contact_path = format!("GET /api/services/users/{}/contact", buyer());
        routes.set(contact_path.clone(), 200, contact);
        let post = Letterbox::default();
        let mut running = Running::start(&routes, Arc::new(post.clone()), SentLog::memory(100), false).await;
        running.publish(&locked()).await;
        until("the address is asked for", || routes.asked().contains(&contact_path)).await;
        let good = json!({ "email": "a@example.org", "verified": true, "banned": false, "erased": false });
        running.publish(&refunded()).await;
        until("the second time", || routes.asked().iter().filter(|asked| **asked == contact_path).count() == 2).await;
        routes.set(contact_path, 200, good);
        running.publish(&expired()).await;
        until("a mail", || !post.names().is_empty()).await;
        assert_eq!(post.names(), [format!("expired.{}.1", order())]);
        running.end().await;
    }
}

/// A cluster that cannot answer costs no mail.
#[tokio::test]
async fn a_mail_waits_for_a_cluster_that_is_away() {
    let routes = Routes::with_buyer("Floor");
    let order_path = format!("GET /api/services/orders/{}", order());
    let answer = routes.0.lock().unwrap()[&order_path].1.clone();
    routes.set(order_path.clone(), 503, json!({ "errors": [] }));
    let post = Letterbox::default();
    let mut running = Running::start(&routes, Arc::new(post.clone()), SentLog::memory(100), false).await;
    running.publish(&locked()).await;
    until("it is asked twice", || routes.asked().iter().filter(|asked| **asked == order_path).count() >= 2).await;
    assert!(post.names().is_empty());
    routes.set(order_path, 200, answer);
    until("the mail", || post.names().len() == 1).await;
    running.end().await;
}
