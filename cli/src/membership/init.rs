//! `holdfast cluster init` and `add`: nodes that wait are told what to do.

use std::time::{Duration, Instant};

use clap::Args;
use holdfast_raft::plan::{Plan, Refusal, Standing};
use holdfast_raft::types::Intent;
use serde_json::{Value, json};

use super::catch_up::Bar;
use super::{Operators, Problem, Reach, planned, refused, show, token};
use crate::operator::{Order, WaitingView};

const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const NOTHING: Option<&Value> = None;
/// A learner that is at most this many entries behind has caught up, as the leader sees it by default.
const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// How nodes are welcomed.
#[derive(Debug, Args)]
struct Welcoming {
    /// How long it may take until they are members and have caught up, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: u64,
    /// Only look whether it can be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    #[command(flatten)]
    how: Welcoming,
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// Operator address of the node that waits
    #[arg(value_name = "ADDR")]
    node: String,
    /// It stays a learner: it serves stale reads and never votes
    #[arg(long, conflicts_with = "in_place_of")]
    learner: bool,
    /// It takes this member's place once it has caught up and that member is away
    #[arg(long, value_name = "NODE")]
    in_place_of: Option<u64>,
    #[command(flatten)]
    how: Welcoming,
    #[command(flatten)]
    pub reach: Reach,
}

/// Begins a cluster on the first of the addresses; the others join it. All of them must wait.
pub async fn init(args: &InitArgs) -> Result<(), Problem> {
    let operators = Operators::new(&args.reach)?;
    for address in &operators.addresses {
        waiting(&operators, address).await?;
    }
    let (first, others) = operators.addresses.split_first().expect("clap gives at least the default");
    if args.how.dry_run {
        return report(args.reach.json, None, "Nothing was done: this was --dry-run. All of them wait.");
    }
    order(&operators, first, &Order::Init).await?;
    let deadline = Instant::now() + Duration::from_secs(args.how.wait);
    let mut plan = until(&operators, deadline, "the first node leads", |plan| !plan.members.is_empty()).await?;
    for address in others {
        let (join, token) = token::fetch(&operators).await?;
        let welcome = Order::Welcome { join: vec![join], intent: Intent::Voter, token: Some(token.token) };
        order(&operators, address, &welcome).await?;
    }
    let nodes = operators.addresses.len();
    let all_live = |plan: &Plan| plan.members.iter().filter(|member| member.live).count() >= nodes;
    plan = match others.is_empty() {
        true => plan,
        false => until(&operators, deadline, "all nodes are members", all_live).await?,
    };
    report(args.reach.json, Some(&plan), "The cluster is there. Learners become voters as they catch up.")
}

/// Makes a node that waits a member, and waits until it has caught up.
pub async fn add(args: &AddArgs) -> Result<(), Problem> {
    let operators = Operators::new(&args.reach)?;
    let newcomer = waiting(&operators, &args.node).await?;
    let plan = planned(&operators, None).await?;
    let intent = match args.in_place_of {
        Some(node_id) if !plan.before.members.contains(&node_id) => {
            return Err(refused(&Refusal::NotAMember { node_id }));
        }
        Some(node_id) => Intent::InPlaceOf(node_id),
        None if args.learner => Intent::Learner,
        None => Intent::Voter,
    };
    let same = plan.members.iter().find(|member| {
        member.peer_addr == newcomer.peer_addr
            && member.instance != newcomer.instance
            && args.in_place_of != Some(member.node_id)
    });
    if let Some(member) = same {
        return Err(Problem::refused(
            "address_in_use",
            format!(
                "node {0} is at {1}: if that one is gone for good, say --in-place-of {0}",
                member.node_id, member.peer_addr
            ),
        ));
    }
    if args.how.dry_run {
        return report(args.reach.json, Some(&plan), "Nothing was done: this was --dry-run. The node can be added.");
    }
    let (join, token) = token::fetch(&operators).await?;
    order(&operators, &args.node, &Order::Welcome { join: vec![join], intent, token: Some(token.token) }).await?;
    let plan = caught_up(&operators, &newcomer, args.how.wait).await?;
    report(args.reach.json, Some(&plan), "The node is a member and has caught up.")
}

/// Waits until the member with that folder answers the leader and is hardly behind.
async fn caught_up(operators: &Operators, newcomer: &WaitingView, wait_s: u64) -> Result<Plan, Problem> {
    let mut bar = Bar::new("catching up");
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    let is_there = |member: &Standing| {
        member.instance == newcomer.instance
            && member.live
            && (member.voter || member.lag_entries.is_some_and(|lag| lag <= CAUGHT_UP_ENTRIES))
    };
    let plan = until(operators, deadline, "the node has caught up", |plan| {
        let newcomer = plan.members.iter().find(|member| member.instance == newcomer.instance);
        newcomer.and_then(|member| member.lag_entries).into_iter().for_each(|lag| bar.behind(lag));
        plan.members.iter().any(is_there)
    })
    .await;
    bar.end();
    plan
}

/// Asks a node whether it waits.
async fn waiting(operators: &Operators, address: &str) -> Result<WaitingView, Problem> {
    let asked = operators.ask_at(address, "/cluster/waiting", NOTHING).await;
    asked.map_err(|problem: Problem| match problem.code.as_str() {
        "unreachable" if !problem.failure.message.contains("no answer") => Problem::refused(
            "not_waiting",
            format!("--operator {address}: this node belongs to a cluster already: `holdfast cluster status`"),
        ),
        _ => problem,
    })
}

async fn order(operators: &Operators, address: &str, order: &Order) -> Result<(), Problem> {
    operators.ask_at::<Value>(address, "/cluster/order", Some(order)).await.map(|_| ())
}

/// Looks at the members until they are as they should be. A node that has just been told is away for a moment.
async fn until(
    operators: &Operators,
    deadline: Instant,
    what: &str,
    mut reached: impl FnMut(&Plan) -> bool,
) -> Result<Plan, Problem> {
    loop {
        let looked = planned(operators, None).await;
        match looked {
            Ok(plan) if reached(&plan) => return Ok(plan),
            _ if Instant::now() < deadline => tokio::time::sleep(LOOK_INTERVAL).await,
            Ok(_) => {
                let message =
                    format!("waited until {what}, in vain; see `holdfast cluster status` and the nodes' logs");
                return Err(Problem::new(crate::failure::Exit::Unknown, "timed_out", message));
            }
            Err(problem) => return Err(problem),
        }
    }
}

fn report(json: bool, plan: Option<&Plan>, sentence: &str) -> Result<(), Problem> {
    if json {
        say!("{}", json!({ "done": plan.is_some(), "cluster": plan, "message": sentence }));
        return Ok(());
    }
    if let Some(plan) = plan {
        say!("{}", show::members(plan));
    }
    say!("{sentence}");
    Ok(())
}
