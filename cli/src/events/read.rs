//! `holdfast events tail` and `replay`: the stream's messages, a line each.

use std::time::Duration;

use clap::Args;
use holdfast_events::broker::{
    Connection, Delivery, Message, Pull, PullSettings, StartAt, ledger_stream, newest_lineage,
};
use holdfast_events::wire::header;
use serde_json::{Map, Value, json};

use super::{BrokerArgs, failed};
use crate::failure::Failure;
use crate::stop;

/// Messages taken at once.
const BATCH: usize = 100;
/// How long a fetch waits; then it is time to see whether a lineage has begun.
const FETCH_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct TailArgs {
    #[command(flatten)]
    nats: BrokerArgs,
    /// Begin after this event instead of now
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// Only these subjects, such as ledger.v1.ticket.>
    #[arg(long, value_name = "SUBJECTS")]
    filter: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    nats: BrokerArgs,
    /// The first event; the first that the stream holds if not said
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// The last event; the last that the stream holds now if not said
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Only these subjects, such as ledger.v1.ticket.>
    #[arg(long, value_name = "SUBJECTS")]
    filter: Option<String>,
}

pub async fn tail(args: TailArgs) -> Result<(), Failure> {
    let connection = args.nats.connect().await?;
    let mut stopping = stop::flag(false);
    let mut start = args.after.map_or(StartAt::New, |after| StartAt::Seq(after + 1));
    loop {
        let lineage = current(&*connection).await?;
        let pull = open(&*connection, lineage, args.filter.clone(), start).await?;
        loop {
            let fetched = tokio::select! {
                biased;
                _ = stopping.wait_for(|raised| *raised) => return Ok(()),
                fetched = pull.fetch(BATCH, FETCH_WAIT) => fetched.map_err(failed)?,
            };
            if fetched.is_empty() && current(&*connection).await? != lineage {
                // What a restored ledger says begins with the first message of its own stream.
                start = StartAt::First;
                break;
            }
            print(fetched, args.nats.json).await?;
        }
    }
}

pub async fn replay(args: ReplayArgs) -> Result<(), Failure> {
    let connection = args.nats.connect().await?;
    let lineage = current(&*connection).await?;
    let stream = ledger_stream(lineage);
    let state = connection.state(&stream).await.map_err(failed)?;
    let state = state.ok_or_else(|| Failure::failed(format!("--nats: no stream {stream}")))?;
    let (from, to) = (args.from.unwrap_or(state.first), args.to.unwrap_or(state.last).min(state.last));
    let pull = open(&*connection, lineage, args.filter, StartAt::Seq(from)).await?;
    loop {
        let mut fetched = pull.fetch(BATCH, FETCH_WAIT).await.map_err(failed)?;
        let is_end = fetched.is_empty() || fetched.iter().any(|delivery| delivery.seq >= to);
        fetched.retain(|delivery| delivery.seq <= to);
        print(fetched, args.nats.json).await?;
        if is_end {
            return Ok(());
        }
    }
}

/// The lineage that is published to now.
async fn current(connection: &dyn Connection) -> Result<u16, Failure> {
    let newest = newest_lineage(connection).await.map_err(failed)?;
    newest.ok_or_else(|| Failure::failed("--nats: there is no stream of events; is a node relaying with --nats?"))
}

async fn open(
    connection: &dyn Connection,
    lineage: u16,
    filter: Option<String>,
    start: StartAt,
) -> Result<Box<dyn Pull>, Failure> {
    let settings =
        PullSettings { durable: None, filter, start, ack_wait: Duration::from_secs(60), ack_pending_max: 4 * BATCH };
    connection.pull(&ledger_stream(lineage), settings).await.map_err(failed)
}

async fn print(fetched: Vec<Delivery>, as_json: bool) -> Result<(), Failure> {
    for delivery in fetched {
        match as_json {
            true => say!("{}", object(delivery.seq, &delivery.message)),
            false => say!("{}", line(delivery.seq, &delivery.message)),
        }
        delivery.ack().await.map_err(failed)?;
    }
    Ok(())
}

/// A message for people: number, time, type, entity, version, body.
pub fn line(seq: u64, message: &Message) -> String {
    let header = |name| message.header(name).unwrap_or("?");
    let body = String::from_utf8_lossy(&message.body);
    let (time, name) = (header(header::CE_TIME), header(header::CE_TYPE));
    format!("{seq}  {time}  {name}  {} v{}  {body}", header(header::CE_SUBJECT), header(header::VERSION))
}

/// A message for programs: its number, its headers, and its body under `data`.
pub fn object(seq: u64, message: &Message) -> Value {
    let mut object = Map::from_iter([("streamSeq".to_string(), json!(seq.to_string()))]);
    object.insert("subject".into(), json!(message.subject));
    let ours = message.headers.iter().filter(|(name, _)| !name.starts_with("Nats-"));
    let headers: Map<String, Value> = ours.map(|(name, value)| (name.to_string(), json!(value))).collect();
    object.insert("headers".into(), headers.into());
    let body = serde_json::from_slice(&message.body);
    object.insert("data".into(), body.unwrap_or_else(|_| json!(String::from_utf8_lossy(&message.body))));
    object.into()
}
