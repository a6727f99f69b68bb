//! Members come, vote, hand over and go, as operators have it with `holdfast cluster`, on real processes.

mod bad_input;
mod places;
mod scaling;
mod tokens;
mod unfinished;

use holdfast_cli::cluster::Cluster;
use serde_json::Value;

use crate::support::{holdfast, text};

/// Runs `holdfast cluster … --json` against the node at `index`: its exit code and what it printed.
pub fn ask(cluster: &Cluster, index: usize, args: &[&str]) -> (i32, Value) {
    let operator = cluster.members[index].operator.to_string();
    let output = holdfast(&[&["cluster"], args, &["--json", "--operator", &operator]].concat());
    let said = text(&output.stdout);
    let json =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}{}", text(&output.stderr)));
    (output.status.code().unwrap_or(-1), json)
}

/// [`ask`], which must succeed.
pub fn done(cluster: &Cluster, index: usize, args: &[&str]) -> Value {
    let (code, json) = ask(cluster, index, args);
    assert_eq!(code, 0, "{args:?}: {json}");
    json
}

/// [`ask`], which must be refused by the cluster with this code.
pub fn refused(cluster: &Cluster, index: usize, args: &[&str], code: &str) {
    let (exit, json) = ask(cluster, index, args);
    assert_eq!((exit, json["error"]["code"].as_str()), (7, Some(code)), "{args:?}: {json}");
}

/// The id of the node at `index`.
pub async fn id(cluster: &Cluster, index: usize) -> u64 {
    cluster.status().await[index].as_ref().expect("it answers").node_id
}

/// How many members vote, as the leader says.
pub fn voters(cluster: &Cluster, index: usize) -> usize {
    done(cluster, index, &["status"])["before"]["voters"].as_array().expect("voters").len()
}

/// Waits until so many members vote and no change is left half-way.
pub async fn wait_for_voters(cluster: &Cluster, index: usize, count: usize) {
    let reached = |all: &[Option<holdfast_cli::operator::StatusView>]| {
        all[index].as_ref().is_some_and(|status| status.members.iter().filter(|member| member.voter).count() == count)
    };
    cluster.wait_for("so many vote", reached).await.expect("so many vote");
}
