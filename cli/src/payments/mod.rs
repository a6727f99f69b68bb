//! `holdfast payments`: the service that asks the bank.

mod book;
pub mod inside;
mod provider;
mod reconcile;
mod worker;

use clap::{Args, Subcommand};

use crate::failure::Failure;

/// Carry payments through: authorise with the provider, capture once the ledger has completed the order, or let go
///
/// Any number of copies may run. What is to do stands in the ledger, so none keeps anything.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct PaymentsArgs {
    #[command(subcommand)]
    command: Option<PaymentsCommand>,
    #[command(flatten)]
    worker: worker::WorkerArgs,
}

#[derive(Debug, Subcommand)]
enum PaymentsCommand {
    /// Compare the provider's book with the ledger and name every difference; exit code 1 if there is one
    Reconcile(reconcile::ReconcileArgs),
    /// Run the sandbox bank as a program of its own, which several copies share: no money moves
    Sandbox(book::SandboxArgs),
}

pub async fn run(args: PaymentsArgs) -> Result<(), Failure> {
    match args.command {
        None => worker::run(args.worker).await,
        Some(PaymentsCommand::Reconcile(args)) => reconcile::run(args).await,
        Some(PaymentsCommand::Sandbox(args)) => book::run(args).await,
    }
}
