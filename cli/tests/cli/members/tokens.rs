//! A token for joining belongs to the node that gave it, whoever leads.

use holdfast_cli::cluster::{Cluster, Plan};

use super::{done, id};
use crate::support::{plan, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_outlives_a_change_of_the_leader_and_not_its_node() {
    let dir = tempfile::tempdir().expect("a folder");
    let Plan { mut flags, .. } = plan(dir.path(), 1);
    flags.push("--require-join-token".into());
    let mut cluster = Cluster::start(Plan { flags, ..plan(dir.path(), 1) }).await.expect("the cluster forms");
    let first = cluster.members[0].operator.to_string();
    let token = |cluster: &Cluster| done(cluster, 0, &["token"])["token"].as_str().expect("a token").to_string();
    let joining = |token: String| vec!["--join".into(), first.clone(), "--join-token".into(), token];
    let second = cluster.grow(joining(token(&cluster))).expect("starts");
    super::wait_for_voters(&cluster, 0, 2).await;
    cluster.wait_for("it is ready", |all| all[second].as_ref().is_some_and(|it| it.ready)).await.expect("ready");

    let given = token(&cluster);
    done(&cluster, 0, &["transfer", &id(&cluster, second).await.to_string()]);
    let third = cluster.grow(joining(given)).expect("starts");
    cluster.wait_for("it is let in", |all| all[third].as_ref().is_some_and(|it| it.ready)).await.expect("let in");

    let forgotten = token(&cluster);
    assert_eq!(cluster.stop(0).expect("stops"), Some(0));
    cluster.restart(0).expect("starts again");
    cluster.wait_for("it is back", |all| all[0].as_ref().is_some_and(|it| it.ready)).await.expect("back");
    let args = joining(forgotten);
    let data = dir.path().join("late").display().to_string();
    let free = "127.0.0.1:0";
    let mut serve = vec!["serve", "--data", &data, "--http", free, "--peer", free, "--operator", free];
    serve.extend(args.iter().map(String::as_str));
    let refused = crate::support::holdfast_beside(&serve).await;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("a token of this node") && said.contains("holdfast cluster token"), "{said}");
}
