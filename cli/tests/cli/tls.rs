//! Certificates between nodes: who is let in, who is not, and what happens when they are replaced.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_cli::cluster::{Cluster, Plan};
use holdfast_cli::operator::{AuditPage, StatusView};
use holdfast_cli::tls;
use holdfast_ledger::entities::{AuditActor, AuditSubject};
use holdfast_raft::transport::tls::{Tls, TlsFiles};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::support::{Load, WAIT, holdfast, plan, program, text};

/// A folder with an authority, a certificate for its nodes and one for an operator.
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    pub fn new(dir: &Path) -> Authority {
        let authority = Authority { dir: dir.join("authority") };
        authority.certs(&["init"]);
        authority.certs(&["issue", "--any-node", "--out", &authority.path("node.pem")]);
        authority.certs(&["issue", "--operator", "--out", &authority.path("operator.pem")]);
        authority
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("a path of text").to_string()
    }

    fn certs(&self, args: &[&str]) {
        let (command, rest) = args.split_first().expect("a command");
        let dir = self.dir.to_str().expect("a path of text");
        let said = holdfast(&[&["certs", command, "--authority", dir], rest].concat());
        assert!(said.status.success(), "{args:?}: {}", text(&said.stderr));
    }

    pub fn flags(&self, name: &str) -> Vec<String> {
        let key = format!("{}-key.pem", name.trim_end_matches(".pem"));
        ["--tls-cert", &self.path(name), "--tls-key", &self.path(&key), "--tls-ca", &self.path("ca.pem")]
            .map(str::to_string)
            .to_vec()
    }

    fn operator(&self) -> Tls {
        let (cert, key, ca) = ("operator.pem", "operator-key.pem", "ca.pem");
        let files = TlsFiles { cert: self.dir.join(cert), key: self.dir.join(key), ca: self.dir.join(ca) };
        tls::load(files).expect("the operator's certificate")
    }

    async fn cluster(&self, dir: &Path, nodes: usize) -> Cluster {
        let mut plan: Plan = plan(dir, nodes);
        plan.flags.extend(self.flags("node.pem"));
        let operators = tls::client(Some(&self.operator()), Duration::from_secs(2)).expect("a client");
        Cluster::start_as(plan, operators).await.expect("the cluster forms")
    }
}

/// Starts a node that is expected not to get in, for as long as it takes to say why.
fn refused_node(data: &Path, join: &str, tls: &[String]) -> String {
    let mut child = std::process::Command::new(program())
        .args(["serve", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--operator", "127.0.0.1:0"])
        .args(["--stop-with-stdin", "--join", join, "--data"])
        .arg(data)
        .args(tls)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().expect("its state").is_none_or(|status| !status.success()), "it was let in");
    drop(child.stdin.take());
    text(&child.wait_with_output().expect("its words").stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_under_load_without_an_error() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(dir.path());
    let mut cluster = authority.cluster(dir.path(), 3).await;
    let load = Load::start(&cluster, 3, 500).await;
    load.wait_for(3).await;
    let before = ends(&cluster, &authority, 0).await;
    authority.certs(&["rotate", "--cert", &authority.path("node.pem"), "--days", "180"]);
    let started = Instant::now();
    while ends(&cluster, &authority, 0).await <= before {
        assert!(started.elapsed() < WAIT, "the node reads the new certificate");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    load.wait_for(3).await;
    // New connections, by the new certificate.
    let follower = (cluster.wait_for_leader().await.expect("a leader") + 1) % 3;
    cluster.kill(follower);
    cluster.restart(follower).expect("it starts");
    cluster.wait_for_voters().await.expect("it votes again");
    load.wait_for(3).await;
    load.end(&cluster).await;
}

/// Until when a node's certificate is good, as its metrics say.
async fn ends(cluster: &Cluster, authority: &Authority, index: usize) -> f64 {
    let client = tls::client(Some(&authority.operator()), Duration::from_secs(5)).expect("a client");
    let url = format!("{}://{}/metrics", client.scheme, cluster.members[index].operator);
    let shown = client.http.get(url).send().await.expect("an answer").text().await.expect("text");
    let line = shown.lines().find(|line| line.starts_with("holdfast_tls_certificate_not_after_seconds "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("the metric")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_certificate_of_this_cluster_is_not_let_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(&dir.path().join("ours"));
    let other = Authority::new(&dir.path().join("others"));
    let cluster = authority.cluster(dir.path(), 1).await;
    let operator = cluster.members[0].operator.to_string();

    // Somebody without TLS, and somebody of another cluster.
    let plain = holdfast(&["keys", "list", "--operator", &operator]);
    assert_eq!(plain.status.code(), Some(4), "{}", text(&plain.stderr));
    let with = |flags: &[String]| {
        let mut args: Vec<&str> = vec!["keys", "list", "--operator", &operator];
        args.extend(flags.iter().map(String::as_str));
        holdfast(&args)
    };
    assert_eq!(with(&other.flags("operator.pem")).status.code(), Some(4));
    // Another authority is trusted, but the cluster is not ours: what counts is the cluster in the certificate.
    let both = dir.path().join("both.pem");
    let pem = |authority: &Authority| std::fs::read_to_string(authority.path("ca.pem")).expect("readable");
    std::fs::write(&both, format!("{}{}", pem(&authority), pem(&other))).expect("written");
    let mut trusting = other.flags("operator.pem");
    trusting[5] = both.to_str().expect("text").to_string();
    assert_eq!(with(&trusting).status.code(), Some(4));
    // An end in the past.
    authority.certs(&["issue", "--operator", "--out", &authority.path("old.pem"), "--days", "0"]);
    assert_eq!(with(&authority.flags("old.pem")).status.code(), Some(4));
    // A node may look and not touch.
    assert_eq!(with(&authority.flags("node.pem")).status.code(), Some(0));
    let mut rotate: Vec<String> = ["keys", "rotate", "--operator", &operator].map(str::to_string).to_vec();
    rotate.extend(authority.flags("node.pem"));
    let said = holdfast(&rotate.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        said.status.code() == Some(1) && text(&said.stderr).contains("operator's certificate"),
        "{}",
        text(&said.stderr)
    );
    let said = with(&authority.flags("operator.pem"));
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));

    for (name, flags) in [("plain", Vec::new()), ("other", other.flags("node.pem"))] {
        refused_node(&dir.path().join(name), &operator, &flags);
        let members = cluster.status().await.remove(0).expect("it answers").members.len();
        assert_eq!(members, 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_nodes_certificate_does_not_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(dir.path());
    let mut cluster = authority.cluster(dir.path(), 1).await;
    cluster.stop(0).expect("it stops");
    let data = cluster.members[0].data.to_str().expect("text").to_string();
    authority.certs(&["issue", "--node", "7", "--out", &authority.path("seven.pem")]);
    authority.certs(&["issue", "--data", &data, "--out", &authority.path("own.pem")]);
    let free = "127.0.0.1:0";
    let start = |flags: &[String]| {
        let mut args =
            vec!["serve", "--data", &data, "--http", free, "--peer", free, "--operator", free, "--stop-with-stdin"];
        args.extend(flags.iter().map(String::as_str));
        holdfast(&args)
    };
    let said = start(&authority.flags("seven.pem"));
    assert!(said.status.code() == Some(2) && text(&said.stderr).contains("is node 1"), "{}", text(&said.stderr));
    let other = Authority::new(&dir.path().join("others"));
    let said = start(&other.flags("node.pem"));
    assert!(
        said.status.code() == Some(2) && text(&said.stderr).contains("belongs to cluster"),
        "{}",
        text(&said.stderr)
    );
    let said = start(&authority.flags("own.pem"));
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    let said = start(&authority.flags("own.pem")[..4]);
    assert!(said.status.code() == Some(2) && text(&said.stderr).contains("all three"), "{}", text(&said.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_lets_one_node_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut plan = plan(dir.path(), 1);
    plan.flags.push("--require-join-token".into());
    let cluster = Cluster::start(plan).await.expect("the cluster forms");
    let operator = cluster.members[0].operator.to_string();
    let members = async || cluster.status().await.remove(0).expect("it answers").members.len();
    let said = refused_node(&dir.path().join("without"), &operator, &[]);
    assert!(said.contains("a token") && said.contains("holdfast cluster token"), "{said}");
    assert_eq!(members().await, 1);

    let given = holdfast(&["cluster", "token", "--json", "--operator", &operator]);
    assert_eq!(given.status.code(), Some(0), "{}", text(&given.stderr));
    let given: serde_json::Value = serde_json::from_slice(&given.stdout).expect("JSON");
    let token = given["token"].as_str().expect("a token").to_string();
    let mut first = std::process::Command::new(program())
        .args(["serve", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--operator", "127.0.0.1:0"])
        .args(["--stop-with-stdin", "--join", &operator, "--join-token", &token, "--data"])
        .arg(dir.path().join("first"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let started = Instant::now();
    while members().await < 2 {
        assert!(started.elapsed() < WAIT, "it is let in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = refused_node(&dir.path().join("second"), &operator, &["--join-token".to_string(), token]);
    assert!(said.contains("a token"), "{said}");
    assert_eq!(members().await, 2);
    drop(first.stdin.take());
    first.wait().expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_the_members_is_in_the_audit_with_the_certificate_that_was_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(dir.path());
    let mut cluster = authority.cluster(dir.path(), 3).await;
    cluster.wait_for_voters().await.expect("three voters");
    let operators = cluster.members.iter().map(|member| member.operator.to_string()).collect::<Vec<_>>().join(",");
    let run = |args: &[&str]| {
        let mut all: Vec<&str> = [args, &["--json", "--operator", &operators]].concat();
        let flags = authority.flags("operator.pem");
        all.extend(flags.iter().map(String::as_str));
        holdfast(&all)
    };
    let done = |args: &[&str]| {
        let said = run(args);
        assert!(said.status.success(), "{args:?}: {}{}", text(&said.stdout), text(&said.stderr));
    };
    // As each says of itself: they join in no order.
    let all = cluster.status().await;
    let ids: Vec<String> = all.iter().flatten().map(|status| status.node_id.to_string()).collect();
    assert_eq!(ids.len(), 3);
    done(&["cluster", "token"]);
    done(&["cluster", "transfer", &ids[1]]);
    done(&["cluster", "demote", &ids[2]]);
    done(&["cluster", "promote", &ids[2], "--wait", "30"]);
    done(&["cluster", "remove", &ids[2]]);
    // Both that are left are exchanged for a build that knows more, and the version is raised.
    for node in 0..2 {
        assert_eq!(cluster.stop(node).expect("stops"), Some(0));
        cluster.members[node].env = vec![("HOLDFAST_NEXT_VERSION", "1".into())];
        cluster.restart(node).expect("starts");
        let are_ready =
            |all: &[Option<StatusView>]| all[..2].iter().flatten().filter(|status| status.ready).count() == 2;
        cluster.wait_for("both are ready", are_ready).await.expect("they come back");
    }
    done(&["cluster", "raise"]);
    let client = tls::client(Some(&authority.operator()), Duration::from_secs(5)).expect("a client");
    let at_first = |path: &str| format!("{}://{}/{path}", client.scheme, cluster.members[0].operator);
    let policy = client.http.put(at_first("cluster/policy")).json(&serde_json::json!({ "locks_per_user_max": 9 }));
    assert_eq!(policy.send().await.expect("an answer").status(), 200);
    let key = dir.path().join("payments-key").display().to_string();
    let operator = cluster.members[0].operator.to_string();
    let flags = authority.flags("operator.pem");
    let known = ["keys", "service", "payments", "--key", &key, "--operator", &operator];
    let said = holdfast(&known.into_iter().chain(flags.iter().map(String::as_str)).collect::<Vec<_>>());
    assert!(said.status.success(), "{}{}", text(&said.stdout), text(&said.stderr));
    let verified = run(&["audit", "verify"]);
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));

    let url = format!("{}://{}/audit", client.scheme, cluster.members[1].operator);
    let page = client.http.post(url).json(&serde_json::json!({})).send().await.expect("an answer");
    let page: AuditPage = page.json().await.expect("a page");
    let chain = CertificateDer::pem_file_iter(authority.path("operator.pem")).expect("readable");
    let shown: Vec<CertificateDer> = chain.map(|certificate| certificate.expect("a certificate")).collect();
    let by_operator = AuditActor::Certificate(Sha256::digest(&shown[0]).into());
    let told: Vec<(&str, String)> = page
        .rows
        .iter()
        .rev()
        .filter(|(_, row)| row.actor == by_operator)
        .map(|(_, row)| match row.subject {
            AuditSubject::Node(node) => (row.action.name(), node.to_string()),
            _ => (row.action.name(), String::new()),
        })
        .collect();
    let (second, third) = (ids[1].clone(), ids[2].clone());
    let expected = [
        ("give_join_token", String::new()),
        ("transfer_leader:asked", second.clone()),
        ("transfer_leader", second),
        ("demote_member:asked", third.clone()),
        ("demote_member", third.clone()),
        ("promote_member:asked", third.clone()),
        ("promote_member", third.clone()),
        ("remove_member:asked", third.clone()),
        ("remove_member", third),
        ("raise_version", String::new()),
        ("set_policy:asked", String::new()),
        ("register_service_key:asked", String::new()),
    ];
    assert_eq!(told, expected);
    // Nodes join by certificates of their own.
    let joined = page.rows.iter().filter(|(_, row)| row.action.name() == "add_member");
    assert!(joined.clone().count() == 2 && joined.clone().all(|(_, row)| row.actor != by_operator));
}
