//! `holdfast log`: what a stopped node's log says, and what an entry of it did.
//!
//! Password hashes and payment tokens are in the log because the ledger needs them; they are never printed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_ledger::command::{Command, Submitted};
use holdfast_ledger::query;
use holdfast_raft::inspect::{Content, Effect, Inspection, Logged, ReplayError, Replayed};

use crate::failure::Failure;
use crate::stored;

/// Entries that are shown when none is named.
const LAST_ENTRIES: u64 = 20;
/// What stands in place of a secret.
const HIDDEN: &str = "(hidden)";
/// Events of an entry that are printed.
const EVENTS_MAX: u64 = 100;

/// Look at a stopped node's log
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// What an entry says; without --at, the log's bounds and its last entries
    Show(LogArgs),
    /// What an entry does: its outcomes and events, replayed from the nearest stored state; without --at, the last entry
    Replay(LogArgs),
}

#[derive(Debug, Args)]
pub struct LogArgs {
    /// Folder of the node's data
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// Index of the entry
    #[arg(long, value_name = "N")]
    pub at: Option<u64>,
}

pub async fn run(command: LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Show(args) => show(args).await,
        LogCommand::Replay(args) => replay(args).await,
    }
}

async fn show(args: LogArgs) -> Result<(), Failure> {
    let (_folder, mut inspection) = stored::open(&args.data).await?;
    if let Some(index) = args.at {
        print_entry(&entry(&mut inspection, index, &args).await?, true);
        return Ok(());
    }
    let bounds = inspection.bounds();
    let (Some(first), Some(last)) = (bounds.first, bounds.last) else {
        say!("The log is empty.");
        return Ok(());
    };
    let committed = bounds.committed.map_or("none".to_string(), |index| index.to_string());
    say!("entries {first} to {last}; known to be committed: {committed}; state: up to {}", inspection.applied());
    for index in first.max(last.saturating_sub(LAST_ENTRIES - 1))..=last {
        print_entry(&entry(&mut inspection, index, &args).await?, false);
    }
    Ok(())
}

async fn entry(inspection: &mut Inspection, index: u64, args: &LogArgs) -> Result<Logged, Failure> {
    let bounds = inspection.bounds();
    let read = inspection.entry(index).await.map_err(|fault| stored::failure(&args.data, &fault))?;
    read.ok_or_else(|| match (bounds.first, bounds.last) {
        (Some(first), Some(last)) => Failure::usage(format!("--at {index}: the log has entries {first} to {last}")),
        _ => Failure::usage(format!("--at {index}: the log is empty")),
    })
}

async fn replay(args: LogArgs) -> Result<(), Failure> {
    let (_folder, inspection) = stored::open(&args.data).await?;
    let Some(index) = args.at.or(inspection.bounds().last) else {
        say!("The log is empty.");
        return Ok(());
    };
    let replayed = inspection.replay(index).await.map_err(|error| match error {
        ReplayError::Fault(fault) => stored::failure(&args.data, &fault),
        error @ ReplayError::BrokenBefore { .. } => Failure::failed(format!("--data {}: {error}", args.data.display())),
        error => Failure::usage(format!("--at {index}: {error}")),
    })?;
    match replayed.from {
        0 => say!("replayed from the empty state"),
        from => say!("replayed from the stored state of entry {from}"),
    }
    print_entry(&replayed.entry, true);
    print_effect(&replayed)
}

fn print_entry(entry: &Logged, whole: bool) {
    let head = format!("entry {} (term {})", entry.index, entry.term);
    match &entry.content {
        Content::Blank => say!("{head}: blank"),
        Content::Membership(membership) => say!("{head}: membership {membership}"),
        Content::Commands(batch) if whole => {
            say!("{head}: {} commands, stamped {} ms", batch.commands.len(), batch.time_ms);
            for (number, submitted) in batch.commands.iter().enumerate() {
                say!("  {}. {}", number + 1, line(submitted));
            }
        }
        Content::Commands(batch) => {
            let first = batch.commands.first().map(|submitted| name(&submitted.command)).unwrap_or_default();
            let more = if batch.commands.len() > 1 { " …" } else { "" };
            say!("{head}: {} commands: {first}{more}", batch.commands.len());
        }
    }
}

fn print_effect(replayed: &Replayed) -> Result<(), Failure> {
    match &replayed.effect {
        Effect::Nothing => say!("it changes nothing in the ledger"),
        Effect::Applied(applied) => {
            say!("ledger time after it: {} ms; outcomes:", applied.time_ms);
            for (number, outcome) in applied.outcomes.iter().enumerate() {
                let replayed =
                    if outcome.replayed { format!(" (decided at {})", outcome.decided_at) } else { String::new() };
                say!("  {}. {:?}{replayed}", number + 1, outcome.settled);
            }
            let last = replayed.state.meta().event_seq;
            let first = last - u64::from(applied.events);
            say!("{} events{}", applied.events, if applied.events == 0 { "" } else { ":" });
            for after in (first..last).take(EVENTS_MAX as usize) {
                let events = query::events(&replayed.state, after, 1).map_err(Failure::failed)?;
                for event in events.events {
                    let (kind, entity) = (event.event_type.name(), event.entity);
                    say!("  {}. {kind} of {entity}, version {}: {:?}", event.seq, event.version, event.body);
                }
            }
        }
        Effect::Broken { invariant } => {
            return Err(Failure::failed(format!("entry {} breaks an invariant: {invariant}", replayed.entry.index)));
        }
    }
    Ok(())
}

/// A command on one line, without its secrets.
fn line(submitted: &Submitted) -> String {
    let Submitted { actor, idempotency, command } = submitted;
    let key = idempotency.as_ref().map(|key| format!(" (key {:?})", key.key)).unwrap_or_default();
    format!("{actor:?}{key}: {:?}", without_secrets(command.clone()))
}

/// The command's name alone.
fn name(command: &Command) -> String {
    let text = format!("{:?}", without_secrets(command.clone()));
    text.split([' ', '(']).next().unwrap_or_default().to_string()
}

fn without_secrets(mut command: Command) -> Command {
    match &mut command {
        Command::SignUp { password_hash, .. }
        | Command::ChangePassword { password_hash }
        | Command::ResetPassword { password_hash, .. } => *password_hash = HIDDEN.into(),
        Command::PutWebhook { secret: Some(secret), .. } => *secret = HIDDEN.into(),
        Command::BeginPayment { token, .. } => *token = HIDDEN.into(),
        _ => {}
    }
    command
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::command::Actor;

    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let commands = [
            Command::SignUp { email: "a@b.example".into(), password_hash: "hunter2".into(), agent: "".into() },
            Command::ChangePassword { password_hash: "hunter2".into() },
            Command::BeginPayment { order: Default::default(), token: "hunter2".into() },
            Command::PutWebhook {
                webhook: None,
                url: "https://a.example".into(),
                secret: Some("hunter2".into()),
                event_types: Vec::new(),
            },
        ];
        for command in commands {
            let text = line(&Submitted { actor: Actor::Anonymous, idempotency: None, command });
            assert!(!text.contains("hunter2") && text.contains(HIDDEN), "{text}");
        }
    }
}
