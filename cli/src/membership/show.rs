//! The members and a plan, for people.

use std::collections::BTreeSet;

use comfy_table::{Table, presets};
use holdfast_raft::plan::{Change, Plan, Side};
use holdfast_raft::types::Intent;

/// The members and how they stand.
pub fn members(plan: &Plan) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["node", "role", "live", "behind", "peers", "clients", "build"]);
    for member in &plan.members {
        let role = match (member.voter, member.intent) {
            (true, _) if member.leads => "leader".to_string(),
            (true, _) => "voter".to_string(),
            (false, Intent::Voter) => "learner".to_string(),
            (false, Intent::Learner) => "learner, stays one".to_string(),
            (false, Intent::InPlaceOf(node_id)) => format!("learner, in place of {node_id}"),
        };
        table.add_row([
            member.node_id.to_string(),
            role,
            if member.live { "yes" } else { "NO" }.to_string(),
            member.lag_entries.map_or("–".to_string(), |lag| lag.to_string()),
            member.peer_addr.clone(),
            member.http_addr.clone(),
            member.build.as_ref().map_or("–".to_string(), |build| format!("{}, {}", build.name, build.versions)),
        ]);
    }
    table
}

/// What the cluster works by.
pub fn version(plan: &Plan) -> String {
    format!("cluster version {}", plan.version)
}

/// How many may fail.
pub fn tolerance(side: &Side) -> String {
    let voters = side.voters.len();
    format!(
        "{voters} {}, of which {} may fail; of those live now, {}",
        if voters == 1 { "voter" } else { "voters" },
        side.faults_tolerated,
        side.faults_tolerated_now
    )
}

/// What a plan would do.
pub fn plan(plan: &Plan) {
    if let Some((from, to)) = &plan.unfinished {
        say!("left half-way: voters {} are to become {}", ids(from), ids(to));
        say!("    go on with `holdfast cluster plan --resume`, or back with `--undo`");
    }
    let Some(change) = &plan.change else { return };
    say!("plan:    {}", sentence(change));
    if let Some(to) = plan.hand_over_to {
        say!("first:   node {to} takes leadership over");
    }
    for (name, side) in [("before", &plan.before), ("after", &plan.after)] {
        say!("{:8} members {}, voters {}", format!("{name}:"), ids(&side.members), ids(&side.voters));
        say!("         {}", tolerance(side));
        if plan.refusal.is_some() {
            break;
        }
    }
}

/// What a change is, in words.
pub fn sentence(change: &Change) -> String {
    match change {
        Change::Promote { node_id } => format!("node {node_id} becomes a voter"),
        Change::Demote { node_id } => format!("node {node_id} becomes a learner"),
        Change::Replace { node_id, by } => format!("node {by} takes the place of node {node_id}"),
        Change::Remove { node_id } => format!("node {node_id} leaves the cluster"),
        Change::Transfer { to } => format!("node {to} takes leadership over"),
        Change::Resume => "the change that was left half-way goes on to its end".into(),
        Change::Undo => "the change that was left half-way is taken back".into(),
    }
}

fn ids(ids: &BTreeSet<u64>) -> String {
    let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
    format!("{{{}}}", ids.join(", "))
}
