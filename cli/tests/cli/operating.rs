//! The operators' manual: its commands are run, and the tests that its table names are there.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{cluster, holdfast, program, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn manual() -> String {
    fs::read_to_string(root().join("docs/OPERATING.md")).expect("docs/OPERATING.md")
}

/// The commands of all blocks, in order, each announced by its section's name.
fn script(manual: &str) -> String {
    let (mut script, mut inside) = (String::new(), false);
    for line in manual.lines() {
        match (inside, line) {
            (false, "```sh") => inside = true,
            (true, "```") => inside = false,
            (true, command) => script += &format!("{command}\n"),
            (false, line) if line.starts_with("## ") => script += &format!("echo '{}' >&2\n", line.replace('\'', "")),
            _ => {}
        }
    }
    script
}

/// The same, with a free port for each that the manual names.
fn with_free_ports(script: &str) -> String {
    let mut ports: BTreeMap<&str, TcpListener> = BTreeMap::new();
    for (at, _) in script.match_indices("127.0.0.1:") {
        let port = &script[at + 10..at + 14];
        ports.entry(port).or_insert_with(|| TcpListener::bind("127.0.0.1:0").expect("a port"));
    }
    // In two steps, as a free port may begin with the digits of one that the manual names.
    let marked = ports.keys().fold(script.to_string(), |script, port| {
        let script = script.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:<{port}>"));
        script.replace(&format!("endswith(\":{port}\")"), &format!("endswith(\":<{port}>\")"))
    });
    ports.iter().fold(marked, |script, (port, listener)| {
        let free = listener.local_addr().expect("an address").port().to_string();
        script.replace(&format!("<{port}>"), &free)
    })
}

#[test]
fn the_operators_manual_works() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = with_free_ports(&script(&manual()));
    assert!(script.lines().filter(|line| line.starts_with("holdfast ")).count() > 20, "{script}");
    let bin = program().parent().expect("a folder").to_path_buf();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let said = fs::File::create(dir.path().join("said")).expect("a file");
    // Whatever was started in the background ends with the script.
    let whole = format!("set -euo pipefail\ntrap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    let status = Command::new("timeout")
        .args(["180", "bash", "-c", &whole])
        .current_dir(dir.path())
        .env("PATH", path)
        .envs([("HOLDFAST_PASSWORD_MEMORY_KIB", "8"), ("HOLDFAST_PASSWORD_PASSES", "1")])
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("a handle"))
        .stderr(said)
        .status()
        .expect("bash");
    let said = fs::read(dir.path().join("said")).expect("what it said");
    assert!(status.success(), "{status}: {}", text(&said));
}

#[test]
fn every_test_that_the_manual_names_is_there() {
    fn sources(folder: &Path, found: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => sources(&path, found),
                path if path.extension().is_some_and(|it| it == "rs") => {
                    *found += &fs::read_to_string(path).expect("a source");
                }
                _ => {}
            }
        }
    }
    let mut code = String::new();
    ["cli/tests", "cli/src", "raft/src", "raft/tests"]
        .iter()
        .for_each(|folder| sources(&root().join(folder), &mut code));
    let manual = manual();
    let table = manual.split("## Feature by feature").nth(1).expect("the table");
    // The first column is the feature, the second one ours; in the others are the others' commands.
    let ours = table.lines().filter(|line| line.starts_with("| ")).skip(1).filter_map(|row| row.split('|').nth(2));
    let ours: Vec<&str> = ours.collect();
    assert!(ours.len() >= 25 && ours.iter().all(|cell| cell.contains('`')), "{ours:?}");
    let named: Vec<&str> = ours.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    for name in named {
        assert!(code.contains(&format!("fn {name}()")), "no test is named {name}");
    }
}

#[test]
fn what_is_said_of_others_has_its_page() {
    let manual = manual();
    let table = manual.split("## Feature by feature").nth(1).expect("the table");
    let cells = table.lines().filter(|line| line.starts_with("| ")).skip(1).flat_map(|row| row.split('|').skip(3));
    let mut linked = 0;
    for cell in cells.map(str::trim).filter(|cell| !cell.is_empty()) {
        let page = cell.strip_suffix(']').and_then(|cell| cell.rsplit_once("][")).map(|(_, page)| page);
        match page {
            Some(page) => assert!(table.contains(&format!("\n[{page}]: https://")), "{cell} has no page"),
            None => assert_eq!(cell, "not found"),
        }
        linked += usize::from(page.is_some());
    }
    assert!(linked > 80, "{linked} cells were looked up");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_did_holds_and_running_nodes_scan_themselves() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = cluster(dir.path(), 3).await;
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let url = format!("http://{}/cluster/policy", cluster.members[0].operator);
    // More than a page of things done.
    for count in 1..=110 {
        let policy = serde_json::json!({ "locks_per_user_max": count + 3 });
        assert_eq!(http.put(&url).json(&policy).send().await.expect("an answer").status(), 200);
    }
    let operators: Vec<String> = cluster.members.iter().map(|member| member.operator.to_string()).collect();
    let verified = holdfast(&["audit", "verify", "--json", "--operator", &operators[0]]);
    let said: serde_json::Value = serde_json::from_str(&text(&verified.stdout)).expect("JSON");
    assert!(said["holds"] == true && said["rows"].as_u64() >= Some(110), "{said}");
    let scanned = holdfast(&["verify", "--operator", &operators.join(",")]);
    assert!(scanned.status.success(), "{}{}", text(&scanned.stdout), text(&scanned.stderr));
    assert!(!text(&scanned.stdout).contains("DO NOT"));
}
