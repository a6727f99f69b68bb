//! The server itself: connections are bounded in time and number, and stopping lets requests finish.

use std::time::Duration;

use holdfast_api::server::{Limits, serve_within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Client, a_ticket_and_a_buyer};
use crate::server::World;

/// A server with limits of its own, what stops it, and what it ends with.
async fn start(limits: Limits) -> (String, oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let stopped = async { drop(stopped.await) };
    let server = tokio::spawn(serve_within(limits, listener, holdfast_api::router(World::shared().app()), stopped));
    (addr, stop, server)
}

/// Sends a request and reads the head of its answer; `None` where none comes within `wait`.
async fn ask(stream: &mut TcpStream, wait: Duration) -> Option<String> {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut buffer = [0; 1_024];
    let read = tokio::time::timeout(wait, stream.read(&mut buffer)).await.ok()?.unwrap();
    Some(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

#[tokio::test]
async fn half_a_head_is_not_waited_for_for_ever() {
    let (addr, _stop, _) = start(Limits { head_wait: Duration::from_millis(300), ..Limits::default() }).await;
    for started in ["", "GET /livez HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(&addr).await.unwrap();
        stream.write_all(started.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "the connection stays open after {started:?}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let (addr, _stop, _) = start(Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = TcpStream::connect(&addr).await.unwrap();
    assert!(ask(&mut first, Duration::from_secs(20)).await.expect("a place is free").starts_with("HTTP/1.1 200"));
    let mut second = TcpStream::connect(&addr).await.unwrap();
    assert_eq!(ask(&mut second, Duration::from_millis(300)).await, None, "the only place is taken");
    drop(first);
    let mut buffer = [0; 15];
    tokio::time::timeout(Duration::from_secs(20), second.read_exact(&mut buffer)).await.expect("in time").unwrap();
    assert_eq!(&buffer, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn stopping_lets_a_running_request_finish() {
    let (addr, stop, server) = start(Limits::default()).await;
    let (ticket, buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let mut buyer = buyer.at(&format!("http://{addr}"));
    let order = buyer.order(&ticket).await;
    let paying = {
        let (mut buyer, order) = (buyer.clone(), order.clone());
        tokio::spawn(async move { buyer.pay(&order, "tok_slow_1000").await })
    };
    let path = format!("/api/orders/{order}");
    buyer.until(&path, |answer| answer.body["status"] == "awaiting:payment").await;
    stop.send(()).unwrap();
    paying.await.unwrap().is(201);
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(&addr).await.is_err(), "nobody listens any more");
    Client::anonymous(&World::shared().url).get("/livez").await.is(200);
}
