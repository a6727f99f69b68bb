//! What stands in `deploy/`: it renders, fits the schemas, and asks nothing of the program that it does not understand.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_cli::settings::Settings;
use holdfast_cli::{tools, understands, variables};
use serde_json::Value;

use crate::support::{WAIT, holdfast, program, text};
use crate::tls::Authority;

const OVERLAYS: [&str; 2] = ["single", "production"];
/// The oldest and the newest Kubernetes that the manifests are for.
const KUBERNETES: [&str; 2] = ["1.31", "1.37"];

pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("deploy")
}

pub fn rendered(overlay: &str) -> PathBuf {
    deploy().join(format!("kubernetes/rendered/{overlay}.yaml"))
}

/// All documents of a YAML file.
pub fn documents(path: &Path) -> Vec<Value> {
    let script = "import json, sys, yaml\nprint(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let python = tools::find("manifests/bin/python", &program()).expect("the test tools");
    let said = Command::new(python).args(["-c", script]).arg(path).output().expect("python starts");
    assert!(said.status.success(), "{}: {}", path.display(), text(&said.stderr));
    serde_json::from_slice(&said.stdout).expect("JSON")
}

pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// The containers of our program, each with its workload's name.
fn containers(documents: &[Value]) -> Vec<(String, Value)> {
    let templates = documents.iter().filter(|document| document["spec"]["template"].is_object());
    let all = templates.flat_map(|document| {
        let name = document["metadata"]["name"].as_str().expect("a name").to_string();
        let containers = document["spec"]["template"]["spec"]["containers"].as_array().expect("containers").clone();
        containers.into_iter().map(move |container| (name.clone(), container))
    });
    all.filter(|(_, container)| container["image"].as_str().is_some_and(|image| image.starts_with("holdfast:")))
        .collect()
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().expect("a list").iter();
    words.map(|word| word.as_str().expect("a word").replace("$(POD_NAME)", "holdfast-0")).collect()
}

fn assert_understood(whose: &str, args: &[String]) {
    understands(args).unwrap_or_else(|error| panic!("{whose}: {error}"));
    let begins_one = args.iter().any(|arg| arg.starts_with("--bootstrap"));
    assert!(!begins_one, "{whose}: a node that is started again must not begin a second cluster");
}

#[test]
fn the_manifests_render_to_what_is_kept() {
    for overlay in OVERLAYS {
        let folder = deploy().join("kubernetes/overlays").join(overlay);
        let Ok(said) = Command::new("kubectl").arg("kustomize").arg(&folder).output() else {
            eprintln!("kubectl is not here: what was rendered before is checked, not whether it is still the same");
            return;
        };
        assert!(said.status.success(), "{overlay}: {}", text(&said.stderr));
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            fs::write(rendered(overlay), &said.stdout).expect("written");
        }
        let kept = fs::read_to_string(rendered(overlay)).expect("readable");
        assert!(text(&said.stdout) == kept, "{overlay}: run this with UPDATE_GOLDENFILES=1 and read the diff");
    }
}

#[test]
fn the_manifests_fit_the_schemas_of_kubernetes() {
    let python = tools::find("manifests/bin/python", &program()).expect("the test tools");
    for overlay in OVERLAYS {
        for version in KUBERNETES {
            let mut validate = Command::new(&python);
            validate.args(["-m", "kubernetes_validate", "--strict", "-k", version]).arg(rendered(overlay));
            let said = validate.output().expect("python starts");
            assert!(said.status.success(), "{overlay} {version}: {}{}", text(&said.stdout), text(&said.stderr));
        }
    }
}

#[test]
fn what_is_deployed_understands_its_flags_and_variables() {
    let known = variables();
    for overlay in OVERLAYS {
        let containers = containers(&documents(&rendered(overlay)));
        assert_eq!(containers.len(), 3, "nodes, payments, notifications");
        for (name, container) in containers {
            assert_understood(&name, &words(&container["args"]));
            for variable in container["env"].as_array().into_iter().flatten() {
                let variable = variable["name"].as_str().expect("a name");
                let ours = variable.starts_with("HOLDFAST_");
                assert!(!ours || known.contains(variable), "{name}: no {variable}");
            }
        }
    }
    let compose = documents(&deploy().join("compose.yaml")).remove(0);
    let services = compose["services"].as_object().expect("services");
    let ours = services.iter().filter(|(_, service)| service["image"] == "holdfast");
    let commands: Vec<_> = ours.map(|(name, service)| (name, words(&service["command"]))).collect();
    assert_eq!(commands.len(), 6);
    commands.iter().for_each(|(name, args)| assert_understood(name, args));
    for unit in ["holdfast", "holdfast-payments", "holdfast-notifications"] {
        let unit_file = fs::read_to_string(deploy().join(format!("systemd/{unit}.service"))).expect("the unit");
        let line = unit_file.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("what it starts");
        let args: Vec<String> = line.split(' ').skip(1).map(str::to_string).collect();
        // What the units' variables give, the line need not.
        let given = match unit {
            "holdfast-payments" | "holdfast-notifications" => vec!["--nats=nats://x:4222".to_string()],
            _ => Vec::new(),
        };
        assert_understood(unit, &[args, given].concat());
    }
    let node = Settings::read(&deploy().join("systemd/node.toml")).expect("the template");
    let resolved = node.resolve().expect("settings that fit together");
    assert!(resolved.tls.is_some() && !resolved.bootstrap);
}

#[test]
fn nodes_are_deployed_so_that_none_is_lost_by_accident() {
    for overlay in OVERLAYS {
        let documents = documents(&rendered(overlay));
        let sets = of_kind(&documents, "StatefulSet");
        let nodes = sets.iter().find(|set| set["metadata"]["name"] == "holdfast").expect("the nodes");
        let spec = &nodes["spec"];
        let keep = &spec["persistentVolumeClaimRetentionPolicy"];
        assert_eq!((&keep["whenDeleted"], &keep["whenScaled"]), (&Value::from("Retain"), &Value::from("Retain")));
        let container = &spec["template"]["spec"]["containers"][0];
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez", "alive without a leader");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
        let stop = container["lifecycle"]["preStop"].to_string();
        assert!(!stop.contains("remove"), "{stop}");
        let services = of_kind(&documents, "Service");
        let service =
            |name: &str| *services.iter().find(|service| service["metadata"]["name"] == name).expect("a service");
        assert_eq!(service("holdfast")["spec"]["clusterIP"], "None");
        assert_eq!(service("holdfast")["spec"]["publishNotReadyAddresses"], true, "who joins has to be found");
        assert!(service("holdfast-ready")["spec"]["publishNotReadyAddresses"].is_null());
        assert_eq!(of_kind(&documents, "PodDisruptionBudget")[0]["spec"]["maxUnavailable"], 1);
        let selects =
            |policy: &&Value| policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "node";
        let policies = of_kind(&documents, "NetworkPolicy");
        assert_eq!(policies.iter().copied().filter(|policy| selects(policy)).count(), 1);
    }
}

#[test]
fn secrets_are_named_and_not_kept_here() {
    let mut named = BTreeSet::new();
    for overlay in OVERLAYS {
        let documents = documents(&rendered(overlay));
        assert!(of_kind(&documents, "Secret").is_empty(), "{overlay}");
        for (_, container) in containers(&documents) {
            let text = container.to_string();
            named.extend(["holdfast-bank", "holdfast-mail"].into_iter().filter(|name| text.contains(name)));
        }
    }
    assert_eq!(named.len(), 2);
}

/// A node as the manifest has it, on this machine: its folder and its addresses are others, and there is no broker.
struct Pod {
    args: Vec<String>,
    http: String,
    operator: String,
    child: Option<Child>,
}

impl Pod {
    fn plan(args: &[String], dir: &Path, number: usize, authority: &Authority) -> Pod {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("its address").to_string()
        };
        let (http, peer, operator) = (free(), free(), free());
        let data = dir.join(format!("pod-{number}"));
        let own = |arg: &String| {
            let (flag, _) = arg.split_once('=').unwrap_or((arg, ""));
            Some(match flag {
                "--data" => format!("--data={}", data.display()),
                "--http" | "--http-advertise" => format!("{flag}={http}"),
                "--peer" | "--peer-advertise" => format!("{flag}={peer}"),
                "--operator" => format!("{flag}={operator}"),
                "--tls-cert" => format!("{flag}={}", authority.path("node.pem")),
                "--tls-key" => format!("{flag}={}", authority.path("node-key.pem")),
                "--tls-ca" => format!("{flag}={}", authority.path("ca.pem")),
                "--nats" => return None,
                _ => arg.clone(),
            })
        };
        let mut args: Vec<String> = args.iter().filter_map(own).collect();
        args.extend(["--password-memory-kib=8", "--password-passes=1", "--stop-with-stdin"].map(str::to_string));
        Pod { args, http, operator, child: None }
    }

    fn start(&mut self) {
        let mut command = Command::new(program());
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the program starts"));
    }

    fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        drop(child.stdin.take());
        assert!(child.wait().expect("it ends").success());
    }

    /// Waits until a probe's path answers with a status.
    async fn wait_for(&self, path: &str, status: u16) {
        let started = Instant::now();
        loop {
            let answer = reqwest::get(format!("http://{}{path}", self.http)).await;
            if answer.is_ok_and(|answer| answer.status() == status) {
                return;
            }
            assert!(started.elapsed() < WAIT, "{path} of {} becomes {status}", self.http);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_of_the_manifest_become_a_cluster_by_one_order_and_go_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(dir.path());
    let containers = containers(&documents(&rendered("production")));
    let (_, node) = containers.iter().find(|(name, _)| name == "holdfast").expect("the nodes");
    let args = words(&node["args"]);
    let mut pods: Vec<Pod> = (0..3).map(|number| Pod::plan(&args, dir.path(), number, &authority)).collect();
    for pod in &mut pods {
        pod.start();
        pod.wait_for("/livez", 200).await;
        pod.wait_for("/readyz", 503).await;
    }
    let operators: Vec<&str> = pods.iter().map(|pod| pod.operator.as_str()).collect();
    let operators = operators.join(",");
    let certified = authority.flags("operator.pem");
    let cluster = |command: &str| {
        let mut args = vec!["cluster", command, "--json", "--operator", &operators];
        args.extend(certified.iter().map(String::as_str));
        holdfast(&args)
    };
    let said = cluster("init");
    assert_eq!(said.status.code(), Some(0), "{}{}", text(&said.stdout), text(&said.stderr));
    for pod in &pods {
        pod.wait_for("/readyz", 200).await;
    }
    let again = cluster("init");
    assert_eq!(again.status.code(), Some(7), "a second cluster is not begun: {}", text(&again.stdout));

    pods[0].stop();
    pods[1].wait_for("/readyz", 200).await;
    pods[0].start();
    pods[0].wait_for("/readyz", 200).await;
    assert_eq!(cluster("status").status.code(), Some(0));
    pods.iter_mut().for_each(Pod::stop);
}
