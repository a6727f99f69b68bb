use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use holdfast_ledger::version::Versions;

use super::*;
use crate::transport::memory::MemoryNetwork;
use crate::transport::principal::{Principal, Who};
use crate::transport::{Connection, Listener, Transport, pair};

const TIMEOUT: Duration = Duration::from_secs(10);
const ECHO: u8 = 1;
const HELD: u8 = 2;
const FAILS: u8 = 3;

/// Lets node 1 in, and counts what it asks.
struct Host {
    asked: Arc<AtomicUsize>,
    order: Arc<Mutex<Vec<Bytes>>>,
    gate: Arc<Semaphore>,
}

impl Default for Host {
    fn default() -> Host {
        Host { asked: Arc::default(), order: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }
}

struct Answers {
    asked: Arc<AtomicUsize>,
    order: Arc<Mutex<Vec<Bytes>>>,
    gate: Arc<Semaphore>,
}

impl Acceptor for Host {
    fn accept<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Admission> {
        let known = hello.node_id == 1;
        let handler = Answers { asked: self.asked.clone(), order: self.order.clone(), gate: self.gate.clone() };
        async move {
            if !known {
                return Err(Refused::OtherInstance { node_id: hello.node_id });
            }
            Ok((
                Welcome { reach: Reach::default(), build: Build::of(Versions::SHIPPED), version: 1 },
                Box::new(handler) as Box<dyn Handler>,
            ))
        }
        .boxed()
    }
}

impl Handler for Answers {
    fn handle(&mut self, method: u8, body: Bytes) -> BoxFuture<'static, Result<Bytes, Failure>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.order.lock().unwrap().push(body.clone());
        let gate = self.gate.clone();
        async move {
            match method {
                ECHO => Ok(body),
                HELD => {
                    gate.acquire().await.unwrap().forget();
                    Ok(body)
                }
                FAILS => Err(Failure::Other("as asked".into())),
                unknown => Err(Failure::UnknownMethod(unknown)),
            }
        }
        .boxed()
    }
}

fn hello(node_id: NodeId) -> Hello {
    Hello {
        cluster_id: 1,
        node_id,
        instance: 1,
        reach: Reach::default(),
        expected_node_id: 2,
        expected_instance: 2,
        lane: Lane::Control,
        build: Build::of(Versions::SHIPPED),
        version: 1,
        applied: 0,
    }
}

/// A host that serves `network` at the address that is returned.
async fn host(network: &MemoryNetwork, host: Host) -> String {
    let mut listener = network.listen("host:0").await.unwrap();
    let addr = listener.local_addr();
    tokio::spawn(async move {
        let host = Arc::new(host);
        while let Ok(connection) = listener.accept().await {
            let host = host.clone();
            tokio::spawn(async move { serve(connection, &*host).await });
        }
    });
    addr
}

async fn open(network: &MemoryNetwork, addr: &str, hello: &Hello) -> Result<Session, OpenError> {
    Session::open(network, addr, hello, TIMEOUT).await
}

#[tokio::test]
async fn who_is_let_in_gets_an_answer_to_each_request() {
    let network = MemoryNetwork::default();
    let addr = host(&network, Host::default()).await;
    let session = open(&network, &addr, &hello(1)).await.unwrap();
    assert_eq!(session.call(ECHO, b"one").await, Ok(Bytes::from_static(b"one")));
    assert_eq!(session.call(FAILS, b"").await, Err(CallError::Failed(Failure::Other("as asked".into()))));
    assert_eq!(session.call(9, b"").await, Err(CallError::Failed(Failure::UnknownMethod(9))));
}

#[tokio::test]
async fn who_is_refused_learns_why() {
    let network = MemoryNetwork::default();
    let addr = host(&network, Host::default()).await;
    let refused = open(&network, &addr, &hello(5)).await.err().expect("refused");
    assert!(matches!(refused, OpenError::Refused(Refused::OtherInstance { node_id: 5 })), "{refused}");
    let nowhere = open(&network, "nowhere:1", &hello(1)).await.err().expect("nobody is there");
    assert!(matches!(nowhere, OpenError::Connect(_)), "{nowhere}");
}

#[tokio::test]
async fn requests_begin_in_their_order_and_a_slow_one_holds_up_no_other() {
    let network = MemoryNetwork::default();
    let (order, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let addr = host(&network, Host { order: order.clone(), gate: gate.clone(), ..Host::default() }).await;
    let session = open(&network, &addr, &hello(1)).await.unwrap();
    let held = session.start(HELD, 4, |body| body.extend_from_slice(b"slow")).await.unwrap();
    for n in 0..100u8 {
        assert_eq!(session.call(ECHO, &[n]).await, Ok(Bytes::copy_from_slice(&[n])));
    }
    gate.add_permits(1);
    assert_eq!(held.await, Ok(Bytes::from_static(b"slow")));
    let expected: Vec<Bytes> =
        [Bytes::from_static(b"slow")].into_iter().chain((0..100u8).map(|n| Bytes::copy_from_slice(&[n]))).collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

#[tokio::test]
async fn no_more_is_under_way_than_is_allowed() {
    let network = MemoryNetwork::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let addr = host(&network, Host { asked: asked.clone(), gate: gate.clone(), ..Host::default() }).await;
    let session = open(&network, &addr, &hello(1)).await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..IN_FLIGHT_MAX {
        calls.push(session.start(HELD, 0, |_| ()).await.unwrap());
    }
    assert!(session.start(HELD, 0, |_| ()).now_or_never().is_none(), "it waits for room");
    drop(calls.pop());
    calls.push(session.start(HELD, 0, |_| ()).await.expect("one was given up"));
    gate.add_permits(2 * IN_FLIGHT_MAX);
    for call in calls {
        assert!(call.await.is_ok());
    }
}

#[tokio::test]
async fn a_session_that_ends_loses_what_is_under_way_and_says_so() {
    let network = MemoryNetwork::default();
    let mut listener = network.listen("host:1").await.unwrap();
    let serving = tokio::spawn(async move {
        let connection = listener.accept().await.unwrap();
        serve(connection, &Host::default()).await
    });
    let session = open(&network, "host:1", &hello(1)).await.unwrap();
    let held = session.start(HELD, 0, |_| ()).await.unwrap();
    serving.abort();
    assert_eq!(held.await, Err(CallError::Lost));
    assert!(session.is_closed());
    assert_eq!(session.call(ECHO, b"").await, Err(CallError::NotSent));
}

/// A session over a connection whose frames the test hands on.
async fn served(host: Host) -> Connection {
    let (near, far) = pair("near", "far");
    tokio::spawn(async move { serve(far, &host).await });
    near
}

#[tokio::test]
async fn a_request_that_comes_twice_is_carried_out_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut connection = served(Host { asked: asked.clone(), ..Host::default() }).await;
    connection.outgoing.send(wire::hello(&hello(1))).await.unwrap();
    assert!(matches!(wire::open(connection.incoming.recv().await.unwrap()), Ok(wire::Frame::Welcome(_))));
    let request = |id: u64| wire::request(id, ECHO, 0, |_| ());
    for id in [1, 2, 2, 1, 3] {
        connection.outgoing.send(request(id)).await.unwrap();
    }
    for expected in [1, 2, 3] {
        let frame = wire::open(connection.incoming.recv().await.unwrap()).unwrap();
        assert_eq!(frame, wire::Frame::Answer { id: expected, body: Bytes::new() });
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_damaged_frame_ends_the_session() {
    let mut connection = served(Host::default()).await;
    connection.outgoing.send(wire::hello(&hello(1))).await.unwrap();
    connection.incoming.recv().await.expect("a welcome");
    let mut damaged = wire::request(1, ECHO, 0, |_| ()).to_vec();
    damaged[6] ^= 1;
    connection.outgoing.send(damaged.into()).await.unwrap();
    assert_eq!(connection.incoming.recv().await, None);
}

#[tokio::test]
async fn who_speaks_something_else_is_told() {
    let mut connection = served(Host::default()).await;
    connection.outgoing.send(Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n")).await.unwrap();
    let answer = wire::open(connection.incoming.recv().await.unwrap()).unwrap();
    assert!(matches!(answer, wire::Frame::Refused(Refused::Protocol(_))), "{answer:?}");
}

/// A network whose other side is somebody, as certificates would say.
struct Certified(MemoryNetwork, Principal);

impl Transport for Certified {
    fn connect<'a>(&'a self, addr: &'a str, timeout: Duration) -> BoxFuture<'a, io::Result<Connection>> {
        let principal = Some(self.1);
        async move { Ok(Connection { principal, ..self.0.connect(addr, timeout).await? }) }.boxed()
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.0.listen(addr)
    }
}

#[tokio::test]
async fn who_shows_another_nodes_certificate_is_told_and_not_let_in() {
    let answers = |principal: Principal| async move {
        let (mut near, far) = pair("near", "far");
        let far = Connection { principal: Some(principal), ..far };
        tokio::spawn(async move { serve(far, &Host::default()).await });
        near.outgoing.send(wire::hello(&hello(1))).await.unwrap();
        wire::open(near.incoming.recv().await.unwrap()).unwrap()
    };
    for who in [Who::Node(1), Who::Instance(1), Who::AnyNode] {
        assert!(matches!(answers(Principal { cluster_id: 1, who }).await, wire::Frame::Welcome(_)), "{who:?}");
    }
    let strangers =
        [(1, Who::Node(2)), (1, Who::Instance(2)), (1, Who::Operator), (2, Who::Node(1)), (2, Who::AnyNode)];
    for (cluster_id, who) in strangers {
        let answer = answers(Principal { cluster_id, who }).await;
        let wire::Frame::Refused(Refused::Certificate { node_id: 1, .. }) = answer else {
            panic!("{who:?}: {answer:?}")
        };
    }
}

#[tokio::test]
async fn nobody_stays_with_a_node_that_is_not_the_one_he_wanted() {
    let network = MemoryNetwork::default();
    let addr = host(&network, Host::default()).await;
    let open = async |who| {
        let network = Certified(network.clone(), Principal { cluster_id: 1, who });
        Session::open(&network, &addr, &hello(1), TIMEOUT).await
    };
    assert!(open(Who::Node(2)).await.is_ok());
    for who in [Who::Node(1), Who::Instance(1), Who::Operator] {
        let refused = open(who).await.err().expect("a refusal");
        assert!(matches!(refused, OpenError::Refused(Refused::Certificate { node_id: 2, .. })), "{who:?}: {refused}");
    }
}
