//! `holdfast top`: the cluster on a terminal, looked at once a second through the operators' listeners.
//!
//! What is shown is what the nodes say of themselves, by their status and their metrics; nothing is computed that a dashboard
//! could not. A node that does not answer is shown as such, and the rest goes on.
//!
//! What this deliberately does not do: change anything. It is safe to leave open.

mod frame;
mod look;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};

use crate::failure::Failure;
use crate::membership::Addresses;
use look::{Looker, Picture};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a key may go unnoticed.
const KEY_INTERVAL: Duration = Duration::from_millis(50);
/// How long a node may take to answer before it is shown as away.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Nodes that are shown.
const NODES_MAX: usize = 16;
/// The size of one frame that goes to a file or a pipe.
const WIDTH: u16 = 110;
const HEIGHT: u16 = 30;

/// Watch a cluster on the terminal; q ends it
#[derive(Debug, Args)]
pub struct TopArgs {
    #[command(flatten)]
    at: Addresses,
    /// Print one frame and end
    #[arg(long)]
    once: bool,
}

pub async fn run(args: TopArgs) -> Result<(), Failure> {
    if args.at.operator.len() > NODES_MAX {
        return Err(Failure::usage(format!("--operator: more than {NODES_MAX} nodes")));
    }
    let mut looker = Looker::new(args.at.operator, ANSWER_WAIT)?;
    if args.once {
        let first = looker.look(None).await;
        if first.nodes.iter().all(|node| node.figures.is_none()) {
            return Err(Failure::unreachable("--operator: no node answers"));
        }
        // Rates take two looks.
        tokio::time::sleep(LOOK_INTERVAL).await;
        say!("{}", text(&looker.look(Some(&first)).await));
        return Ok(());
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::usage("top needs a terminal; --once prints one frame"));
    }
    let mut terminal = ratatui::try_init().map_err(|error| Failure::cannot_start(format!("terminal: {error}")))?;
    let watched = watch(&mut looker, &mut terminal).await;
    ratatui::restore();
    watched.map_err(|error| Failure::cannot_start(format!("terminal: {error}")))
}

/// One frame as text.
fn text(picture: &Picture) -> String {
    let mut terminal = Terminal::new(TestBackend::new(WIDTH, HEIGHT)).expect("a terminal in memory");
    terminal.draw(|frame| frame::draw(frame, picture)).expect("a terminal in memory");
    let buffer = terminal.backend().buffer();
    let row = |y: u16| (0..WIDTH).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    let rows: Vec<String> = (0..HEIGHT).map(|y| row(y).trim_end().to_string()).collect();
    rows.join("\n").trim_end().to_string()
}

async fn watch(looker: &mut Looker, terminal: &mut ratatui::DefaultTerminal) -> std::io::Result<()> {
    let mut last = None;
    loop {
        let picture = looker.look(last.as_ref()).await;
        terminal.draw(|frame| frame::draw(frame, &picture))?;
        last = Some(picture);
        let next = tokio::time::Instant::now() + LOOK_INTERVAL;
        while tokio::time::Instant::now() < next {
            while event::poll(Duration::ZERO)? {
                match event::read()? {
                    Event::Key(key) if ends(key.code, key.modifiers) => return Ok(()),
                    Event::Resize(..) => {
                        let picture = last.as_ref().expect("it was looked");
                        terminal.draw(|frame| frame::draw(frame, picture))?;
                    }
                    _ => {}
                }
            }
            tokio::time::sleep(KEY_INTERVAL).await;
        }
    }
}

fn ends(code: KeyCode, modifiers: KeyModifiers) -> bool {
    matches!(code, KeyCode::Char('q') | KeyCode::Esc)
        || (code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL))
}

#[cfg(test)]
mod tests {
    use super::look::tests::picture;
    use super::*;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/top/frame.txt");

    #[test]
    fn one_frame_is_what_it_was() {
        let drawn = format!("{}\n", text(&picture()));
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            std::fs::write(GOLDEN, &drawn).expect("written");
        }
        let kept = std::fs::read_to_string(GOLDEN).expect("readable");
        assert_eq!(drawn, kept, "run this with UPDATE_GOLDENFILES=1 and read the diff");
    }

    #[test]
    fn a_small_terminal_is_no_panic() {
        for (width, height) in [(1, 1), (20, 5), (79, 12), (300, 100)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
            terminal.draw(|frame| frame::draw(frame, &picture())).expect("a terminal in memory");
        }
    }
}
