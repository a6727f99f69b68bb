//! `holdfast events dead`: dead letters, and sending them to their consumer once more.

use clap::{Args, Subcommand};
use holdfast_events::dead::{self, DeadLetter};
use serde_json::{Value, json};

use super::{BrokerArgs, failed, read};
use crate::failure::Failure;

/// Letters of one list.
const LETTERS_MAX: usize = 1_000;

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// The letters, oldest first, at most 1000
    List(ListArgs),
    /// One letter with its event
    Show(LetterArgs),
    /// Send a letter to its consumer once more
    Replay(LetterArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    nats: BrokerArgs,
    /// Begin after this letter
    #[arg(long, default_value_t = 0, value_name = "N")]
    after: u64,
}

#[derive(Debug, Args)]
pub struct LetterArgs {
    #[command(flatten)]
    nats: BrokerArgs,
    /// The letter's number, as the list shows it
    #[arg(value_name = "N")]
    letter: u64,
}

pub async fn run(command: DeadCommand) -> Result<(), Failure> {
    match command {
        DeadCommand::List(args) => list(args).await,
        DeadCommand::Show(args) => show(args).await,
        DeadCommand::Replay(args) => replay(args).await,
    }
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let connection = args.nats.connect().await?;
    let letters = dead::list(&*connection, args.after, LETTERS_MAX).await.map_err(failed)?;
    if letters.is_empty() && !args.nats.json {
        say!("There are no dead letters.");
    }
    for letter in &letters {
        match args.nats.json {
            true => say!("{}", object(letter)),
            false => say!("{}  {}  event {}: {}", letter.seq, letter.consumer, letter.stream_seq, letter.reason),
        }
    }
    Ok(())
}

async fn show(args: LetterArgs) -> Result<(), Failure> {
    let connection = args.nats.connect().await?;
    let letter = dead::show(&*connection, args.letter).await.map_err(failed)?.ok_or_else(|| absent(args.letter))?;
    if args.nats.json {
        say!("{}", object(&letter));
        return Ok(());
    }
    say!("consumer:    {}", letter.consumer);
    say!("reason:      {}", letter.reason);
    say!("deliveries:  {}", letter.deliveries);
    say!("from:        {}, {}", letter.stream, letter.stream_seq);
    say!("event:       {}", read::line(letter.stream_seq, &letter.message));
    Ok(())
}

async fn replay(args: LetterArgs) -> Result<(), Failure> {
    let connection = args.nats.connect().await?;
    match dead::replay(&*connection, args.letter).await.map_err(failed)? {
        true => say!("Letter {} is on its way to its consumer.", args.letter),
        false => return Err(absent(args.letter)),
    }
    Ok(())
}

fn absent(letter: u64) -> Failure {
    Failure::failed(format!("there is no dead letter {letter}"))
}

fn object(letter: &DeadLetter) -> Value {
    json!({
        "letter": letter.seq.to_string(),
        "consumer": letter.consumer,
        "reason": letter.reason,
        "deliveries": letter.deliveries,
        "stream": letter.stream,
        "event": read::object(letter.stream_seq, &letter.message),
    })
}
