//! `holdfast cluster`: the members, seen and changed through an operator's listener.
//!
//! Every change is planned first, by the leader, and the plan is shown: who votes before and after, how many may fail. A plan that
//! is refused says why and what to do instead, with exit code 7, and nothing was done. The change names the membership that it was
//! planned on, so what is made is what was shown, or nothing.
//!
//! What this deliberately does not do: several changes at once. One after the other is slower and can be understood.

mod ask;
mod catch_up;
mod init;
mod raise;
mod recover;
mod rejoin;
mod show;
mod token;

pub use ask::{Addresses, Operators, Problem, Reach};

use clap::{Args, Subcommand};
use holdfast_raft::plan::{Change, Plan, Refusal};
use serde_json::json;

use crate::failure::Failure;
use crate::operator::Asked;

/// Look at the cluster's members and change them
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make a cluster of nodes that wait: once in its life
    Init(init::InitArgs),
    /// Show the members and how they stand
    Status(StatusArgs),
    /// Show how many may fail, and a change that was left half-way; --resume or --undo ends it
    Plan(PlanArgs),
    /// Add a node that waits to be told
    Add(init::AddArgs),
    /// Make a voter of a learner that has caught up
    Promote(OneArgs),
    /// Make a learner of a voter; it serves stale reads and stays a learner
    Demote(OneArgs),
    /// Put a learner that has caught up in a member's place, in one step
    Replace(ReplaceArgs),
    /// Take a member out of the cluster; a leader hands leadership over first
    Remove(OneArgs),
    /// Hand leadership to a voter
    Transfer(OneArgs),
    /// Show the cluster's version, and which versions the members know
    Version(raise::VersionArgs),
    /// Raise the cluster's version, once every member runs a build that knows it; there is no way back
    Raise(raise::RaiseArgs),
    /// Let one node join that says so itself, by --join: once, within an hour
    Token(token::TokenArgs),
    /// Give a node whose data is damaged or lost a new id and its old place
    Rejoin(rejoin::RejoinArgs),
    /// Make a cluster of its own of one member, after the quorum is lost for good
    Recover(recover::RecoverArgs),
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Go on with the change that was left half-way
    #[arg(long, conflicts_with = "undo")]
    resume: bool,
    /// Take the change that was left half-way back
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    make: Make,
}

/// How a change is made.
#[derive(Debug, Clone, Args)]
pub struct Make {
    /// Only show the plan
    #[arg(long)]
    dry_run: bool,
    /// Wait up to so many seconds until the newcomer has caught up
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: u64,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub struct OneArgs {
    /// The node's id, as `holdfast cluster status` shows it
    #[arg(value_name = "NODE")]
    node_id: u64,
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The member that goes
    #[arg(value_name = "NODE")]
    node_id: u64,
    /// The learner that takes its place
    #[arg(long, value_name = "NODE")]
    by: u64,
    #[command(flatten)]
    make: Make,
}

pub async fn run(command: ClusterCommand) -> Result<(), Failure> {
    let (json, done) = match command {
        ClusterCommand::Init(args) => (args.reach.json, init::init(&args).await),
        ClusterCommand::Add(args) => (args.reach.json, init::add(&args).await),
        ClusterCommand::Version(args) => (args.reach.json, raise::version(&args).await),
        ClusterCommand::Raise(args) => (args.reach.json, raise::raise(&args).await),
        ClusterCommand::Token(args) => (args.reach.json, token::run(&args).await),
        ClusterCommand::Rejoin(args) => (args.reach.json, rejoin::run(&args).await),
        ClusterCommand::Recover(args) => (args.json, recover::run(&args).await),
        ClusterCommand::Status(args) => (args.reach.json, status(&args.reach).await),
        ClusterCommand::Plan(args) => {
            let change = args.resume.then_some(Change::Resume).or(args.undo.then_some(Change::Undo));
            let done = match change {
                Some(change) => make(&args.make, change).await,
                None => look(&args.make.reach).await,
            };
            (args.make.reach.json, done)
        }
        ClusterCommand::Promote(OneArgs { node_id, make: how }) => {
            (how.reach.json, make(&how, Change::Promote { node_id }).await)
        }
        ClusterCommand::Demote(OneArgs { node_id, make: how }) => {
            (how.reach.json, make(&how, Change::Demote { node_id }).await)
        }
        ClusterCommand::Remove(OneArgs { node_id, make: how }) => {
            (how.reach.json, make(&how, Change::Remove { node_id }).await)
        }
        ClusterCommand::Transfer(OneArgs { node_id, make: how }) => {
            (how.reach.json, make(&how, Change::Transfer { to: node_id }).await)
        }
        ClusterCommand::Replace(ReplaceArgs { node_id, by, make: how }) => {
            (how.reach.json, make(&how, Change::Replace { node_id, by }).await)
        }
    };
    done.map_err(|problem| {
        if json {
            say!("{}", problem.json());
        }
        problem.failure
    })
}

/// What a change would do, as the leader says.
async fn planned(operators: &Operators, change: Option<Change>) -> Result<Plan, Problem> {
    operators.look("/cluster/plan", &Asked { change, basis: None }).await
}

async fn status(reach: &Reach) -> Result<(), Problem> {
    let plan = planned(&Operators::new(reach)?, None).await?;
    if reach.json {
        say!("{}", json!(plan));
        return Ok(());
    }
    say!("{}", show::members(&plan));
    say!("{}", show::version(&plan));
    say!("{}", show::tolerance(&plan.before));
    show::plan(&plan);
    Ok(())
}

async fn look(reach: &Reach) -> Result<(), Problem> {
    let plan = planned(&Operators::new(reach)?, None).await?;
    if reach.json {
        say!("{}", json!(plan));
        return Ok(());
    }
    say!("{}", show::tolerance(&plan.before));
    match plan.unfinished {
        Some(_) => show::plan(&plan),
        None => say!("No change of the voters was left half-way."),
    }
    Ok(())
}

/// Plans a change, shows the plan, and makes it.
async fn make(how: &Make, change: Change) -> Result<(), Problem> {
    let operators = Operators::new(&how.reach)?;
    let plan = planned(&operators, Some(change.clone())).await?;
    let plan = catch_up::wait(&operators, plan, how.wait).await?;
    if !how.reach.json {
        show::plan(&plan);
    }
    if let Some(refusal) = &plan.refusal {
        return Err(refused(refusal));
    }
    if how.dry_run {
        return said(how, &plan, false, None);
    }
    let asked = Asked { change: Some(change), basis: Some(plan.basis) };
    let after: Option<Plan> = operators.ask("/cluster/change", &asked).await?;
    said(how, &plan, true, after)
}

fn refused(refusal: &Refusal) -> Problem {
    Problem::refused(refusal.code(), refusal)
}

/// What was planned, and what came of it.
fn said(how: &Make, plan: &Plan, done: bool, after: Option<Plan>) -> Result<(), Problem> {
    if how.reach.json {
        say!("{}", json!({ "plan": plan, "done": done, "cluster": after }));
    } else if done {
        say!("done");
        if let Some(after) = after {
            say!("{}", show::members(&after));
        }
    } else {
        say!("Nothing was done: this was --dry-run.");
    }
    Ok(())
}
