//! `holdfast cluster rejoin`: a node whose data is damaged, stale or gone comes back under a new id.
//!
//! Run beside the stopped node. What it had is moved aside, not removed; its keys stay. The cluster gives the new folder an id as
//! a learner that is to take the old member's place, which the leader does once the node runs and has caught up. The old id
//! votes never again: what it may have promised is lost with its data.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use holdfast_raft::disk;
use holdfast_raft::identity::Identity;
use holdfast_raft::plan::{Plan, Refusal};
use holdfast_raft::types::Intent;
use serde_json::json;

use super::{Operators, Problem, Reach, planned, refused, token};
use crate::failure::Failure;
use crate::folder::{Folder, KEPT};
use crate::operator::{self, Join};
use crate::tls;

#[derive(Debug, Args)]
pub struct RejoinArgs {
    /// Folder of the node's data
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The member whose place it takes [default: the one that the folder was]
    #[arg(long, value_name = "NODE")]
    in_place_of: Option<u64>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub reach: Reach,
}

pub async fn run(args: &RejoinArgs) -> Result<(), Problem> {
    let operators = Operators::new(&args.reach)?;
    let folder = Folder::take(&args.data)?;
    let known = place(&args.data)?;
    let Some(old) = args.in_place_of.or(known) else {
        let data = args.data.display();
        return Err(Failure::usage(format!(
            "--in-place-of: needed, as {data} does not say which member it was; see `holdfast cluster status`"
        ))
        .into());
    };
    let plan = planned(&operators, None).await?;
    let join = allowed(&plan, old)?;
    if args.dry_run {
        return said(args, old, None, None);
    }
    let aside = move_aside(&args.data)?;
    let node_id = ask(&operators, folder.path(), join).await?;
    said(args, old, Some(node_id), aside)
}

/// The member that the folder says it is; `None` where it says nothing that can be read.
fn place(data: &Path) -> Result<Option<u64>, Problem> {
    let disk = disk::Folder::open(data)
        .map_err(|error| Failure::cannot_start(format!("--data {}: {error}", data.display())))?;
    Ok(Identity::read(&disk).ok().flatten().and_then(|identity| identity.place).map(|place| place.node_id))
}

/// Whether the member may be given up: it is one, it is away, and the others are a quorum.
fn allowed(plan: &Plan, old: u64) -> Result<Join, Problem> {
    let Some(member) = plan.members.iter().find(|member| member.node_id == old) else {
        return Err(refused(&Refusal::NotAMember { node_id: old }));
    };
    if member.live {
        return Err(Problem::refused("still_live", format!("node {old} is at work: stop it first")));
    }
    Ok(Join {
        instance: String::new(),
        peer_addr: member.peer_addr.clone(),
        http_addr: member.http_addr.clone(),
        intent: Intent::InPlaceOf(old),
        token: None,
        versions: crate::versions::known(),
    })
}

/// Moves everything but the keys into a folder beside it, inside the data folder: that may be a mount of its own.
fn move_aside(data: &Path) -> Result<Option<PathBuf>, Problem> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", data.display()));
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
    let aside = data.join(format!("aside-{now_ms}"));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(data).map_err(complain)? {
        names.push(entry.map_err(complain)?.file_name());
    }
    let stays = |name: &str| KEPT.iter().any(|kept| name.starts_with(kept)) || name.starts_with("aside-");
    names.retain(|name| !stays(&name.to_string_lossy()));
    // The identity goes first: a folder without one is nobody, whatever else is still in it.
    names.sort_by_key(|name| (name != "identity", name.clone()));
    if names.is_empty() {
        return Ok(None);
    }
    std::fs::create_dir(&aside).map_err(complain)?;
    for name in names {
        std::fs::rename(data.join(&name), aside.join(&name)).map_err(complain)?;
    }
    Ok(Some(aside))
}

/// Asks for a place with a new folder's identity, and writes it down.
async fn ask(operators: &Operators, data: &Path, join: Join) -> Result<u64, Problem> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", data.display()));
    let disk = disk::Folder::open(data).map_err(complain)?;
    let identity = Identity::open(&disk).map_err(complain)?;
    let (address, token) = token::fetch(operators).await?;
    let join = Join { instance: format!("{:032x}", identity.instance), token: Some(token.token), ..join };
    let tls = tls::own()?;
    let place = operator::place(operator::ask_to_join(&[address], &join, tls.as_ref()).await?)?;
    identity.join(&disk, place).map_err(complain)?;
    Ok(place.node_id)
}

fn said(args: &RejoinArgs, old: u64, new: Option<u64>, aside: Option<PathBuf>) -> Result<(), Problem> {
    let data = args.data.display();
    if args.reach.json {
        say!("{}", json!({ "done": new.is_some(), "in_place_of": old, "node_id": new, "aside": aside }));
        return Ok(());
    }
    if let Some(aside) = &aside {
        say!("What was in {data} is in {} now; remove it when you do not need it any more.", aside.display());
    }
    match new {
        Some(new) => say!("{data} is node {new}. Start it: it takes the place of node {old} once it has caught up."),
        None => {
            say!("Nothing was done: this was --dry-run. {data} would come back under a new id, in place of node {old}.")
        }
    }
    Ok(())
}
