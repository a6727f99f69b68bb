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

mod audit;
mod backup;
pub mod bench;
mod bootstrap;
pub mod broker;
mod bus;
mod certs;
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
mod nats;
pub mod net;
mod node;
mod notifications;
pub mod observe;
pub mod operator;
mod payments;
mod policy;
pub mod profile;
pub mod sale;
mod serve;
mod service;
pub mod settings;
mod stop;
mod stored;
pub mod stream;
pub mod tls;
pub mod tools;
mod top;
mod traces;
mod verify;
mod versions;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use failure::{Exit, Failure};

/// A distributed ledger for tickets: each is sold exactly once.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    /// How log lines look on standard error; HOLDFAST_LOG says which there are
    #[arg(long, global = true, env = "HOLDFAST_LOG_FORMAT", value_enum, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
    /// Where traces go: a collector of OpenTelemetry by HTTP, such as http://127.0.0.1:4318
    #[arg(long, global = true, env = "HOLDFAST_OTLP", value_name = "URL")]
    otlp: Option<String>,
    #[command(flatten)]
    tls: tls::TlsArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
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
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Backup(backup::BackupCommand),
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
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    Top(top::TopArgs),
    Profile(profile::ProfileArgs),
    Version(versions::VersionArgs),
}

/// Whether the program understands these arguments; `args` begins with the command. What stands in `deploy/` is held against it.
pub fn understands(args: &[String]) -> Result<(), String> {
    let line = std::iter::once("holdfast").chain(args.iter().map(String::as_str));
    match CommandLine::try_parse_from(line) {
        Ok(_) => Ok(()),
        Err(shown) if !shown.use_stderr() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The names of all variables that some command reads.
pub fn variables() -> BTreeSet<String> {
    fn add(command: &clap::Command, names: &mut BTreeSet<String>) {
        names.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned())));
        command.get_subcommands().for_each(|command| add(command, names));
    }
    let mut names = BTreeSet::from(["HOLDFAST_LOG".to_string()]);
    add(&CommandLine::command(), &mut names);
    names
}

/// Runs the command that the process's arguments name.
pub fn run() -> ExitCode {
    let CommandLine { command, log_format, otlp, tls } = CommandLine::parse();
    tls::give(tls);
    let (spans, exporter) = match otlp.as_deref().map(traces::open).transpose() {
        Ok(opened) => opened.unzip(),
        Err(failure) => return report(failure, log_format),
    };
    install(log_format, spans);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(Failure::new(Exit::CannotStart, format!("threads: {error}")), log_format),
    };
    let result = runtime.block_on(async {
        if let Some(exporter) = exporter {
            tokio::spawn(exporter.run());
        }
        match command {
            Command::Dev(args) => dev::run(args).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Payments(args) => payments::run(args).await,
            Command::Notifications(args) => notifications::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Cluster(command) => membership::run(command).await,
            Command::Audit(command) => audit::run(command).await,
            Command::Backup(command) => backup::run(command).await,
            Command::Bench(command) => bench::run(command).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Keys(command) => keys::run(command).await,
            Command::Log(command) => log::run(command).await,
            Command::Guard(args) => guard::run(args).await,
            Command::Events(command) => events::run(command).await,
            Command::Certs(command) => certs::run(command).await,
            Command::Top(args) => top::run(args).await,
            Command::Profile(args) => profile::run(args).await,
            Command::Version(args) => {
                versions::show(&args);
                Ok(())
            }
        }
    });
    // Storage that is still closing gets its time: the exit would take its mutexes away. What waits for something else gets no more.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure, log_format),
    }
}

/// What the whole process has once: the TLS provider and the log.
fn install(log_format: LogFormat, spans: Option<traces::SpanLayer>) {
    // A second installation would be a second call of this function: the first one's provider stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // What NATS's client complains of at every try, relay and consumers say once.
    let filter = tracing_subscriber::EnvFilter::try_from_env("HOLDFAST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,async_nats=off,holdfast=info"));
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    let log = match log_format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let spans = spans.map(|spans| spans.with_filter(Targets::new().with_target(traces::TARGET, LevelFilter::TRACE)));
    let _ = tracing_subscriber::registry().with(log.with_filter(filter)).with(spans).try_init();
}

/// The last line: why it ended, in the form of the log.
fn report(failure: Failure, log_format: LogFormat) -> ExitCode {
    match log_format {
        LogFormat::Text => say_aside!("holdfast: {failure}"),
        LogFormat::Json => say_aside!("{}", membership::Problem::from(failure.clone()).json()),
    }
    failure.exit.into()
}
