//! Everything that sells tickets, as processes on loopback: nodes, a broker, and the services beside them.
//!
//! `demo` shows it, and the fault tests kill one part of it after the other. Every part is the real program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::broker::NatsServer;
use crate::cluster::{Cluster, Plan};
use crate::failure::Failure;
use crate::guard::Guarded;

/// How long a service may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is to be started.
#[derive(Debug, Clone)]
pub struct EstatePlan {
    pub nodes: Plan,
    /// The nats-server program.
    pub broker: PathBuf,
    /// Copies of the payments service, and their flags about the provider.
    pub payments: (usize, Vec<String>),
    /// Copies of the notifications service, and their flags about mail.
    pub notifications: (usize, Vec<String>),
}

/// One service's process, running or not. Dropping it kills it.
pub struct Worker {
    holdfast: PathBuf,
    args: Vec<String>,
    /// What it wrote to its standard error.
    pub log: PathBuf,
    running: Option<Guarded>,
    /// Where its health, metrics and webhooks are; another address after every start.
    pub url: String,
}

/// All of it. Dropping it kills all.
pub struct Estate {
    // Services go first, then the nodes, then what both stand on.
    pub payments: Vec<Worker>,
    pub notifications: Vec<Worker>,
    pub cluster: Cluster,
    pub broker: NatsServer,
    program: PathBuf,
    dir: PathBuf,
}

impl Estate {
    /// Starts everything and waits until it is ready.
    pub async fn start(plan: EstatePlan) -> Result<Estate, Failure> {
        let (program, dir) = (plan.nodes.program.clone(), plan.nodes.dir.clone());
        let broker = NatsServer::start(&program, &plan.broker, &dir).await?;
        let mut nodes = plan.nodes;
        nodes.flags.extend(["--nats".into(), broker.url()]);
        let cluster = Cluster::start(nodes).await?;
        let mut estate = Estate { payments: Vec::new(), notifications: Vec::new(), cluster, broker, program, dir };
        let nats = estate.broker.url();
        for (service, (copies, flags)) in [("payments", plan.payments), ("notifications", plan.notifications)] {
            estate.employ(service, copies, &nats, &flags).await?;
        }
        Ok(estate)
    }

    /// Starts `copies` more of `payments` or `notifications`, which are told that the broker is at `nats`, and waits until they
    /// are ready.
    pub async fn employ(&mut self, service: &str, copies: usize, nats: &str, flags: &[String]) -> Result<(), Failure> {
        let key = self.dir.join(format!("{service}.key"));
        self.admit(service, &key).await?;
        for _ in 0..copies {
            let mut args = vec![service.to_string(), "--nats".into(), nats.to_string()];
            args.extend(["--api".into(), self.cluster.urls().join(","), "--key".into(), key.display().to_string()]);
            args.extend(["--listen".into(), "127.0.0.1:0".into()]);
            args.extend(flags.iter().cloned());
            let hired = if service == "payments" { &mut self.payments } else { &mut self.notifications };
            let log = self.dir.join(format!("{service}-{}.log", hired.len() + 1));
            let mut worker = Worker { holdfast: self.program.clone(), args, log, running: None, url: String::new() };
            worker.restart().await?;
            hired.push(worker);
        }
        Ok(())
    }

    /// Makes a key for a service and lets the cluster know it.
    async fn admit(&self, service: &str, key: &Path) -> Result<(), Failure> {
        let operator = format!("http://{}", self.cluster.members[0].operator);
        let mut command = Command::new(&self.program);
        command.args(["keys", "service", service, "--operator", &operator]).arg("--key").arg(key).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        match output {
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                Err(Failure::cannot_start(format!("keys service: {}", String::from_utf8_lossy(&output.stderr))))
            }
            Ok(Err(error)) => Err(Failure::cannot_start(format!("keys service: {error}"))),
            Err(error) => Err(Failure::cannot_start(format!("keys service: {error}"))),
        }
    }

    /// Ends everything gracefully. Blocks.
    pub fn stop(&mut self) {
        self.payments.iter_mut().chain(&mut self.notifications).for_each(Worker::stop);
        self.cluster.stop_all();
        self.broker.stop();
    }
}

impl Worker {
    /// Starts a worker that is not running, and waits until it is ready.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        assert!(self.running.is_none(), "only a stopped worker is started");
        let mut guarded = Guarded::start(&self.holdfast, &self.holdfast, &self.args, &[], &self.log)?;
        let line = guarded.wait_for_line("ready: ", READY_TIMEOUT).await?;
        self.url = line.split_whitespace().find(|word| word.starts_with("http")).unwrap_or_default().to_string();
        self.running = Some(guarded);
        Ok(())
    }

    /// Ends the worker at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    /// Asks the worker to stop, and waits for it. Blocks.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            // A worker that ends badly has left its work to be taken up again, which is what it is made for.
            let _ = running.stop();
        }
    }

    pub fn pause(&self) -> std::io::Result<()> {
        self.running.as_ref().map_or(Ok(()), |running| running.signal(Signal::STOP))
    }

    pub fn resume(&self) -> std::io::Result<()> {
        self.running.as_ref().map_or(Ok(()), |running| running.signal(Signal::CONT))
    }
}
