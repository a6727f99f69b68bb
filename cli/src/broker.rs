//! A nats-server on loopback: what `demo` and the fault tests start, kill, pause, wipe and set back.
//!
//! What this deliberately does not do: clusters of brokers. The stream is a cache of the outbox, so one broker shows
//! everything that can happen to it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::failure::Failure;
use crate::guard::Guarded;

/// How long a broker may take until it is ready; it reads its store first.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two attempts to reach it.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// One broker, running or not. Dropping it kills it.
pub struct NatsServer {
    holdfast: PathBuf,
    program: PathBuf,
    store: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    /// Further flags, from the next start on: users, certificates.
    pub flags: Vec<String>,
    running: Option<Guarded>,
}

impl NatsServer {
    /// Starts `program` with its store and its log below `dir`, on a free port.
    pub async fn start(holdfast: &Path, program: &Path, dir: &Path) -> Result<NatsServer, Failure> {
        let complain = |error: io::Error| Failure::cannot_start(format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(complain)?;
        // It is free now; another program may take it first, and then the broker says so.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(complain)?;
        let mut broker = NatsServer {
            holdfast: holdfast.to_path_buf(),
            program: program.to_path_buf(),
            store: dir.join("broker"),
            log: dir.join("broker.log"),
            address,
            flags: Vec::new(),
            running: None,
        };
        broker.restart().await?;
        Ok(broker)
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts a broker that is not running, on the store it had, and waits until it takes connections.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        assert!(self.running.is_none(), "only a stopped broker is started");
        let store = self.store.display().to_string();
        let port = self.address.port().to_string();
        let args = ["--addr", "127.0.0.1", "--port", &port, "--jetstream", "--store_dir", &store];
        let args = args.into_iter().chain(self.flags.iter().map(String::as_str));
        let mut guarded = Guarded::start(&self.holdfast, &self.program, args, &[], &self.log)?;
        let started = Instant::now();
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            if !guarded.is_running() || started.elapsed() > START_TIMEOUT {
                return Err(Failure::cannot_start(format!("nats-server: see {}", self.log.display())));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        self.running = Some(guarded);
        Ok(())
    }

    /// Ends the broker at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    /// Asks the broker to stop, and waits for it. Blocks.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            // How it ends is its own affair; its store is what it is.
            let _ = running.stop();
        }
    }

    /// Halts the broker where it stands: connections stay open, nothing answers.
    pub fn pause(&self) -> io::Result<()> {
        self.running.as_ref().map_or(Ok(()), |running| running.signal(Signal::STOP))
    }

    pub fn resume(&self) -> io::Result<()> {
        self.running.as_ref().map_or(Ok(()), |running| running.signal(Signal::CONT))
    }

    /// Removes everything that a stopped broker had stored.
    pub fn wipe(&self) -> io::Result<()> {
        assert!(self.running.is_none(), "only a stopped broker is wiped");
        if self.store.exists() { std::fs::remove_dir_all(&self.store) } else { Ok(()) }
    }

    /// Copies what a stopped broker has stored.
    pub fn save_to(&self, copy: &Path) -> io::Result<()> {
        assert!(self.running.is_none(), "only a stopped broker's store is whole");
        copy_folder(&self.store, copy)
    }

    /// Puts a copy in place of what a stopped broker has stored.
    pub fn restore_from(&self, copy: &Path) -> io::Result<()> {
        self.wipe()?;
        copy_folder(copy, &self.store)
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
