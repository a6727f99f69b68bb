//! A broker that cannot be reached, does not let us in, or has a stream that is not as it must be: every process says so in one
//! line that names the broker, no secret and what to do, and tries again; tickets are sold meanwhile; and once the broker is right,
//! everything catches up by itself.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_cli::broker::NatsServer;
use holdfast_cli::cluster::{Cluster, Plan};
use holdfast_cli::guard::Guarded;
use holdfast_cli::tools;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::people::{Locked, People};
use crate::support::{PATIENCE, WAIT, holdfast_beside, plan, program, text};

const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// It must not be repeated by anybody.
const PASSWORD: &str = "hunter2-hunter2";

/// A node and both services, which are told of a broker that does not take them yet.
struct Shop {
    // Services go first.
    services: [(Guarded, String); 2],
    cluster: Cluster,
    broker: NatsServer,
    people: People,
    dir: TempDir,
}

impl Shop {
    /// `broker` is as it shall not be; `nats` are the flags with which everybody is told of it.
    async fn open(dir: TempDir, broker: NatsServer, nats: &[&str]) -> Shop {
        let Plan { flags, .. } = plan(dir.path(), 1);
        let flags = flags.into_iter().chain(nats.iter().map(ToString::to_string)).collect();
        let cluster =
            Cluster::start(Plan { flags, ..plan(dir.path(), 1) }).await.expect("the node starts all the same");
        let people = People::sign_up(&cluster).await;
        let mail = dir.path().join("mail").display().to_string();
        let payments = service(dir.path(), &cluster, "payments", nats).await;
        let told = [nats, &["--outbox", &mail]].concat();
        let notifications = service(dir.path(), &cluster, "notifications", &told).await;
        Shop { services: [payments, notifications], cluster, broker, people, dir }
    }

    /// Everybody says what is wrong, once and in one line; a ticket is sold; and the relay tries again.
    async fn complains(&self, words: &[&str]) -> Locked {
        for (name, line) in [
            ("node-1", "events are not relayed at the moment"),
            ("payments", "consumer payments"),
            ("notifications", "consumer notifications"),
        ] {
            self.says(name, line, words).await;
        }
        let bought = self.people.lock_one().await;
        bought.pay("tok_visa");
        bought.settled("captured").await;
        let tried = self.relay().await["errors"].as_u64();
        self.until("the relay tries again", |relay| relay["errors"].as_u64() > tried).await;
        self.services_say(503, "missing: nats").await;
        bought
    }

    /// Waits for the line, which contains all of `words`.
    async fn says(&self, name: &str, line: &str, words: &[&str]) {
        let started = Instant::now();
        loop {
            let log = self.log(name);
            let said: Vec<&str> = log.lines().filter(|said| said.contains(line)).collect();
            if let Some(first) = said.iter().find(|said| words.iter().all(|word| said.contains(word))) {
                let again = said.iter().filter(|said| words.iter().all(|word| said.contains(word))).count();
                // Two workers of one process may each say it.
                assert!(again <= 2, "{name} repeats itself: {said:#?}");
                assert!(first.contains(&self.broker.address().to_string()) || first.contains("stream "), "{first}");
                break;
            }
            assert!(started.elapsed() < WAIT, "{name} does not say {words:?}: {log}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The broker is right now: the stream gets everything, the buyer his mail, and nobody has told the password.
    async fn catches_up(self, bought: Locked) {
        self.until("the relay has caught up", |relay| relay["phase"] == "relaying" && relay["waiting"] == 0).await;
        let mail = self.dir.path().join("mail");
        let started = Instant::now();
        let (order, confirmed) = (bought.order.as_str(), format!("confirmed.{}.", bought.order));
        while !std::fs::read_dir(&mail).is_ok_and(|mut mails| {
            mails.any(|mail| mail.is_ok_and(|mail| mail.file_name().to_string_lossy().contains(&confirmed)))
        }) {
            assert!(started.elapsed() < WAIT, "no mail about order {order}: {}", self.log("notifications"));
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        self.services_say(200, "ok").await;
        for name in ["node-1", "payments", "notifications"] {
            let log = self.log(name);
            assert!(!log.contains("async_nats"), "the client's own complaints come with every try: {log}");
            assert!(!log.contains(PASSWORD), "{name}: {log}");
            assert!(!log.contains("panicked"), "{name}: {log}");
        }
    }

    /// Waits until both services say this of their readiness.
    async fn services_say(&self, status: u16, said: &str) {
        let started = Instant::now();
        for (_, url) in &self.services {
            loop {
                let answer = get(&format!("{url}/readyz")).await;
                if answer == (status, said.to_string()) {
                    break;
                }
                assert!(started.elapsed() < WAIT, "{url}: {answer:?}");
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
    }

    async fn relay(&self) -> Value {
        let operator = self.cluster.members[0].operator.to_string();
        let output = holdfast_beside(&["events", "status", "--json", "--operator", &operator]).await;
        serde_json::from_slice(&output.stdout).expect("a status")
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        loop {
            let relay = self.relay().await;
            if wanted(&relay) {
                return;
            }
            assert!(started.elapsed() < WAIT, "{what}: {relay}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap_or_default()
    }
}

/// Starts a service that is told of the broker by these flags; it is up although the broker does not take it.
async fn service(dir: &Path, cluster: &Cluster, name: &str, flags: &[&str]) -> (Guarded, String) {
    let key = dir.join(format!("{name}.key")).display().to_string();
    let operator = format!("http://{}", cluster.members[0].operator);
    let made = holdfast_beside(&["keys", "service", name, "--operator", &operator, "--key", &key]).await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    let api = cluster.urls().join(",");
    let args = [&[name, "--api", &api, "--key", &key, "--listen", "127.0.0.1:0"], flags].concat();
    let log = dir.join(format!("{name}.log"));
    let mut service = Guarded::start(&program(), &program(), args, &[], &log).expect("it starts");
    let ready = service.wait_for_line("ready: ", WAIT).await.expect("it is up");
    (service, ready.trim_start_matches("ready:").trim().to_string())
}

async fn get(url: &str) -> (u16, String) {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().expect("a client");
    let answer = http.get(url).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

async fn broker(dir: &TempDir) -> NatsServer {
    let server = tools::find("nats-server", &program()).expect("the test tools");
    NatsServer::start(&program(), &server, dir.path()).await.expect("the broker starts")
}

/// The same broker, started anew with these flags.
async fn restart(broker: &mut NatsServer, flags: &[&str]) {
    broker.stop();
    broker.flags = flags.iter().map(ToString::to_string).collect();
    broker.restart().await.expect("the broker starts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut nowhere = broker(&dir).await;
    nowhere.stop();
    let url = nowhere.url();
    let mut shop = Shop::open(dir, nowhere, &["--nats", &url]).await;
    let bought = shop.complains(&["the broker is away", &url, "Connection refused"]).await;
    shop.broker.restart().await.expect("the broker starts");
    shop.catches_up(bought).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_accept_the_password_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut guarded = broker(&dir).await;
    restart(&mut guarded, &["--user", "relay", "--pass", "another"]).await;
    let url = format!("nats://relay:{PASSWORD}@{}", guarded.address());
    let mut shop = Shop::open(dir, guarded, &["--nats", &url]).await;
    let bought = shop.complains(&["the broker refuses", "authorization violation", "credentials file"]).await;
    let operators = holdfast_beside(&["events", "dead", "list", "--nats", &url]).await;
    let said = text(&operators.stderr);
    assert_eq!((operators.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("--nats") && said.contains("credentials file") && !said.contains(PASSWORD), "{said}");
    restart(&mut shop.broker, &["--user", "relay", "--pass", PASSWORD]).await;
    shop.catches_up(bought).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_over_tls_is_trusted_by_its_authority_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let ([ours, cert, key], [_, wrong_cert, wrong_key]) = (authority(&dir, "right"), authority(&dir, "wrong"));
    let mut secure = broker(&dir).await;
    restart(&mut secure, &["--tls", "--tlscert", &wrong_cert, "--tlskey", &wrong_key]).await;
    let url = format!("tls://{}", secure.address());
    let mut shop = Shop::open(dir, secure, &["--nats", &url, "--nats-ca", &ours]).await;
    let bought = shop.complains(&["the broker refuses", "certificate", "CA file"]).await;
    restart(&mut shop.broker, &["--tls", "--tlscert", &cert, "--tlskey", &key]).await;
    shop.catches_up(bought).await;
}

/// Makes an authority and the broker's certificate from it; the files of the authority's certificate, the broker's, and its key.
fn authority(dir: &TempDir, name: &str) -> [String; 3] {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let certificate = params.self_signed(&key).expect("signed");
    let issuer = rcgen::Issuer::new(params, key);
    let server_key = rcgen::KeyPair::generate().expect("a key");
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("an address");
    let server = server.signed_by(&server_key, &issuer).expect("signed");
    let write = |file: String, pem: String| {
        let path = dir.path().join(file);
        std::fs::write(&path, pem).expect("written");
        path.display().to_string()
    };
    [
        write(format!("{name}-ca.pem"), certificate.pem()),
        write(format!("{name}-server.pem"), server.pem()),
        write(format!("{name}-server.key"), server_key.serialize_pem()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_other_settings_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let full = broker(&dir).await;
    let stream = "LEDGER_V1_0000";
    let settings = json!({ "name": stream, "subjects": ["ledger.v1.>"], "storage": "file", "retention": "limits",
        "max_bytes": 1_000_000, "num_replicas": 1 });
    let made = jetstream(full.address(), &format!("STREAM.CREATE.{stream}"), &settings.to_string());
    assert_eq!(made["config"]["max_bytes"], 1_000_000, "{made}");
    let (address, url) = (full.address(), full.url());
    let shop = Shop::open(dir, full, &["--nats", &url]).await;
    // The services have nothing to complain of: they can follow any stream.
    shop.says("node-1", "events are not relayed at the moment", &[stream, "max_bytes is 1000000", "unlimited"]).await;
    let bought = shop.people.lock_one().await;
    bought.pay("tok_visa");
    bought.settled("captured").await;
    let gone = jetstream(address, &format!("STREAM.DELETE.{stream}"), "");
    assert_eq!(gone["success"], true, "{gone}");
    shop.catches_up(bought).await;
}

/// Asks JetStream, as any client may.
fn jetstream(broker: SocketAddr, subject: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(broker).expect("the broker answers");
    stream.set_read_timeout(Some(WAIT)).expect("a timeout");
    let length = body.len();
    let asked =
        format!("CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.{subject} answer {length}\r\n{body}\r\n");
    stream.write_all(asked.as_bytes()).expect("sent");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    let answer = lines.skip_while(|line| !line.starts_with("MSG answer")).nth(1).expect("an answer");
    serde_json::from_str(&answer).expect("JSON")
}
