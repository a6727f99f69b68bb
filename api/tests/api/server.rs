//! One node in this process, and the servers before it. They live as long as the test binary.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use holdfast_api::{App, PasswordCost, Quota, RateLimits, Settings, SigningKey};
use holdfast_ledger::command::{Actor, Command, Service, Submitted};
use holdfast_ledger::entities::Policy;
use holdfast_ledger::outcome::Reply;
use holdfast_raft::clock::SystemClock;
use holdfast_raft::disk::Folder;
use holdfast_raft::node::{Node, Options, Start};
use holdfast_raft::transport::grpc::Grpc;
use holdfast_services::client::{InProcess, Signed};
use holdfast_services::key::ServiceKey;
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::{self, Saga};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// What the servers run on: a test's own runtime ends with the test.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

pub const SEED: [u8; 32] = [7; 32];

/// A folder for a node. Statics are never dropped, so the folders of test binaries that have ended are removed here: those that were
/// not made just now, and whose lock nobody holds any more.
fn folder() -> tempfile::TempDir {
    const JUST_NOW: Duration = Duration::from_secs(5);
    static OWN: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (own, _) = OWN.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nodes");
        fs::create_dir_all(&all).unwrap();
        for other in fs::read_dir(&all).unwrap().flatten() {
            let lock = File::open(other.path().join("lock"));
            let is_new =
                |lock: &File| lock.metadata().unwrap().modified().unwrap().elapsed().is_ok_and(|age| age < JUST_NOW);
            if lock.is_ok_and(|lock| !is_new(&lock) && lock.try_lock().is_ok()) {
                // Another one may be at it, too.
                let _ = fs::remove_dir_all(other.path());
            }
        }
        let own = all.join(std::process::id().to_string());
        fs::create_dir_all(&own).unwrap();
        let lock = File::create(own.join("lock")).unwrap();
        lock.lock().unwrap();
        (own, lock)
    });
    tempfile::tempdir_in(own).unwrap()
}

/// A node with a data folder of its own, and its sandbox bank.
pub struct World {
    pub node: Node,
    pub sandbox: Arc<Sandbox>,
    /// A server with the default settings, but for the cost of passwords.
    pub url: String,
    _folder: tempfile::TempDir,
}

impl World {
    /// The one that most tests share: the default policy, with room for more locks than a person needs.
    pub fn shared() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| World::new(Policy { locks_per_user_max: 50, ..Policy::default() }))
    }

    /// Locks run out after two seconds.
    pub fn hasty() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| {
            World::new(Policy {
                lock_ttl_ms: 2_000,
                lock_extension_ms: 1_000,
                payment_grace_ms: 200,
                locks_per_user_max: 3,
                cooldown_after_expiries: 2,
                ..Policy::default()
            })
        })
    }

    /// One of the test's own.
    pub fn fresh() -> World {
        World::new(Policy::default())
    }

    pub fn new(policy: Policy) -> World {
        let start = async move {
            let folder = folder();
            let options = Options {
                disk: Arc::new(Folder::open(folder.path().join("data")).unwrap()),
                transport: Arc::new(Grpc::default()),
                clock: Arc::new(SystemClock::default()),
                peer_listen: "127.0.0.1:0".into(),
                peer_addr: None,
                http_addr: "127.0.0.1:0".into(),
                settings: Default::default(),
                storage: Default::default(),
                start: Start::Bootstrap,
            };
            let node = Node::start(options).await.expect("a new folder starts");
            ask_as_system(&node, Command::SetPolicy(policy)).await;
            ask_as_system(&node, SigningKey::from_seed(&SEED).register()).await;
            let sandbox = Arc::new(Sandbox::default());
            let app = app(&node, settings());
            ask_as_system(&node, service_key().register()).await;
            tokio::spawn(carry_payments(app.clone(), sandbox.clone()));
            let url = serve(app).await;
            World { node, sandbox, url, _folder: folder }
        };
        on_runtime(start)
    }

    /// Another server before the same node, with settings of its own.
    pub fn with(&self, settings: Settings) -> String {
        let app = app(&self.node, settings);
        on_runtime(serve(app))
    }

    /// Another server before the same node, which stops when told; and what resolves when it has.
    pub fn stoppable(&self, settings: Settings) -> (String, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let app = app(&self.node, settings);
        let (stop, stopped) = oneshot::channel();
        let (url, served) = on_runtime(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let stopped = async move { drop(stopped.await) };
            let serve = holdfast_api::server::serve(listener, holdfast_api::router(app), stopped);
            (url, tokio::spawn(async move { serve.await.unwrap() }))
        });
        (url, stop, served)
    }

    /// Another server before the same node, which signs with a key of its own.
    pub fn with_key(&self, key: SigningKey, settings: Settings) -> String {
        self.serve(App::new(self.node.clone(), key, settings))
    }

    /// A server of an application that the test keeps a hand on.
    pub fn serve(&self, app: App) -> String {
        on_runtime(serve(app))
    }

    /// The application on the same node, for a server or worker of the test's own.
    pub fn app(&self) -> App {
        app(&self.node, settings())
    }

    /// As the cluster itself: bans, roles, policy.
    pub async fn as_system(&self, command: Command) -> Reply {
        ask_as_system(&self.node, command).await
    }
}

/// Runs `work` on the servers' runtime, from inside or outside of another one.
fn on_runtime<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    runtime().spawn(async move { sender.send(work.await) });
    receiver.recv_timeout(Duration::from_secs(60)).expect("a node starts within a minute")
}

async fn ask_as_system(node: &Node, command: Command) -> Reply {
    let answer = node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await;
    answer.expect("a lone node leads").outcome.settled.expect("the system may")
}

fn app(node: &Node, settings: Settings) -> App {
    App::new(node.clone(), SigningKey::from_seed(&SEED), settings)
}

/// The key of the payments service in this process.
pub fn service_key() -> ServiceKey {
    ServiceKey::from_seed(Service::Payments, &SEED)
}

/// The payments service, in this process.
pub async fn carry_payments(app: App, sandbox: Arc<Sandbox>) {
    let issuer = app.settings.issuer.clone();
    let api = Arc::new(InProcess::<_, axum::body::Body>::new(holdfast_api::router(app.clone())));
    let api = Signed::new(api, service_key(), issuer, holdfast_services::system_clock());
    let saga = Saga::new(api, sandbox, payments::Settings { sweep_interval: None, ..payments::Settings::default() });
    let ring = async {
        let mut seen = 0;
        loop {
            seen = app.payments_due(seen).await;
            saga.ring();
        }
    };
    saga.run(ring).await;
}

async fn serve(app: App) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(holdfast_api::server::serve(listener, holdfast_api::router(app), std::future::pending()));
    format!("http://{addr}")
}

/// Settings for tests: the defaults, with the cheapest passwords.
pub fn settings() -> Settings {
    Settings { password_cost: PasswordCost::LOWEST, ..Settings::default() }
}

/// Settings under which an address may send `requests` a minute, and sign up as often.
pub fn limited(requests: u32) -> Settings {
    let quota = Quota { requests, window_s: 3_600 };
    let guesses = Quota { requests: 5, window_s: 3_600 };
    let per_service = Quota { requests: 10, window_s: 3_600 };
    let rate_limits = RateLimits {
        per_address: quota,
        per_account: quota,
        credentials: quota,
        guesses,
        per_service,
        limit_loopback: true,
    };
    Settings { rate_limits, ..settings() }
}
