//! The deployment for production, run: every container of its manifests with the arguments and variables that stand there, each
//! in a network namespace of its own on one bridge, with a root of its own. The manual's commands make it a cluster, and it is
//! treated as Kubernetes treats it: pods end and come back elsewhere, one is cut off, the set grows and shrinks.
//!
//! The test runs itself again as the first process of namespaces in which all of this happens. Whatever ends it, the kernel
//! takes the rest away with it: processes, mounts, network and files, which are in memory.

mod bank;
mod network;
mod plan;
mod pod;
mod shop;
mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use holdfast_cli::guard::Guarded;
use holdfast_cli::tools;
use serde_json::{Value, json};

use self::bank::Bank;
use self::shop::Shop;
use self::site::Site;
use crate::deployment::{deploy, documents, rendered};
use crate::support::{WAIT, assert_verified, program, text};

const TEST: &str = "namespaces::what_the_manifests_run_is_a_cluster_in_namespaces_of_its_own";
/// Tells the second run that it is the one inside.
const INSIDE: &str = "TEST_IS_INSIDE_NAMESPACES";
/// In memory, and in the mount namespace of the test alone.
const FOLDER: &str = "/run";
/// Longer than the run inside takes on a busy machine.
const LIMIT_S: &str = "900";
const UNSHARE: [&str; 7] = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// What is needed of the machine, tried in namespaces that end at once.
const TRY: &str = "mount -t tmpfs tmpfs /run && ip link add pods type bridge && ip netns add pod \
    && ip link add one type veth peer name eth0 netns pod && ip -n pod rule add ipproto tcp dport 1-2 blackhole \
    && setpriv --no-new-privs true";
const NODES: usize = 3;

/// Runs this test again in namespaces of its own, where the machine allows that.
fn run_inside() {
    let may = Command::new(UNSHARE[0]).args(&UNSHARE[1..]).args(["sh", "-c", TRY]).output();
    match may {
        Ok(may) if may.status.success() => {}
        Ok(may) => return eprintln!("skipped: namespaces are not allowed here: {}", text(&may.stderr).trim()),
        Err(error) => return eprintln!("skipped: no namespaces without unshare: {error}"),
    }
    // Each link of this chain ends with the one before it.
    let said = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "timeout", LIMIT_S, "setpriv", "--pdeathsig", "KILL"])
        .args(UNSHARE)
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", TEST, "--nocapture"])
        .env(INSIDE, "yes")
        .stdin(Stdio::null())
        .output()
        .expect("setpriv");
    let said_both = format!("{}{}", text(&said.stdout), text(&said.stderr));
    assert!(said.status.success() && said_both.contains("1 passed"), "{}: {said_both}", said.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_manifests_run_is_a_cluster_in_namespaces_of_its_own() {
    if std::env::var_os(INSIDE).is_none() {
        return run_inside();
    }
    assert!(Command::new("mount").args(["-t", "tmpfs", "tmpfs", FOLDER]).status().expect("mount").success());
    let mut deployed = Deployed::start(Path::new(FOLDER)).await;
    deployed.follow_the_manual().await;
    deployed.keep_strangers_out();
    deployed.sell("with everything well").await;
    deployed.restart_the_leader().await;
    deployed.cut_the_leader_off().await;
    deployed.grow_and_shrink().await;
    deployed.end().await;
}

/// The site, and who is around it.
struct Deployed {
    site: Site,
    /// The operator's folder.
    desk: PathBuf,
    mails: PathBuf,
    sold: usize,
    shop: Option<Shop>,
    bank: Bank,
    _mail: Guarded,
}

/// The words that start something in a pod's network, without a root of its own.
fn in_network_of(pod: &str) -> [String; 4] {
    ["ip", "netns", "exec", pod].map(str::to_string)
}

impl Deployed {
    /// Nothing is applied yet: an operator, a bank and a mail server are there.
    async fn start(folder: &Path) -> Deployed {
        let mut site = Site::new(folder, documents(&rendered("production")));
        site.guest("operator", json!({ "holdfast.example/operator": "true" }));
        site.guest("stranger", json!({}));
        site.guest("mail.example.org", json!({}));
        let (desk, mails) = (folder.join("desk"), folder.join("mails"));
        fs::create_dir(&desk).expect("a folder");
        let start = |guest: &str, words: &[&str]| {
            let [ip, args @ ..] = in_network_of(guest);
            let args = args.into_iter().chain(words.iter().map(ToString::to_string));
            Guarded::start(&program(), Path::new(&ip), args, &[], &folder.join(guest)).expect("ip starts")
        };
        let address = site.network.own(bank::NAME);
        let bank = Bank::start(address, &site.trust(), folder).await;
        let python = tools::find("python/bin/python", &program()).expect("the test tools");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/smtp.py");
        let (python, to) = (python.to_str().expect("text"), mails.to_str().expect("text"));
        let mut mail = start("mail.example.org", &[python, script, to, "--listen", "0.0.0.0:25"]);
        mail.wait_for_line("ready:", WAIT).await.expect("the mail server is ready");
        Deployed { site, desk, mails, sold: 0, shop: None, bank, _mail: mail }
    }

    /// Carries out the blocks of `deploy/README.md`, from the first certificate to the last secret.
    async fn follow_the_manual(&mut self) {
        let manual = fs::read_to_string(deploy().join("README.md")).expect("the manual");
        for section in ["## Certificates", "## Kubernetes"] {
            let from = manual.split(section).nth(1).expect("the section");
            let block = from.split("```sh\n").nth(1).and_then(|block| block.split("```").next()).expect("its commands");
            for line in block.lines() {
                self.follow(line).await;
            }
        }
        self.site.wait_until_ready().await;
        assert_eq!(self.site.pods.len(), 8, "three nodes, a broker, two copies of each service");
        for pod in self.site.pods.values() {
            assert!(pod.is_confined(), "{}", pod.plan.name);
        }
    }

    async fn follow(&mut self, line: &str) {
        if line.starts_with("kubectl") {
            // The mail server of this test speaks without TLS, and to everybody.
            let line = line.replace("smtps://user:password@mail.example.org", "smtp://mail.example.org:25");
            return self.site.kubectl(&line, &self.desk).await;
        }
        let begins = line.contains("cluster init");
        for pod in self.nodes().into_iter().filter(|_| begins) {
            assert!(!self.site.pods[&pod].passes("readinessProbe").await, "{pod} is of no cluster yet");
        }
        let said = self.operate(line);
        assert_eq!(said.status.code(), Some(0), "{line}: {}{}", text(&said.stdout), text(&said.stderr));
        if begins {
            self.site.wait_until_ready().await;
            assert_eq!(self.operate(line).status.code(), Some(7), "a second cluster is not begun");
        }
    }

    /// The pods of nodes that run.
    fn nodes(&self) -> Vec<String> {
        self.site.pods.keys().filter(|pod| pod.starts_with("holdfast-")).cloned().collect()
    }

    /// A line that an operator types, in a pod with his label and his certificate.
    fn operate(&self, line: &str) -> Output {
        let nodes: Vec<String> = self.nodes().iter().map(|pod| format!("{pod}.holdfast:5000")).collect();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", program().parent().expect("a folder").display());
        let [ip, args @ ..] = in_network_of("operator");
        Command::new(ip)
            .args(args)
            .args(["unshare", "--mount", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec bash -c "$1""#])
            .arg(self.site.network.names.join("hosts"))
            .arg(line)
            .current_dir(&self.desk)
            .env_clear()
            .env("PATH", path)
            .env("HOLDFAST_OPERATOR", nodes.join(","))
            .env("HOLDFAST_TLS_CERT", "operator.pem")
            .env("HOLDFAST_TLS_KEY", "operator-key.pem")
            .env("HOLDFAST_TLS_CA", "authority/ca.pem")
            .stdin(Stdio::null())
            .output()
            .expect("ip starts")
    }

    /// The members, as the leader knows them; nothing where there is none.
    fn members(&self) -> Vec<Value> {
        let said = self.operate("holdfast cluster status --json");
        let plan: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
        plan["members"].as_array().cloned().unwrap_or_default()
    }

    /// The member that a pod is.
    fn member(&self, pod: &str) -> Option<Value> {
        let address = format!("{pod}.holdfast:4000");
        self.members().into_iter().find(|member| member["peer_addr"] == address.as_str())
    }

    /// The pod that leads.
    fn leader(&self) -> Option<String> {
        let leader = self.members().into_iter().find(|member| member["leads"] == true)?;
        Some(leader["peer_addr"].as_str()?.split('.').next()?.to_string())
    }

    async fn wait_for_other_leader(&self, than: &str) {
        self.site.wait("another node leads", async |_| self.leader().is_some_and(|leader| leader != than)).await;
    }

    /// Waits until so many vote, and all of them live.
    async fn wait_for_voters(&self, count: usize) {
        let well = |member: &Value| member["voter"] == true && member["live"] == true;
        self.site
            .wait("all vote", async |_| {
                let members = self.members();
                members.len() == count && members.iter().all(well)
            })
            .await;
    }

    /// The policies of the manifest: who is neither a node nor an operator reaches what is for everybody, and nothing else.
    fn keep_strangers_out(&self) {
        let reaches = |who: &str, to: &str, port: u16| {
            let address = self.site.pods[to].address;
            let [ip, args @ ..] = in_network_of(who);
            let open = format!("exec 3<>/dev/tcp/{address}/{port}");
            let mut attempt = Command::new(ip);
            attempt.args(args).args(["timeout", "2", "bash", "-c", &open]).stderr(Stdio::null());
            attempt.status().expect("ip starts").success()
        };
        assert!(reaches("stranger", "holdfast-0", 3000));
        assert!(reaches("operator", "holdfast-0", 5000));
        for (who, to, port) in [
            ("stranger", "holdfast-0", 4000),
            ("stranger", "holdfast-0", 5000),
            ("operator", "holdfast-0", 4000),
            ("payments-0", "holdfast-0", 5000),
            ("stranger", "nats-0", 4222),
        ] {
            assert!(!reaches(who, to, port), "{who} reaches {to}:{port}");
        }
        assert!(reaches("payments-0", "nats-0", 4222));
    }

    /// The pod that leads ends as the manifest says, in the middle of a purchase: it hands over and stays a member. It comes back
    /// with its claim and another address.
    async fn restart_the_leader(&mut self) {
        let leader = self.leader().expect("a leader");
        let before = self.member(&leader).expect("a member");
        println!("{leader} leads and ends");
        self.sell_while(async |deployed: &mut Deployed| {
            assert_eq!(deployed.site.stop(&leader).await, Some(0), "it ends in good order");
            deployed.wait_for_other_leader(&leader).await;
        })
        .await;
        assert_eq!(self.members().len(), NODES, "nobody was removed");
        self.site.reconcile().await;
        self.site.wait_until_ready().await;
        self.wait_for_voters(NODES).await;
        let after = self.member(&leader).expect("a member");
        assert_eq!(after["node_id"], before["node_id"], "the same node, from its claim");
        self.sell("after a pod came back").await;
    }

    /// The cable of the pod that leads is drawn in the middle of a purchase: the others finish it.
    async fn cut_the_leader_off(&mut self) {
        let leader = self.leader().expect("a leader");
        println!("{leader} leads and is cut off");
        self.sell_while(async |deployed: &mut Deployed| {
            deployed.site.network.set_connected(&leader, false);
            deployed.wait_for_other_leader(&leader).await;
        })
        .await;
        self.site.wait("it is out of its services", async |site| !site.pods[&leader].is_ready()).await;
        self.site.network.set_connected(&leader, true);
        self.site.wait_until_ready().await;
        self.wait_for_voters(NODES).await;
        self.sell("after the cable was put back").await;
    }

    /// The manual's commands for one node more, and one less.
    async fn grow_and_shrink(&mut self) {
        let manual = fs::read_to_string(deploy().join("README.md")).expect("the manual");
        let row = |what: &str| {
            let row = manual.lines().find(|line| line.starts_with(&format!("| {what} |"))).expect("a row");
            let commands: Vec<String> = row.split('`').skip(1).step_by(2).map(str::to_string).collect();
            <[String; 2]>::try_from(commands).expect("a pair of commands")
        };
        for line in row("add a node") {
            self.follow(&line).await;
        }
        self.site.wait_until_ready().await;
        let fourth = self.member("holdfast-3").expect("it was added");
        assert_eq!(self.members().len(), NODES + 1);
        self.sell("by four").await;
        for line in row("take one away") {
            self.follow(&line.replace("ID", &fourth["node_id"].to_string())).await;
        }
        assert_eq!(self.nodes().len(), NODES);
        self.wait_for_voters(NODES).await;
        self.sell("by three").await;
    }

    /// Everything ends in good order, and what is in the claims holds.
    async fn end(mut self) {
        let charges = self.bank.charges().await;
        assert!(charges.iter().all(|charge| charge.captured && charge.captures == 1), "{charges:?}");
        assert_eq!(charges.len(), self.sold, "one charge for each ticket");
        let nodes = self.nodes();
        for (pod, code) in self.site.stop_all().await {
            assert!(pod.starts_with("nats") || code == Some(0), "{pod}: {code:?}");
        }
        for pod in nodes {
            assert_verified(&self.site.claim("data", &pod));
        }
    }
}

impl Drop for Deployed {
    /// What the pods said last, which is gone with the namespaces.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pod in self.site.pods.values() {
                let said = fs::read(&pod.log).map(|said| text(&said)).unwrap_or_default();
                let lines: Vec<&str> = said.lines().collect();
                println!("{}:\n{}", pod.plan.name, lines[lines.len().saturating_sub(20)..].join("\n"));
            }
        }
    }
}
