//! `holdfast bench failover`: how long a cluster is without a leader, seen by those who want something of it.
//!
//! Three nodes are started on loopback, on a network of ours that can be cut. A steady stream of writes and reads asks each of the
//! nodes that are spared. Then something happens to the leader, and again, as often as is asked for:
//!
//! - `kill`: SIGKILL; healed by starting it again;
//! - `stop`: SIGSTOP; healed by SIGCONT;
//! - `partition`: nothing passes between it and the others, both ways, and nobody is told; healed by opening the line;
//! - `transfer`: leadership is handed to another node, as `holdfast cluster transfer` does;
//! - `drain`: SIGTERM, at which it hands over by itself and ends; healed by starting it again.
//!
//! A write is a lock on a ticket that nobody holds, with a key of its own. It counts when it was first sent after the act and is
//! acknowledged by another node than the one to which it happened. Between two acts all nodes vote and are ready again.
//!
//! A round has a limit. When nobody has acknowledged anything by then, all is healed all the same, and what was measured at last
//! counts, together with how many rounds were over the limit. A round that came to no end at all is counted with its reason, all is
//! mended, and the next one begins. The streams write as one buyer after the other, since a ledger keeps so many keys of one user and no
//! more. What is kept of a round is a few figures, and the nodes' logs are purged as everywhere: hundreds of rounds need some
//! hundreds of megabytes in the folder for temporary files.
//!
//! What this deliberately does not do: say how long a client waits that insists on a node that is gone. Clients ask another one.

mod act;
mod report;
mod stream;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::PATIENCE;
use crate::client::Client;
use crate::cluster::{Cluster, Plan};
use crate::failure::Failure;
use crate::net::Net;
use crate::policy::PolicyChange;
use crate::stop;
use report::Report;
use stream::{Seen, Stream};

const NODES: usize = 3;
/// Answers that each stream has had before anything is done to the leader.
const STEADY_ANSWERS: usize = 20;
/// How long streams may take until they flow, and a healed cluster until it acknowledges.
const HEALED_MAX: Duration = Duration::from_secs(60);
/// Rounds of one kind that may come to no end before nothing more is tried.
const FAILED_MAX: usize = 10;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What happens to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// SIGKILL
    Kill,
    /// SIGSTOP
    Stop,
    /// Cut off from the other nodes, which are not told
    Partition,
    /// Leadership is handed over
    Transfer,
    /// SIGTERM
    Drain,
}

/// Time without a leader: three nodes on loopback, and what happens to the one that leads
#[derive(Debug, Args)]
pub struct FailoverArgs {
    /// How often each thing happens
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub times: u32,
    /// What happens to the leader, separated by commas [default: one after the other]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    pub kind: Vec<Kind>,
    /// All is healed after this long, and the round is counted as one over the limit
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub limit_s: u32,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// What came of one time.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Nobody acknowledged anything before the limit, and all was healed.
    pub over_limit: bool,
    /// From the act to the acknowledgement of a write at another node; of a hand-over: the longest time between two.
    pub writes: Duration,
    /// The same for linearizable reads.
    pub reads: Duration,
    /// The slowest request to another node, from its first try to its answer.
    pub slowest: Duration,
    /// How many terms it took.
    pub terms: u64,
}

pub async fn run(args: FailoverArgs) -> Result<(), Failure> {
    let dir = std::env::temp_dir().join(format!("holdfast-bench-{}", std::process::id()));
    let measured = tokio::select! {
        biased;
        // What is dropped here ends its nodes, halted ones too.
        () = stop::requested() => Err(Failure::failed("stopped before all was measured")),
        measured = measure(&args, &dir) => measured,
    };
    match &measured {
        Err(failure) if !failure.message.starts_with("stopped") => {
            say_aside!("The nodes' data and logs are in {}", dir.display());
        }
        _ => drop(std::fs::remove_dir_all(&dir)),
    }
    let (reports, ended) = measured?;
    match args.json {
        true => say!("{}", report::json(&reports)),
        false => report::print(&reports),
    }
    ended?;
    match reports.iter().flat_map(|report| &report.failed).next() {
        Some(first) => {
            let failed: usize = reports.iter().map(|report| report.failed.len()).sum();
            Err(Failure::failed(format!("rounds that came to no end: {failed}; the first: {first}")))
        }
        None => Ok(()),
    }
}

/// What was measured, and why no more was.
async fn measure(args: &FailoverArgs, dir: &Path) -> Result<(Vec<Report>, Result<(), Failure>), Failure> {
    let kinds = if args.kind.is_empty() { Kind::value_variants() } else { &args.kind };
    let limit = Duration::from_secs(u64::from(args.limit_s));
    let mut stage = Stage::open(dir).await?;
    let mut reports = Vec::new();
    let mut ended = Ok(());
    for kind in kinds {
        let mut report = Report { kind: *kind, limit, rounds: Vec::new(), failed: Vec::new() };
        ended = stage.rounds(args.times, &mut report).await;
        reports.push(report);
        if ended.is_err() {
            break;
        }
    }
    stage.cluster.stop_all();
    Ok((reports, ended))
}

/// The nodes, and a stream for each.
struct Stage {
    cluster: Cluster,
    /// Reaches all nodes; it prepares.
    client: Client,
    streams: Vec<Stream>,
}

impl Stage {
    async fn open(dir: &Path) -> Result<Stage, Failure> {
        let program =
            std::env::current_exe().map_err(|error| Failure::cannot_start(format!("own program: {error}")))?;
        let flags = ["--password-memory-kib", "8", "--password-passes", "1"].map(str::to_string).to_vec();
        let plan = Plan { program, dir: dir.to_path_buf(), nodes: NODES, flags };
        let cluster = Cluster::start_on(Net::default(), plan).await?;
        let client = Client::new(&cluster.urls(), PATIENCE)?;
        PolicyChange::raise_locks(&cluster.members[0].operator.to_string(), stream::TICKETS as u32).await?;
        let streams = streams(&client, &cluster).await?;
        Ok(Stage { cluster, client, streams })
    }

    /// Does one thing to whoever leads so many times. Ends early when what a round left cannot be mended, or too many came to no end.
    async fn rounds(&mut self, times: u32, report: &mut Report) -> Result<(), Failure> {
        for number in 1..=times {
            match self.round(report.kind, report.limit).await {
                Ok(round) => {
                    let late = if round.over_limit { ", over the limit" } else { "" };
                    say_aside!("{:?} {number}: {} ms without a write{late}", report.kind, round.writes.as_millis());
                    report.rounds.push(round);
                }
                Err(failure) => {
                    say_aside!("{:?} {number}: came to no end: {failure}", report.kind);
                    report.failed.push(failure.message.clone());
                    if report.failed.len() >= FAILED_MAX {
                        return Err(failure);
                    }
                    self.mend().await?;
                }
            }
        }
        Ok(())
    }

    /// Makes everything good again, whatever a round has left, with streams of which nothing is under way.
    async fn mend(&mut self) -> Result<(), Failure> {
        act::mend(&mut self.cluster)?;
        self.cluster.wait_for_voters().await?;
        self.streams = streams(&self.client, &self.cluster).await?;
        Ok(())
    }

    /// Does one thing to whoever leads, once, and waits until all is as it was.
    async fn round(&mut self, kind: Kind, limit: Duration) -> Result<Round, Failure> {
        self.cluster.wait_for_voters().await?;
        let leader = self.cluster.wait_for_leader().await?;
        let term = self.term().await;
        let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let mut flowing = Vec::new();
        for node in &others {
            self.streams[*node].change_buyer(&self.client).await?;
            flowing.push(self.streams[*node].flow());
        }
        let answered =
            |since: Instant, wanted: usize| flowing.iter().all(|flow| flow.seen.count(Seen::Write, since) >= wanted);
        let begun = Instant::now();
        if !wait(HEALED_MAX, || answered(begun, STEADY_ANSWERS)).await {
            return Err(Failure::failed(format!("the streams did not flow within {HEALED_MAX:?}")));
        }

        let at = Instant::now();
        act::act(&mut self.cluster, kind, leader, others[0]).await?;
        let over = Instant::now();
        let acknowledged = || match kind {
            Kind::Transfer | Kind::Drain => answered(over, STEADY_ANSWERS),
            _ => [Seen::Write, Seen::Read].iter().all(|what| flowing.iter().any(|flow| flow.seen.count(*what, at) > 0)),
        };
        let over_limit = !wait(limit, acknowledged).await;
        act::heal(&mut self.cluster, kind, leader)?;
        self.cluster.wait_for_voters().await?;
        if over_limit && !wait(HEALED_MAX, acknowledged).await {
            return Err(Failure::failed(format!("healed, and nothing is acknowledged within {HEALED_MAX:?}")));
        }
        let after = self.term().await;
        let mut seen = Vec::new();
        for flow in flowing {
            seen.extend(flow.end().await?);
        }
        let time = |what| match kind {
            Kind::Transfer | Kind::Drain => stream::longest_gap(&seen, what, at),
            _ => stream::first_after(&seen, what, at),
        };
        let slowest = seen.iter().filter(|one| one.sent >= at).map(|one| one.answered - one.sent).max();
        Ok(Round {
            over_limit,
            writes: time(Seen::Write),
            reads: time(Seen::Read),
            slowest: slowest.unwrap_or_default(),
            terms: after.saturating_sub(term),
        })
    }

    async fn term(&self) -> u64 {
        self.cluster.status().await.iter().flatten().map(|status| status.term).max().unwrap_or(0)
    }
}

/// A stream to each node.
async fn streams(client: &Client, cluster: &Cluster) -> Result<Vec<Stream>, Failure> {
    let mut streams = Vec::new();
    for (node, url) in cluster.urls().into_iter().enumerate() {
        streams.push(Stream::prepare(client, url, node).await?);
    }
    Ok(streams)
}

/// Waits at most so long; whether it is reached.
async fn wait(limit: Duration, reached: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !reached() {
        if started.elapsed() > limit {
            return false;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    true
}
