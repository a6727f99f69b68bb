//! What Kubernetes does with the manifests, as far as these tests need it: pods that have what they name, services that lead to
//! the ready ones, policies, and the few commands of `kubectl` that the deployment's manual has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::network::{Admitted, Network};
use super::pod::{Pod, port};
use crate::deployment::of_kind;
use crate::support::WAIT;

/// How long a service tries to reach a pod that was ready a moment ago.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Where a service's connections go, and whether they may.
type Endpoints = Arc<Mutex<BTreeMap<String, Vec<(SocketAddr, Arc<AtomicBool>)>>>>;

pub struct Site {
    pub network: Network,
    pub pods: BTreeMap<String, Pod>,
    pub folder: PathBuf,
    pub documents: Vec<Value>,
    /// By the names of Deployments and StatefulSets; empty before `kubectl apply`.
    replicas: BTreeMap<String, u64>,
    pub secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The addresses of those that have one.
    pub services: BTreeMap<String, Ipv4Addr>,
    endpoints: Endpoints,
    /// Pods that are no part of the manifests: labels and address.
    guests: Vec<(Value, Ipv4Addr)>,
    started: u32,
}

impl Site {
    pub fn new(folder: &Path, documents: Vec<Value>) -> Site {
        Site {
            network: Network::new(folder),
            pods: BTreeMap::new(),
            folder: folder.to_path_buf(),
            documents,
            replicas: BTreeMap::new(),
            secrets: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoints: Endpoints::default(),
            guests: Vec::new(),
            started: 0,
        }
    }

    /// A place in the network for what the manifests do not have: an operator, a bank.
    pub fn guest(&mut self, name: &str, labels: Value) -> Ipv4Addr {
        let address = self.network.attach(name);
        self.network.name(name, address);
        self.guests.push((labels, address));
        self.connect();
        address
    }

    /// Carries out a line of the manual that begins with `kubectl`. Files are in `folder`.
    pub async fn kubectl(&mut self, line: &str, folder: &Path) {
        let line = line.split(" #").next().unwrap_or_default();
        let words: Vec<&str> =
            line.split_whitespace().skip(1).filter(|word| !matches!(*word, "-n" | "holdfast")).collect();
        match words[..] {
            ["apply", "-k", "deploy/kubernetes/overlays/production"] => self.apply().await,
            ["create", "secret", "generic", name, ref data @ ..] => {
                let pairs = data.iter().map(|word| datum(word, folder));
                self.secrets.entry(name.into()).or_default().extend(pairs);
            }
            ["scale", "statefulset", count] => {
                let count = count.strip_prefix("--replicas=").and_then(|count| count.parse().ok());
                self.replicas.insert("holdfast".into(), count.expect("a number"));
            }
            _ => panic!("not known here: {line}"),
        }
        self.reconcile().await;
    }

    async fn apply(&mut self) {
        for service in of_kind(&self.documents, "Service") {
            let name = name_of(service);
            if service["spec"]["clusterIP"] != "None" {
                let address = self.network.own(&name);
                self.services.insert(name.clone(), address);
                let to = service["spec"]["ports"][0]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
                let listener = TcpListener::bind((address, to.expect("a port"))).await.expect("its address");
                tokio::spawn(forward(listener, name, self.endpoints.clone()));
            }
        }
        for workload in self.workloads() {
            self.replicas.insert(name_of(&workload), workload["spec"]["replicas"].as_u64().expect("replicas"));
        }
    }

    fn workloads(&self) -> Vec<Value> {
        let all = self.documents.iter().filter(|document| document["spec"]["template"].is_object());
        all.cloned().collect()
    }

    /// Starts the pods that should be there and have all they name, and ends those that should not.
    pub async fn reconcile(&mut self) {
        for workload in self.workloads() {
            let name = name_of(&workload);
            for number in 0..self.replicas.get(&name).copied().unwrap_or(0) {
                let pod = format!("{name}-{number}");
                if !self.pods.contains_key(&pod) {
                    self.start(&workload, pod);
                }
            }
        }
        let wanted = |pod: &str| {
            let (workload, number) = pod.rsplit_once('-').expect("a number at its end");
            number.parse().is_ok_and(|number: u64| number < self.replicas.get(workload).copied().unwrap_or(0))
        };
        let surplus: Vec<String> = self.pods.keys().filter(|pod| !wanted(pod)).cloned().collect();
        for pod in surplus {
            assert_eq!(self.stop(&pod).await, Some(0), "{pod}");
        }
        // What is started answers, whether or not it is ready for work.
        self.wait("every pod is alive", async |site| {
            let mut alive = true;
            for pod in site.pods.values() {
                alive &= pod.passes("livenessProbe").await;
            }
            alive
        })
        .await;
    }

    /// Ends a pod as the manifest says; its exit code. Its claims stay.
    pub async fn stop(&mut self, name: &str) -> Option<i32> {
        let pod = self.pods.remove(name).expect("it runs");
        let code = pod.stop().await;
        self.network.detach(name);
        self.connect();
        code
    }

    /// Ends all pods at once; their exit codes.
    pub async fn stop_all(&mut self) -> Vec<(String, Option<i32>)> {
        let pods = std::mem::take(&mut self.pods);
        join_all(pods.into_iter().map(async |(name, pod)| (name, pod.stop().await))).await
    }

    /// Waits until all pods that run are ready.
    pub async fn wait_until_ready(&self) {
        self.wait("every pod is ready", async |site| site.pods.values().all(Pod::is_ready)).await;
    }

    pub async fn wait(&self, what: &str, is: impl AsyncFn(&Site) -> bool) {
        let started = Instant::now();
        while !is(self).await {
            let ready = self.pods.values().map(|pod| (&pod.plan.name, pod.is_ready())).collect::<Vec<_>>();
            assert!(started.elapsed() < WAIT, "{what}: {ready:?}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Starts a pod, unless something that it names is not there yet.
    fn start(&mut self, workload: &Value, name: String) {
        let folder = self.folder.join(format!("pod-{}", self.started));
        let Some(plan) = self.plan(workload, &name, &folder) else { return };
        self.started += 1;
        let address = self.network.attach(&name);
        let service = workload["spec"]["serviceName"].as_str();
        if let Some(service) = service {
            self.network.name(&format!("{name}.{service}"), address);
            self.network.name(service, address);
        }
        let pod = Pod::start(plan, address, &folder, &self.network.names);
        self.pods.insert(name, pod);
        self.connect();
    }

    /// Makes services lead to the pods that there are, and lets in whom the policies let in.
    fn connect(&mut self) {
        {
            let mut endpoints = self.endpoints.lock().expect("no panic");
            endpoints.clear();
            for service in of_kind(&self.documents, "Service") {
                let selected = self.pods.values().filter(|pod| selects(&service["spec"]["selector"], &pod.plan.labels));
                let to = selected.map(|pod| {
                    let port = port(&pod.plan.container, &service["spec"]["ports"][0]["targetPort"]);
                    (SocketAddr::from((pod.address, port)), pod.ready.clone())
                });
                endpoints.insert(name_of(service), to.collect());
            }
        }
        let admitted: Vec<_> = of_kind(&self.documents, "NetworkPolicy")
            .into_iter()
            .flat_map(|policy| self.pods.values().filter_map(|pod| self.admitted(policy, pod)))
            .collect();
        for (pod, admitted) in admitted {
            self.network.admit(&pod, admitted);
        }
    }

    /// Whom a policy lets reach a pod; `None` where it does not speak of it.
    fn admitted(&self, policy: &Value, pod: &Pod) -> Option<(String, BTreeSet<Admitted>)> {
        let spec = &policy["spec"];
        assert_eq!(spec["policyTypes"], json!(["Ingress"]), "nothing else is known here");
        if !selects(&spec["podSelector"]["matchLabels"], &pod.plan.labels) {
            return None;
        }
        let mut admitted = BTreeSet::new();
        for rule in spec["ingress"].as_array().expect("rules") {
            let ports = rule["ports"].as_array().expect("ports").iter();
            let ports: Vec<u16> = ports.map(|it| port(&pod.plan.container, &it["port"])).collect();
            let from: Vec<Option<Ipv4Addr>> = match rule["from"].as_array() {
                None => vec![None],
                Some(sources) => sources.iter().flat_map(|source| self.labelled(source)).map(Some).collect(),
            };
            admitted
                .extend(from.iter().flat_map(|from| ports.iter().map(|port| Admitted { from: *from, port: *port })));
        }
        Some((pod.plan.name.clone(), admitted))
    }

    /// The addresses of whatever a source of a policy means.
    fn labelled(&self, source: &Value) -> Vec<Ipv4Addr> {
        let pods = self.pods.values().map(|pod| (&pod.plan.labels, pod.address));
        let all = pods.chain(self.guests.iter().map(|(labels, address)| (labels, *address)));
        let selector = &source["podSelector"]["matchLabels"];
        all.filter(|(labels, _)| selects(selector, labels)).map(|(_, address)| address).collect()
    }
}

/// One service's address: each connection goes to the next pod that is ready. Never ends.
async fn forward(listener: TcpListener, service: String, endpoints: Endpoints) {
    for turn in 0.. {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let ready: Vec<SocketAddr> = {
            let endpoints = endpoints.lock().expect("no panic");
            let all = endpoints.get(&service).into_iter().flatten();
            all.filter(|(_, ready)| ready.load(Ordering::Relaxed)).map(|(address, _)| *address).collect()
        };
        let Some(to) = (!ready.is_empty()).then(|| ready[turn % ready.len()]) else { continue };
        tokio::spawn(async move {
            if let Ok(Ok(mut pod)) = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await {
                let _ = copy_bidirectional(&mut client, &mut pod).await;
            }
        });
    }
}

/// A word such as `--from-file=key=file`, as the key and what it stands for.
fn datum(word: &str, folder: &Path) -> (String, Vec<u8>) {
    let (kind, datum) = word.split_once('=').expect("a kind");
    let (key, value) = datum.split_once('=').unwrap_or((datum, datum));
    let content = match kind {
        "--from-file" => fs::read(folder.join(value)).expect("a file that was made before"),
        "--from-literal" => value.as_bytes().to_vec(),
        _ => panic!("not known here: {word}"),
    };
    (key.into(), content)
}

fn name_of(document: &Value) -> String {
    document["metadata"]["name"].as_str().expect("a name").into()
}

/// Whether all labels of a selector are among those.
fn selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().expect("labels").iter().all(|(label, value)| labels[label] == *value)
}
