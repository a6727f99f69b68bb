//! A container as a process: in namespaces of its own, with a root that has the program and what the manifest mounts there.
//!
//! The root is read-only and the process is not root and cannot become it, as the manifest wants it; it is the first process
//! of its namespace, as in a container.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task::JoinHandle;

/// What Kubernetes takes where a probe does not say.
const PERIOD_S: u64 = 10;
const FAILURES: u64 = 3;
const TIMEOUT_S: u64 = 1;
const GRACE_S: u64 = 30;

/// Makes the root and becomes the program. Arguments: root, names, user, group, supplementary group; then a folder, its place and
/// `ro` or `rw` for each mount; `--`; the program and its arguments. The program's own file is a mount, too.
const CONTAINER: &str = r#"
set -e
root=$1 names=$2 user=$3 group=$4 extra=$5
shift 5
mount -t tmpfs -o mode=0755 tmpfs "$root"
for folder in /lib /lib64 /usr/lib /usr/lib64; do
  if [ -d "$folder" ]; then mkdir -p "$root$folder"; mount --bind -o ro "$folder" "$root$folder"; fi
done
mkdir -p "$root/proc" "$root/dev" "$root/names" "$root/etc" "$root/tmp"
mount -t proc proc "$root/proc"
for device in null zero random urandom; do : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount --bind -o ro "$names" "$root/names"
ln -s /names/hosts "$root/etc/hosts"
echo 'hosts: files' >"$root/etc/nsswitch.conf"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root${2%/*}"; : >"$root$2"; fi
  mount --bind -o "$3" "$1" "$root$2"
  shift 3
done
shift
mount -o remount,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user:$group" --groups="$extra" "$root" "$@"
"#;

/// What is mounted into a container.
pub struct Mount {
    pub from: PathBuf,
    pub at: String,
    pub read_only: bool,
}

/// A pod, with everything filled in that the manifest leaves open.
pub struct Plan {
    pub name: String,
    pub labels: Value,
    /// The container's part of the manifest.
    pub container: Value,
    /// The pod's part of it.
    pub spec: Value,
    /// The program on this machine, and where the image has it.
    pub program: (PathBuf, &'static str),
    pub args: Vec<String>,
    pub variables: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
}

/// A pod that was started. Dropping it kills it.
pub struct Pod {
    pub plan: Plan,
    pub address: Ipv4Addr,
    /// What its readiness probe says.
    pub ready: Arc<AtomicBool>,
    pub log: PathBuf,
    watch: JoinHandle<()>,
    child: Child,
}

impl Pod {
    /// Starts the container in the namespace that has the pod's name. Its root and its log are kept in `folder`.
    pub fn start(plan: Plan, address: Ipv4Addr, folder: &Path, names: &Path) -> Pod {
        let root = folder.join("root");
        fs::create_dir_all(&root).expect("a folder");
        let log = folder.join("log");
        let file = File::options().create(true).append(true).open(&log).expect("a log");
        let security = &plan.spec["securityContext"];
        let number = |field: &str| security[field].as_u64().expect("a number").to_string();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &plan.name, "unshare", "--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", CONTAINER, "container"])
            .args([&root, names])
            .args([number("runAsUser"), number("runAsGroup"), number("fsGroup")]);
        let (program, at) = &plan.program;
        command.arg(program).args([at, "ro"]);
        for mount in &plan.mounts {
            command.arg(&mount.from).args([mount.at.as_str(), if mount.read_only { "ro" } else { "rw" }]);
        }
        command.args(["--", at]).args(&plan.args);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(plan.variables.iter().map(|(name, value)| (name, value)));
        let out = file.try_clone().expect("a handle");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(file).spawn().expect("ip starts");
        let ready = Arc::new(AtomicBool::new(false));
        let watch = tokio::spawn(watch(plan.container.clone(), address, ready.clone()));
        Pod { plan, address, ready, log, watch, child }
    }

    /// Whether a probe of the manifest succeeds now.
    pub async fn passes(&self, probe: &str) -> bool {
        passes(&self.plan.container, probe, self.address).await
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether the container is what its security context says: not root, without a way to become it, and its root is read-only.
    pub fn is_confined(&self) -> bool {
        let first = self.first_process().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{first}/status")).expect("it runs");
        let user = &self.plan.spec["securityContext"]["runAsUser"];
        let mounts = fs::read_to_string(format!("/proc/{first}/mounts")).expect("it runs");
        status.contains(&format!("\nUid:\t{user}\t{user}\t{user}\t{user}\n"))
            && ["\nCapPrm:\t0000000000000000\n", "\nNoNewPrivs:\t1\n"].iter().all(|line| status.contains(line))
            && mounts.lines().any(|line| line.starts_with("tmpfs / tmpfs ro,"))
    }

    /// Ends the pod as the manifest says: what comes before it, SIGTERM, and time. Its exit code.
    pub async fn stop(mut self) -> Option<i32> {
        // It is out of its services from here on, whatever it says of itself.
        self.watch.abort();
        self.ready.store(false, Ordering::Relaxed);
        let before = &self.plan.container["lifecycle"]["preStop"];
        if !before.is_null() {
            let seconds = before["sleep"]["seconds"].as_u64().expect("nothing but waiting is known here");
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        kill_process(self.first_process(), Signal::TERM).expect("it runs");
        let grace = Duration::from_secs(self.plan.spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(GRACE_S));
        let started = Instant::now();
        while started.elapsed() < grace {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} does not end within {grace:?}", self.plan.name);
    }

    /// The process that the container was started with, as this namespace numbers it.
    fn first_process(&self) -> Pid {
        let parent = self.child.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("it runs");
        children.trim().parse().ok().and_then(Pid::from_raw).expect("one process")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.watch.abort();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of a container, by its number or its name.
pub fn port(container: &Value, port: &Value) -> u16 {
    let named = |it: &&Value| it["name"] == *port;
    let ports = container["ports"].as_array().expect("ports");
    let number = port.as_u64().or_else(|| ports.iter().find(named)?["containerPort"].as_u64());
    number.and_then(|number| u16::try_from(number).ok()).expect("a port of this container")
}

async fn passes(container: &Value, probe: &str, address: Ipv4Addr) -> bool {
    let probe = &container[probe];
    let path = probe["httpGet"]["path"].as_str().expect("a path");
    let url = format!("http://{address}:{}{path}", port(container, &probe["httpGet"]["port"]));
    let timeout = Duration::from_secs(probe["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_S));
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(timeout).build().expect("a client");
    http.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

/// Asks as often as the manifest says, and believes as much of it. Never ends.
async fn watch(container: Value, address: Ipv4Addr, ready: Arc<AtomicBool>) {
    let probe = &container["readinessProbe"];
    let failures_max = probe["failureThreshold"].as_u64().unwrap_or(FAILURES);
    let period = Duration::from_secs(probe["periodSeconds"].as_u64().unwrap_or(PERIOD_S));
    let mut failures = 0;
    loop {
        failures = if passes(&container, "readinessProbe", address).await { 0 } else { failures + 1 };
        if failures == 0 || failures >= failures_max {
            ready.store(failures == 0, Ordering::Relaxed);
        }
        tokio::time::sleep(period).await;
    }
}
