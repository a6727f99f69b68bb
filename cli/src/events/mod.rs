//! `holdfast events`: the stream as people look at it, what no consumer could handle, and whether it is what the ledger says.

mod check;
mod dead;
mod read;
mod status;

use std::sync::Arc;

use clap::{Args, Subcommand};
use holdfast_events::broker::{Broker, BrokerError, Connection};

use crate::failure::{Exit, Failure};
use crate::nats::NatsArgs;

/// Look at the events that were relayed to NATS
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print events as they come, until interrupted
    Tail(read::TailArgs),
    /// Print the events that the stream holds, from one number to another
    Replay(read::ReplayArgs),
    /// What consumers could not read or handle
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Compare stream and outbox row by row; exit code 1 where they differ
    Check(check::CheckArgs),
    /// How far a node's relay has come; exit code 1 where it has stopped
    Status(status::StatusArgs),
}

/// Which broker.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    #[command(flatten)]
    nats: NatsArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl BrokerArgs {
    async fn connect(&self) -> Result<Arc<dyn Connection>, Failure> {
        self.nats.servers()?.connect().await.map_err(failed)
    }
}

/// How a command ends when the broker does not do its part.
fn failed(error: BrokerError) -> Failure {
    let exit = match error {
        BrokerError::Away(_) => Exit::Unreachable,
        BrokerError::Misconfigured(_)
        | BrokerError::NoStream(_)
        | BrokerError::Refused(_)
        | BrokerError::WrongLast(_) => Exit::Failed,
    };
    Failure::new(exit, format!("--nats: {error}"))
}

pub async fn run(command: EventsCommand) -> Result<(), Failure> {
    match command {
        EventsCommand::Tail(args) => read::tail(args).await,
        EventsCommand::Replay(args) => read::replay(args).await,
        EventsCommand::Dead(command) => dead::run(command).await,
        EventsCommand::Check(args) => check::run(args).await,
        EventsCommand::Status(args) => status::run(args).await,
    }
}
