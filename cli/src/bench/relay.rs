//! `holdfast bench relay`: how fast events reach the broker, beside how fast the ledger makes them.
//!
//! Three nodes and a nats-server are started on loopback. Tickets are put on sale in bulk, an event each: first with the broker
//! there, so that ledger and relay share the machine; then with the broker away, so that everything waits, and the
//! relay has to catch up. In the end a node's outbox is read to say what an event costs.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use holdfast_ledger::{codec, query};

use super::{PATIENCE, create_tickets};
use crate::broker::NatsServer;
use crate::client::Client;
use crate::cluster::{Cluster, Plan};
use crate::failure::Failure;
use crate::{stored, stream, tools};

const NODES: usize = 3;
/// Between two looks at the stream.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long the relay may take for everything.
const RELAY_TIMEOUT: Duration = Duration::from_secs(600);
/// Rows of the outbox that are read at once, and in all.
const ROWS_PAGE: usize = 100;
const ROWS_MAX: usize = 10_000;

/// Events from the ledger to the broker: rate of both, and bytes an event
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// Tickets that are put on sale in each of the two parts: an event each
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u64).range(500..=5_000_000))]
    pub tickets: u64,
    /// The nats-server program [default: the one that setup installed, or that is in PATH]
    #[arg(long, value_name = "FILE")]
    pub nats_server: Option<std::path::PathBuf>,
}

pub async fn run(args: RelayArgs) -> Result<(), Failure> {
    let dir = std::env::temp_dir().join(format!("holdfast-bench-{}", std::process::id()));
    let measured = measure(&args, &dir).await;
    if measured.is_ok() {
        // What cannot be removed is in the folder for temporary files anyway.
        let _ = std::fs::remove_dir_all(&dir);
    } else {
        say_aside!("The nodes' data and logs are in {}", dir.display());
    }
    print(&args, &measured?);
    Ok(())
}

struct Measured {
    ledger: Duration,
    relay: Duration,
    catch_up: Duration,
    outbox_bytes: f64,
    message_bytes: f64,
}

async fn measure(args: &RelayArgs, dir: &Path) -> Result<Measured, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::cannot_start(format!("own program: {error}")))?;
    let server = match &args.nats_server {
        Some(server) => server.clone(),
        None => tools::find("nats-server", &program)?,
    };
    let mut broker = NatsServer::start(&program, &server, dir).await?;
    let flags = vec!["--nats".into(), broker.url()];
    let mut cluster = Cluster::start(Plan { program, dir: dir.to_path_buf(), nodes: NODES, flags }).await?;
    let client = Client::new(&cluster.urls(), PATIENCE)?;

    say_aside!("putting {} tickets on sale while the relay runs …", args.tickets);
    // The stream is made before anything is measured.
    create_tickets(&client, 1, "warm").await?;
    let before = wait_for(&broker, 1).await?;
    let started = Instant::now();
    create_tickets(&client, args.tickets, "beside").await?;
    let ledger = started.elapsed();
    wait_for(&broker, before + args.tickets).await?;
    let relay = started.elapsed();

    say_aside!("putting as many on sale while the broker is away …");
    broker.kill();
    create_tickets(&client, args.tickets, "away").await?;
    broker.restart().await?;
    let started = Instant::now();
    let from = stream::last(&broker.url()).await?.unwrap_or(0);
    let upto = wait_for(&broker, before + 2 * args.tickets).await?;
    // What the first look found had been sent before the broker was killed.
    let catch_up = started.elapsed().mul_f64(args.tickets as f64 / (upto - from).max(1) as f64);

    cluster.stop_all();
    let (outbox_bytes, message_bytes) = bytes_an_event(&cluster.members[0].data).await?;
    Ok(Measured { ledger, relay, catch_up, outbox_bytes, message_bytes })
}

/// Waits until the stream's last number is at least `upto`, and gives it.
async fn wait_for(broker: &NatsServer, upto: u64) -> Result<u64, Failure> {
    let started = Instant::now();
    loop {
        let last = stream::last(&broker.url()).await.ok().flatten().unwrap_or(0);
        if last >= upto {
            return Ok(last);
        }
        if started.elapsed() > RELAY_TIMEOUT {
            return Err(Failure::failed(format!(
                "the stream ends at {last} instead of {upto} after {RELAY_TIMEOUT:?}"
            )));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What an event takes in a stopped node's outbox, and as a message: means over its last rows.
async fn bytes_an_event(data: &Path) -> Result<(f64, f64), Failure> {
    let (_folder, inspection) = stored::open(data).await?;
    let complain =
        |error: &dyn std::fmt::Display| Failure::failed(format!("the outbox of {}: {error}", data.display()));
    let state = inspection.state();
    let mut after = state.meta().event_seq.saturating_sub(ROWS_MAX as u64);
    let (mut rows, mut stored_bytes, mut message_bytes) = (0_u64, 0, 0);
    while rows < ROWS_MAX as u64 {
        let page = query::events(state, after, ROWS_PAGE).map_err(|error| complain(&error))?;
        let Some(last) = page.events.last() else { break };
        after = last.seq;
        for event in &page.events {
            rows += 1;
            // The row's key is the event's number.
            stored_bytes += codec::encode(event).len() + size_of::<u64>();
            let published = holdfast_events::wire::publish(event, "bench");
            let headers: usize = published.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
            message_bytes += published.subject.len() + headers + published.body.len();
        }
    }
    Ok((stored_bytes as f64 / rows.max(1) as f64, message_bytes as f64 / rows.max(1) as f64))
}

fn print(args: &RelayArgs, measured: &Measured) {
    let rate = |took: Duration| format!("{:.0}", args.tickets as f64 / took.as_secs_f64());
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    for (name, value) in [
        ("nodes", NODES.to_string()),
        ("events in each part", args.tickets.to_string()),
        ("ledger: events a second, in bulk, relay beside it", rate(measured.ledger)),
        ("relay: events a second, from the first creation to the last message", rate(measured.relay)),
        ("relay: events a second, catching up after the broker was away", rate(measured.catch_up)),
        ("bytes an event in the outbox", format!("{:.0}", measured.outbox_bytes)),
        ("bytes an event as a message", format!("{:.0}", measured.message_bytes)),
    ] {
        table.add_row([name.to_string(), value]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    say!("{table}");
}
