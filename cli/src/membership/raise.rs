//! `holdfast cluster version` and `raise`: which versions the members know, and a newer one for all of them.

use clap::Args;
use comfy_table::{Table, presets};
use holdfast_ledger::version::Version;
use holdfast_raft::raise::RaisePlan;
use serde_json::json;

use super::ask::{Operators, Problem, Reach};
use super::refused;
use crate::operator::Raise;

#[derive(Debug, Args)]
pub struct VersionArgs {
    #[command(flatten)]
    pub reach: Reach,
}

#[derive(Debug, Args)]
pub struct RaiseArgs {
    /// Not as high as the leader's build knows, but to this version
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Only show whether it could be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub reach: Reach,
}

/// Shows the cluster's version and what the members know.
pub async fn version(args: &VersionArgs) -> Result<(), Problem> {
    let asked = Raise { to: None, dry_run: true };
    let plan: RaisePlan = Operators::new(&args.reach)?.look("/cluster/raise", &asked).await?;
    if args.reach.json {
        say!("{}", json!(plan));
        return Ok(());
    }
    say!("The cluster is at version {}.", plan.version);
    say!("{}", builds(&plan));
    match &plan.refusal {
        None => say!("It can be raised to {}: `holdfast cluster raise`", plan.to),
        Some(refusal) => say!("It is not to be raised now: {refusal}"),
    }
    Ok(())
}

/// Raises the version, unless a member cannot follow.
pub async fn raise(args: &RaiseArgs) -> Result<(), Problem> {
    let operators = Operators::new(&args.reach)?;
    let plan: RaisePlan = operators.look("/cluster/raise", &Raise { to: args.to, dry_run: true }).await?;
    if !args.reach.json {
        say!("{}", builds(&plan));
        say!("plan:    from version {} to {}; there is no way back", plan.version, plan.to);
    }
    if let Some(refusal) = &plan.refusal {
        return Err(refused(refusal));
    }
    let (plan, done) = match args.dry_run {
        true => (plan, false),
        false => (operators.ask("/cluster/raise", &Raise { to: Some(plan.to), dry_run: false }).await?, true),
    };
    match (args.reach.json, done) {
        (true, _) => say!("{}", json!({ "plan": plan, "done": done })),
        (false, true) => say!("done: the cluster is at version {}", plan.version),
        (false, false) => say!("Nothing was done: this was --dry-run."),
    }
    Ok(())
}

fn builds(plan: &RaisePlan) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["node", "live", "build", "knows"]);
    for member in &plan.members {
        let build = member.build.as_ref();
        table.add_row([
            member.node_id.to_string(),
            if member.live { "yes" } else { "NO" }.to_string(),
            build.map_or("–".to_string(), |build| build.name.clone()),
            build.map_or("–".to_string(), |build| build.versions.to_string()),
        ]);
    }
    table
}
