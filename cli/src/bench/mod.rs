//! `holdfast bench lock`: how many locks a second, and how long one takes. `holdfast bench relay` and
//! `holdfast bench failover` stand in files of their own.
//!
//! One request is one `POST /api/orders` for a ticket that nobody holds, by a signed-in user. Each connection has one
//! request in flight and a user of its own. Users may hold few locks at a time (policy), so there are two ways to run:
//!
//! - with `--operator`, the limit is raised as far as it goes for the run and put back, and each connection has as many
//!   users as its tickets need: every request is a lock;
//! - without it, each lock is cancelled again before the next one, on the same connection. The cancellation is not in the
//!   latencies and not in the rate, but the cluster has to do it.
//!
//! What this deliberately does not do: a fixed arrival rate. The latencies are those of closed loops.

mod connection;
mod disk;
mod failover;
mod relay;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use holdfast_ledger::limits::LOCKS_PER_USER_MAX;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Account, Client};
use crate::failure::Failure;
use crate::policy::PolicyChange;
use crate::sale::Seller;
use connection::{Connection, Target};

/// How long preparing requests may keep being refused with 503.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bulk requests under way at the same time while preparing.
const PREPARING_MAX: usize = 4;
/// Locks a second that tickets are prepared for when nothing is said.
const TICKETS_PER_SECOND: u64 = 30_000;
/// Tickets for each connection when they are freed again.
const TICKETS_RECYCLED: u64 = 64;
/// The longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;
/// The disk is measured for this long.
const DISK_DURATION: Duration = Duration::from_secs(3);

/// Measure a cluster
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    Lock(LockArgs),
    Relay(relay::RelayArgs),
    Failover(failover::FailoverArgs),
}

/// Locks over HTTP: rate and latency
#[derive(Debug, Args)]
pub struct LockArgs {
    /// URLs of the nodes, comma-separated; connections are dealt out in turn. Plain http only
    #[arg(long, env = "HOLDFAST_URL", value_delimiter = ',', required = true, value_name = "URL")]
    pub url: Vec<String>,
    /// Connections, each with one request in flight and users of its own
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub connections: u32,
    /// Length of the measurement
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Operator address of a node: raises the limit of locks a user for the run, so that nothing needs to be cancelled
    #[arg(long, value_name = "ADDR")]
    pub operator: Option<String>,
    /// Tickets to prepare; each is locked once, and the run ends when none is left [default: enough for 30,000 a second]
    #[arg(long, requires = "operator", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub tickets: Option<u64>,
    /// Send an Idempotency-Key with every lock
    #[arg(long)]
    pub idempotency_keys: bool,
    /// Also measure writes of 8 kB with fdatasync in this folder, just before the run
    #[arg(long, value_name = "DIR")]
    pub fsync_dir: Option<PathBuf>,
}

pub async fn run(command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Lock(args) => lock(args).await,
        BenchCommand::Relay(args) => relay::run(args).await,
        BenchCommand::Failover(args) => failover::run(args).await,
    }
}

/// What one connection, or all, saw.
pub(crate) struct Measured {
    /// Of locks that were granted, microseconds.
    pub latencies_us: Histogram<u64>,
    /// Everything else, by code.
    pub errors: BTreeMap<String, u64>,
}

impl Measured {
    fn new() -> Measured {
        let latencies_us = Histogram::new_with_max(LATENCY_US_MAX, 3).expect("the bounds are valid");
        Measured { latencies_us, errors: BTreeMap::new() }
    }

    fn add(&mut self, other: Measured) {
        self.latencies_us.add(other.latencies_us).expect("both have the same bounds");
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }
}

async fn lock(args: LockArgs) -> Result<(), Failure> {
    let targets = args.url.iter().map(|url| Target::parse(url)).collect::<Result<Vec<_>, _>>()?;
    let client = Client::new(&args.url, PATIENCE)?;
    let connections = u64::from(args.connections);
    let recycle = args.operator.is_none();
    let tickets = args.tickets.unwrap_or(match recycle {
        true => connections * TICKETS_RECYCLED,
        false => u64::from(args.seconds) * TICKETS_PER_SECOND,
    });
    let share = tickets.div_ceil(connections);
    let users_each = if recycle { 1 } else { share.div_ceil(u64::from(LOCKS_PER_USER_MAX)) };
    let users = connections * users_each;
    say_aside!("preparing {users} users and {tickets} tickets …");
    let run = format!("{:08x}", rand::random::<u32>());
    let users = sign_up_users(&client, users, &run).await?;
    let tickets = create_tickets(&client, tickets, &run).await?;
    let limit = match &args.operator {
        Some(operator) => Some(PolicyChange::raise_locks(operator, LOCKS_PER_USER_MAX).await?),
        None => None,
    };
    let disk = match args.fsync_dir.clone() {
        Some(dir) => Some(disk::fdatasync_rate(dir, DISK_DURATION).await?),
        None => None,
    };

    say_aside!("measuring for {} s …", args.seconds);
    let until = Instant::now() + Duration::from_secs(u64::from(args.seconds));
    let started = Instant::now();
    let mut running = JoinSet::new();
    let shares = users.chunks(users_each as usize).zip(tickets.chunks(share as usize));
    for (number, (users, tickets)) in shares.enumerate() {
        let target = targets[number % targets.len()].clone();
        let connection = Connection::new(target, users, tickets, recycle, args.idempotency_keys)?;
        running.spawn(connection.run(until));
    }
    let mut measured = Measured::new();
    let mut used_up = false;
    while let Some(joined) = running.join_next().await {
        let (part, ran_out) = joined.map_err(|error| Failure::failed(format!("a connection's task: {error}")))?;
        measured.add(part);
        used_up |= ran_out;
    }
    let took = started.elapsed();
    if let Some(limit) = limit {
        limit.undo().await?;
    }
    print(&args, &measured, took, disk, recycle, used_up);
    if measured.latencies_us.is_empty() { Err(Failure::failed("not a single lock was granted")) } else { Ok(()) }
}

async fn sign_up_users(client: &Client, count: u64, run: &str) -> Result<Vec<Account>, Failure> {
    let mut signing_up = JoinSet::new();
    let mut users = Vec::with_capacity(count as usize);
    for number in 0..count as usize {
        let (client, email) = (client.clone(), format!("bench-{run}-{number}@holdfast.example"));
        signing_up.spawn(async move { client.account(&email, "bench-password", number).await });
        if signing_up.len() >= PREPARING_MAX {
            users.extend(next(&mut signing_up).await?);
        }
    }
    while !signing_up.is_empty() {
        users.extend(next(&mut signing_up).await?);
    }
    Ok(users)
}

async fn create_tickets(client: &Client, count: u64, run: &str) -> Result<Vec<String>, Failure> {
    const PAGE: u64 = 500;
    let mut creating = JoinSet::new();
    let mut tickets = Vec::with_capacity(count as usize);
    let email = format!("bench-seller-{run}@holdfast.example");
    let seller = std::sync::Arc::new(Seller::sign_up(client, &email, "bench-password").await?);
    for first in (0..count).step_by(PAGE as usize) {
        let bodies: Vec<_> = (first..count.min(first + PAGE))
            .map(|number| json!({ "title": "Bench", "price": 20, "externalId": format!("{run}-{number}") }))
            .collect();
        let seller = seller.clone();
        creating.spawn(async move { seller.create(&bodies).await });
        if creating.len() >= PREPARING_MAX {
            tickets.extend(next(&mut creating).await?.into_iter().flatten());
        }
    }
    while !creating.is_empty() {
        tickets.extend(next(&mut creating).await?.into_iter().flatten());
    }
    Ok(tickets)
}

/// The next task's result; `None` when there is no task.
async fn next<T: 'static>(tasks: &mut JoinSet<Result<T, Failure>>) -> Result<Option<T>, Failure> {
    match tasks.join_next().await {
        Some(joined) => joined.map_err(|error| Failure::failed(format!("preparing: {error}")))?.map(Some),
        None => Ok(None),
    }
}

fn print(args: &LockArgs, measured: &Measured, took: Duration, disk: Option<f64>, recycle: bool, used_up: bool) {
    let latencies = &measured.latencies_us;
    let milliseconds = |quantile: f64| format!("{:.2} ms", latencies.value_at_quantile(quantile) as f64 / 1_000.0);
    let mut rows = vec![
        ("connections".to_string(), args.connections.to_string()),
        ("nodes".to_string(), args.url.len().to_string()),
        ("locks".to_string(), latencies.len().to_string()),
        ("seconds".to_string(), format!("{:.1}", took.as_secs_f64())),
        ("locks a second".to_string(), format!("{:.0}", latencies.len() as f64 / took.as_secs_f64())),
        ("p50".to_string(), milliseconds(0.5)),
        ("p99".to_string(), milliseconds(0.99)),
        ("p99.9".to_string(), milliseconds(0.999)),
        ("slowest".to_string(), milliseconds(1.0)),
        ("errors".to_string(), measured.errors.values().sum::<u64>().to_string()),
    ];
    rows.extend(measured.errors.iter().map(|(code, count)| (format!("  {code}"), count.to_string())));
    if let Some(rate) = disk {
        rows.push(("8 kB writes with fdatasync a second".to_string(), format!("{rate:.0}")));
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    for (name, value) in rows {
        table.add_row([name, value]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    say!("{table}");
    if recycle {
        say!("Each lock was cancelled before the connection's next one: the cluster did as many cancellations.");
    }
    if used_up {
        say!("A connection ran out of tickets before the time was over: --tickets says how many to prepare.");
    }
}
