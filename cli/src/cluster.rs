//! A cluster of real processes on loopback: what `demo`, the replay driver and the crash tests run against.
//!
//! Each node is this same program, started as `serve` with a pipe on its standard input. When the parent ends, however it
//! ends, the pipe closes and the node stops: children never outlive it.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_services::payments::sandbox_server::ChargeView;
use serde_json::Value;

use crate::failure::Failure;
use crate::net::Net;
use crate::operator::StatusView;
use crate::tls::{self, OperatorClient};

/// How long a fresh cluster may take until all its nodes vote.
const FORM_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a status request may take: a node that is dying must not hold up the watch.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
const BOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may take to stop when it is asked.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at the nodes.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Where nodes listen.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
const PORT_TRIES_MAX: usize = 100;

/// How the nodes are started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The `holdfast` program, or one that understands `serve` as it does.
    pub program: PathBuf,
    /// Each node gets a folder and a log file below this one.
    pub dir: PathBuf,
    pub nodes: usize,
    /// Further flags for every node.
    pub flags: Vec<String>,
}

/// One node's process, running or not.
pub struct Member {
    pub http: SocketAddr,
    pub operator: SocketAddr,
    pub data: PathBuf,
    /// What the node wrote to its standard error.
    pub log: PathBuf,
    /// What the node's surroundings say to it.
    pub env: Vec<(&'static str, String)>,
    peer: SocketAddr,
    /// How it begins on a new folder.
    start: Vec<String>,
    child: Option<Child>,
}

/// Nodes on loopback. Dropping it kills them.
pub struct Cluster {
    plan: Plan,
    pub members: Vec<Member>,
    operators: OperatorClient,
    /// What the nodes say to each other goes through it, if there is one.
    net: Option<Net>,
}

impl Cluster {
    /// Starts the nodes and waits until all of them vote.
    pub async fn start(plan: Plan) -> Result<Cluster, Failure> {
        Cluster::start_as(plan, tls::client(None, STATUS_TIMEOUT)?).await
    }

    /// [`start`](Cluster::start) on a network that can be told to fail.
    pub async fn start_on(net: Net, plan: Plan) -> Result<Cluster, Failure> {
        Cluster::form(plan, tls::client(None, STATUS_TIMEOUT)?, Some(net)).await
    }

    /// [`start`](Cluster::start), watching the nodes as `operators`: the plan's flags may ask for certificates.
    pub async fn start_as(plan: Plan, operators: OperatorClient) -> Result<Cluster, Failure> {
        Cluster::form(plan, operators, None).await
    }

    async fn form(plan: Plan, operators: OperatorClient, net: Option<Net>) -> Result<Cluster, Failure> {
        let mut cluster = Cluster { members: Vec::new(), operators, net, plan };
        for number in 1..=cluster.plan.nodes {
            let start = match cluster.members.first() {
                None => vec!["--bootstrap".into()],
                Some(first) => vec!["--join".into(), first.operator.to_string()],
            };
            cluster.grow(start)?;
            if number == 1 {
                // The others join through the first.
                cluster.wait_for("the first node leads", |all| all[0].as_ref().is_some_and(|s| s.ready)).await?;
            }
        }
        cluster.wait_for_voters().await?;
        Ok(cluster)
    }

    /// Starts one more node, which begins as these flags say; without any, it waits to be told. Its index.
    pub fn grow(&mut self, start: Vec<String>) -> Result<usize, Failure> {
        let index = self.members.len();
        let complain = |error: io::Error| Failure::cannot_start(format!("{}: {error}", self.plan.dir.display()));
        let mut member = Member::plan(&self.plan.dir, index + 1, start).map_err(complain)?;
        if let Some(net) = &mut self.net {
            let door = net.door(index, member.peer).map_err(complain)?;
            member.start.extend(["--peer-advertise".into(), door.to_string()]);
        }
        self.members.push(member);
        self.restart(index)?;
        Ok(index)
    }

    /// Starts a node that is not running, on the folder it had.
    pub fn restart(&mut self, index: usize) -> Result<(), Failure> {
        let member = &mut self.members[index];
        assert!(member.child.is_none(), "only a stopped node is started");
        let child = member
            .command(&self.plan.program)
            .and_then(|mut command| command.args(&member.start).args(&self.plan.flags).spawn())
            .map_err(|error| Failure::cannot_start(format!("{}: {error}", self.plan.program.display())))?;
        if let Some(net) = &self.net {
            net.runs(index, child.id());
        }
        member.child = Some(child);
        Ok(())
    }

    /// The network between the nodes.
    ///
    /// # Panics
    /// If the cluster was not started on one.
    pub fn net(&mut self) -> &mut Net {
        self.net.as_mut().expect("the cluster was started on a network")
    }

    /// Ends a node at once, as `kill -9` does.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].child.take() {
            // Neither can fail for a child that has not been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks a node to stop and waits for its exit code; `None`: a signal ended it, ours if it takes too long. Blocks.
    pub fn stop(&mut self, index: usize) -> io::Result<Option<i32>> {
        match self.members[index].child.take() {
            Some(mut child) => {
                drop(child.stdin.take());
                let asked = Instant::now();
                while asked.elapsed() < STOP_TIMEOUT {
                    if let Some(status) = child.try_wait()? {
                        return Ok(status.code());
                    }
                    std::thread::sleep(LOOK_INTERVAL);
                }
                child.kill()?;
                child.wait().map(|status| status.code())
            }
            None => Ok(None),
        }
    }

    /// Ends all nodes gracefully, at the same time.
    pub fn stop_all(&mut self) {
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                drop(child.stdin.take());
            }
        }
        for index in 0..self.members.len() {
            let _ = self.stop(index);
        }
    }

    /// The URLs that clients use, of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://{}", member.http)).collect()
    }

    /// What each node says of itself; `None` for one that does not answer.
    pub async fn status(&self) -> Vec<Option<StatusView>> {
        let mut all = Vec::with_capacity(self.members.len());
        for member in &self.members {
            all.push(if member.child.is_some() { self.ask(member.operator).await } else { None });
        }
        all
    }

    /// What the built-in providers of the running nodes have charged since they started: a killed node's book is gone.
    pub async fn charges(&self) -> Result<Vec<ChargeView>, Failure> {
        let mut all = Vec::new();
        for member in self.members.iter().filter(|member| member.is_running()) {
            let url = format!("{}://{}/sandbox/charges", self.operators.scheme, member.operator);
            let complain = |error: reqwest::Error| Failure::unreachable(format!("{url}: {error}"));
            let answer = self.operators.http.get(&url).timeout(BOOK_TIMEOUT).send().await.map_err(complain)?;
            all.extend(answer.json::<Vec<ChargeView>>().await.map_err(complain)?);
        }
        Ok(all)
    }

    /// The token that the first node printed for the first operator; it is good once.
    pub async fn operator_token(&self) -> Result<String, Failure> {
        let log = &self.members[0].log;
        let started = Instant::now();
        loop {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let line = said.lines().rev().find(|line| line.starts_with("first operator: "));
            if let Some(token) = line.and_then(|line| line.split(" enter ").nth(1)?.split(' ').next()) {
                return Ok(token.to_string());
            }
            if started.elapsed() > FORM_TIMEOUT {
                return Err(Failure::cannot_start(format!("no operator's token in {}", log.display())));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The node that leads, by its index, if a live node knows it.
    pub async fn leader(&self) -> Option<usize> {
        let all = self.status().await;
        leader_of(&all)
    }

    /// Waits until a live node leads and says that it is ready.
    pub async fn wait_for_leader(&self) -> Result<usize, Failure> {
        let all = self.wait_for("a leader", |all| leader_of(all).is_some()).await?;
        Ok(leader_of(&all).expect("that was waited for"))
    }

    /// Waits until every node is up, ready and a voter.
    pub async fn wait_for_voters(&self) -> Result<(), Failure> {
        let nodes = self.plan.nodes;
        let complete = |all: &[Option<StatusView>]| {
            all.iter().all(|status| {
                status.as_ref().is_some_and(|s| s.ready && s.members.iter().filter(|m| m.voter).count() == nodes)
            })
        };
        self.wait_for("all nodes vote", complete).await.map(|_| ())
    }

    /// Waits until what the nodes say of themselves is as it should be.
    pub async fn wait_for(
        &self,
        what: &str,
        reached: impl Fn(&[Option<StatusView>]) -> bool,
    ) -> Result<Vec<Option<StatusView>>, Failure> {
        let started = Instant::now();
        loop {
            let all = self.status().await;
            if reached(&all) {
                return Ok(all);
            }
            if started.elapsed() > FORM_TIMEOUT {
                let logs = self.plan.dir.display();
                return Err(Failure::cannot_start(format!(
                    "waited {FORM_TIMEOUT:?} until {what}; see the logs in {logs}"
                )));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn ask(&self, operator: SocketAddr) -> Option<StatusView> {
        let url = format!("{}://{operator}/cluster/status", self.operators.scheme);
        let response = self.operators.http.get(url).send().await.ok()?;
        serde_json::from_value(response.json::<Value>().await.ok()?).ok()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|index| self.kill(index));
    }
}

impl Member {
    fn plan(dir: &Path, number: usize, start: Vec<String>) -> io::Result<Member> {
        std::fs::create_dir_all(dir)?;
        let [http, peer, operator] = free_addresses()?;
        let data = dir.join(format!("node-{number}"));
        let log = dir.join(format!("node-{number}.log"));
        Ok(Member { http, peer, operator, data, log, env: Vec::new(), start, child: None })
    }

    fn command(&self, program: &Path) -> io::Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(program);
        // What the surroundings say of a node is not about this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOLDFAST_") && name != "HOLDFAST_LOG" {
                command.env_remove(name);
            }
        }
        command
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .arg("serve")
            .arg("--data")
            .arg(&self.data)
            .args(["--http", &self.http.to_string()])
            .args(["--peer", &self.peer.to_string()])
            .args(["--operator", &self.operator.to_string()])
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// The process id of a running node.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

/// The index of the node that says of itself that it leads, is ready, and knows no higher term.
fn leader_of(all: &[Option<StatusView>]) -> Option<usize> {
    all.iter()
        .enumerate()
        .filter_map(|(index, status)| status.as_ref().map(|status| (index, status)))
        .filter(|(_, status)| status.ready && status.leader == Some(status.node_id))
        .max_by_key(|(_, status)| status.term)
        .map(|(index, _)| index)
}

/// Three free loopback addresses. They are free now; another program may take one before the node does, which then says so.
fn free_addresses() -> io::Result<[SocketAddr; 3]> {
    // All are held until all are found, so that they differ.
    let listeners = [(); 3].map(|()| free_port());
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 3];
    for (address, listener) in addresses.iter_mut().zip(listeners) {
        *address = listener?.local_addr()?;
    }
    Ok(addresses)
}

/// A port from below those that the system gives to connections, any of which might take it before the node does.
fn free_port() -> io::Result<TcpListener> {
    for _ in 0..PORT_TRIES_MAX {
        match TcpListener::bind(("127.0.0.1", rand::random_range(PORTS))) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    TcpListener::bind("127.0.0.1:0")
}
