//! What a node shows of itself: every metric has its line, every line its metric, and the answers say why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_cli::client::Client;
use holdfast_cli::cluster::Cluster;
use holdfast_cli::observe::catalogue::{self, CATALOGUE, Kind, Of};
use holdfast_cli::profile::Profile;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Load, PATIENCE, cluster, holdfast_beside, plan, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn files(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, extensions, found);
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
            found.push(path);
        }
    }
}

/// The names in `text` that begin as all of ours do.
fn names(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("holdfast_") {
        if text[..at].bytes().next_back().is_some_and(|before| before.is_ascii_alphanumeric() || before == b'_') {
            continue;
        }
        let name: String =
            text[at..].chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect();
        found.insert(name);
    }
    found
}

/// What is written with `counter!`, `gauge!` and `histogram!`, and by which of them.
fn measured(text: &str) -> BTreeMap<String, Kind> {
    let mut found = BTreeMap::new();
    for (word, kind) in [("counter!(", Kind::Counter), ("gauge!(", Kind::Gauge), ("histogram!(", Kind::Histogram)] {
        for (at, _) in text.match_indices(word) {
            let after = text[at + word.len()..].trim_start();
            if let Some(name) = after.strip_prefix('"').and_then(|rest| rest.split('"').next()) {
                found.insert(name.to_string(), kind);
            }
        }
    }
    found
}

#[test]
fn every_metric_stands_in_the_catalogue_and_is_measured_somewhere() {
    let mut sources = Vec::new();
    for folder in ["raft/src", "events/src", "api/src", "services/src", "cli/src"] {
        files(&root().join(folder), &["rs"], &mut sources);
    }
    let mut written = BTreeMap::new();
    for source in sources {
        written.extend(measured(&fs::read_to_string(&source).expect("readable source")));
    }
    let listed: BTreeMap<String, Kind> =
        CATALOGUE.iter().map(|metric| (metric.name.to_string(), metric.kind)).collect();
    assert_eq!(listed.len(), CATALOGUE.len(), "no metric stands there twice");
    assert_eq!(written, listed);
}

#[test]
fn the_metrics_page_is_made_from_the_catalogue() {
    let path = root().join("docs/METRICS.md");
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        fs::write(&path, catalogue::document()).expect("docs/METRICS.md");
    }
    let page = fs::read_to_string(&path).expect("docs/METRICS.md");
    assert_eq!(page, catalogue::document(), "write it anew with UPDATE_GOLDENFILES=1");
}

#[test]
fn alerts_and_dashboard_name_metrics_that_exist() {
    let mut known = BTreeSet::new();
    for metric in CATALOGUE {
        known.insert(metric.name.to_string());
        if metric.kind == Kind::Histogram {
            known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name)));
        }
    }
    let mut shown = Vec::new();
    files(&root().join("deploy/prometheus"), &["yaml"], &mut shown);
    files(&root().join("deploy/grafana"), &["json"], &mut shown);
    assert!(shown.len() >= 2, "{shown:?}");
    for file in shown {
        let named = names(&fs::read_to_string(&file).expect("readable"));
        assert!(!named.is_empty(), "{} names no metric", file.display());
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_under_load_shows_every_metric_of_its_catalogue() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = cluster(dir.path(), 3).await;
    cluster.wait_for_voters().await.expect("three voters");
    let load = Load::start(&cluster, 2, 20).await;
    load.wait_for(3).await;
    load.end(&cluster).await;
    let leader = cluster.wait_for_leader().await.expect("a leader");
    // An address that is taken is a refusal of the ledger.
    let client = Client::new(&[format!("http://{}", cluster.members[leader].http)], PATIENCE).expect("a client");
    client.account("buyer-0@test.example", "password", 0).await.expect("he signs in instead");
    let get = |path: &'static str| {
        let url = format!("http://{}{path}", cluster.members[leader].operator);
        async move { reqwest::get(url).await.expect("an answer") }
    };
    // These begin with what did not happen here.
    let not_yet = ["holdfast_proposals_failed_total", "holdfast_tls_reloads_total", "holdfast_consumer_waiting"];
    let wanted = || CATALOGUE.iter().filter(|metric| metric.of == Of::Node && !not_yet.contains(&metric.name));
    let began = Instant::now();
    let shown = loop {
        let shown = get("/metrics").await.text().await.expect("text");
        // Some are measured now and then: the time to a peer and back with the clocks.
        if wanted().all(|metric| shown.contains(metric.name)) || began.elapsed() > PATIENCE {
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for metric in wanted() {
        let line = shown.lines().find(|line| line.starts_with(metric.name));
        let line = line.unwrap_or_else(|| panic!("{} is not shown", metric.name));
        for label in metric.labels {
            assert!(line.contains(&format!("{label}=\"")), "{line} has no {label}");
        }
    }
    let value = |name: &str| -> f64 {
        let line = shown.lines().find(|line| line.starts_with(&format!("{name} "))).expect("the metric");
        line.rsplit(' ').next().expect("a number").parse().expect("a number")
    };
    assert_eq!((value("holdfast_is_leader"), value("holdfast_voters"), value("holdfast_fault")), (1.0, 3.0, 0.0));
    assert!(value("holdfast_tickets") == 20.0 && value("holdfast_orders_complete") >= 3.0);
    assert!(value("holdfast_log_sync_seconds_count") > 0.0 && value("holdfast_applied_index") > 20.0);

    assert_eq!(get("/livez").await.status(), 200);
    let ready: Value = get("/readyz?verbose").await.json().await.expect("JSON");
    assert_eq!(ready["status"], "ready");
    let checks = ready["checks"].as_array().expect("checks");
    assert!(checks.len() == 5 && checks.iter().all(|check| check["ok"] == true), "{ready}");
    let brief: Value = get("/readyz").await.json().await.expect("JSON");
    assert_eq!(brief, serde_json::json!({ "status": "ready" }));
    let version: Value = get("/version").await.json().await.expect("JSON");
    assert_eq!(version["name"], "holdfast");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_quorum_is_alive_and_says_what_it_lacks() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    cluster.wait_for_voters().await.expect("three voters");
    cluster.kill(1);
    cluster.kill(2);
    let operator = cluster.members[0].operator;
    let started = std::time::Instant::now();
    let lacks = loop {
        let answer = reqwest::get(format!("http://{operator}/readyz?verbose")).await.expect("an answer");
        if answer.status() == 503 {
            break answer.json::<Value>().await.expect("JSON");
        }
        assert!(started.elapsed() < crate::support::WAIT, "it stays ready");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let failed: Vec<_> =
        lacks["checks"].as_array().expect("checks").iter().filter(|check| check["ok"] == false).collect();
    assert_eq!(failed.len(), 1, "{lacks}");
    assert_eq!(failed[0]["name"], "leader");
    let alive = reqwest::get(format!("http://{operator}/livez")).await.expect("an answer");
    assert_eq!(alive.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_can_be_json() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut plan = plan(dir.path(), 1);
    plan.flags.extend(["--log-format", "json"].map(str::to_string));
    let mut cluster = Cluster::start(plan).await.expect("the cluster forms");
    cluster.operator_token().await.expect("it serves");
    assert_eq!(cluster.stop(0).expect("it stops"), Some(0));
    let log = fs::read_to_string(&cluster.members[0].log).expect("the log");
    // What is said to people goes to standard output.
    let is_said = |line: &&str| line.starts_with("ready: ") || line.starts_with("first operator: ");
    let lines: Vec<&str> = log.lines().filter(|line| !is_said(line)).collect();
    assert!(!lines.is_empty(), "it says at least that it stops");
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(line["level"].is_string() && line["message"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_node_is_profiled_one_at_a_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = cluster(dir.path(), 1).await;
    let load = Load::start(&cluster, 4, 2_000).await;
    load.wait_for(3).await;
    let operator = cluster.members[0].operator.to_string();
    let out = dir.path().join("profile.pb");
    let path = out.to_str().expect("a path of text").to_string();
    let profiled = tokio::spawn({
        let operator = operator.clone();
        async move { holdfast_beside(&["profile", "--operator", &operator, "--seconds", "5", "--out", &path]).await }
    });
    // Another one is refused for as long as the first is taken.
    let url = format!("http://{operator}/debug/profile?seconds=1");
    let began = Instant::now();
    loop {
        let second = reqwest::get(&url).await.expect("an answer");
        match second.status().as_u16() {
            409 => break,
            200 => assert!(began.elapsed() < PATIENCE, "two were taken at once"),
            status => panic!("{status}: {}", second.text().await.unwrap_or_default()),
        }
        if profiled.is_finished() {
            break;
        }
    }
    let said = profiled.await.expect("no panic");
    // Ours may have been there first, and then the command is the one that is refused.
    let said = match said.status.code() {
        Some(0) => said,
        _ => {
            assert!(text(&said.stderr).contains("already"), "{}", text(&said.stderr));
            holdfast_beside(&[
                "profile",
                "--operator",
                &operator,
                "--seconds",
                "5",
                "--out",
                out.to_str().expect("text"),
            ])
            .await
        }
    };
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert!(text(&said.stdout).contains("function"), "{}", text(&said.stdout));
    let profile = Profile::decode(&fs::read(&out).expect("the profile")[..]).expect("pprof's format");
    assert!(profile.sample.len() > 5 && profile.duration_nanos > 1_000_000_000, "{} samples", profile.sample.len());
    let functions = profile.functions();
    assert!(functions.iter().any(|(name, _, _)| name.contains("holdfast")), "{functions:?}");
    assert!(!functions.iter().any(|(name, own, _)| name.contains("backtrace::") && *own > 0), "{functions:?}");
    for bad in ["seconds=0", "seconds=61", "seconds=x", "minutes=1"] {
        let refused = reqwest::get(format!("http://{operator}/debug/profile?{bad}")).await.expect("an answer");
        assert_eq!(refused.status(), 400, "{bad}");
    }
    load.end(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_took_long_is_told_with_the_time_of_each_stage() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut plan = plan(dir.path(), 3);
    plan.flags.extend(["--log-format", "json"].map(str::to_string));
    let cluster = Cluster::start(plan).await.expect("the cluster forms");
    cluster.wait_for_voters().await.expect("three voters");
    let began = Instant::now();
    let slow: Value = loop {
        let leader = cluster.wait_for_leader().await.expect("a leader");
        let client = Client::new(&[cluster.urls()[leader].clone()], PATIENCE).expect("a client");
        let others: Vec<Pid> = (0..3).filter(|node| *node != leader).map(|node| pid(&cluster, node)).collect();
        // For less than the leader goes on leading without them, and for longer than a slow operation may take.
        others.iter().for_each(|pid| kill_process(*pid, Signal::STOP).expect("it runs"));
        let email = format!("slow-{}@test.example", began.elapsed().as_millis());
        let asked = client.account(&email, "password", 0);
        let goes_on = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            others.iter().for_each(|pid| kill_process(*pid, Signal::CONT).expect("it runs"));
        };
        tokio::join!(asked, goes_on).0.expect("an account");
        let log = fs::read_to_string(&cluster.members[leader].log).expect("the log");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut slow = lines.filter(|line| line["message"] == "a slow operation");
        // Where the others have elected another leader meanwhile, nothing was slow here.
        match slow.find(|line| line["commit_ms"].as_u64() >= Some(300)) {
            Some(line) => break line,
            None => assert!(began.elapsed() < PATIENCE, "{log}"),
        }
    };
    let of = |name: &str| slow[name].as_u64().unwrap_or_else(|| panic!("{slow} has no {name}"));
    let stages = ["queue_ms", "append_ms", "sync_ms", "commit_ms", "apply_ms"].map(of);
    assert!(slow["level"] == "WARN" && of("total_ms") >= 500 && of("index") > 0, "{slow}");
    assert!(stages.iter().sum::<u64>() <= of("total_ms") + stages.len() as u64, "{slow}");
}

fn pid(cluster: &Cluster, node: usize) -> Pid {
    let pid = cluster.members[node].pid().expect("it runs");
    Pid::from_raw(pid as i32).expect("a pid")
}
