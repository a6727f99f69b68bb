//! The command line of Holdfast: one program for a node, for those who run it, and for those who try it.
//!
//! `main` is this library's [`run`]. One file is one command; what several commands need (a client of the API, a cluster of
//! real processes, a sale seen from outside) stands beside them, and the crash tests use the same.
//!
//! What this deliberately does not do: decide anything. Rules are in the ledger, replication is in `raft`, and the API
//! speaks for both.

#![cfg(not(madsim))]

#[macro_use]
mod out;

pub mod bench;
mod bootstrap;
pub mod broker;
mod bus;
pub mod client;
pub mod cluster;
pub mod demo;
mod dev;
pub mod estate;
mod events;
pub mod failure;
mod folder;
pub mod guard;
pub mod import;
mod keys;
mod log;
mod membership;
pub mod money;
mod node;
mod notifications;
pub mod operator;
mod payments;
mod policy;
pub mod sale;
mod serve;
mod service;
pub mod settings;
mod stop;
mod stored;
pub mod stream;
pub mod tools;
mod verify;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Exit, Failure};

/// A distributed ledger for tickets: each is sold exactly once.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::DevArgs),
    Serve(serve::ServeArgs),
    Payments(payments::PaymentsArgs),
    Notifications(notifications::NotificationsArgs),
    Import(import::ImportArgs),
    Demo(demo::DemoArgs),
    #[command(subcommand)]
    Cluster(membership::ClusterCommand),
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    Verify(verify::VerifyArgs),
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    #[command(subcommand)]
    Log(log::LogCommand),
    #[command(hide = true)]
    Guard(guard::GuardArgs),
    #[command(subcommand)]
    Events(events::EventsCommand),
}

/// Runs the command that the process's arguments name.
pub fn run() -> ExitCode {
    let command = CommandLine::parse().command;
    install();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(Failure::new(Exit::CannotStart, format!("threads: {error}"))),
    };
    let result = runtime.block_on(async {
        match command {
            Command::Dev(args) => dev::run(args).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Payments(args) => payments::run(args).await,
            Command::Notifications(args) => notifications::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Cluster(command) => membership::run(command).await,
            Command::Bench(command) => bench::run(command).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Keys(command) => keys::run(command).await,
            Command::Log(command) => log::run(command).await,
            Command::Guard(args) => guard::run(args).await,
            Command::Events(command) => events::run(command).await,
        }
    });
    // Storage that is still closing gets its time: the exit would take its mutexes away. What waits for something else gets no more.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure),
    }
}

/// What the whole process has once: the TLS provider and the log.
fn install() {
    // A second installation would be a second call of this function: the first one's provider stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let filter = tracing_subscriber::EnvFilter::try_from_env("HOLDFAST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,holdfast=info"));
    let colours = std::io::stderr().is_terminal();
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).try_init();
}

fn report(failure: Failure) -> ExitCode {
    say_aside!("holdfast: {failure}");
    failure.exit.into()
}
