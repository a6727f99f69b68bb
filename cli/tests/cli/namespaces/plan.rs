//! A pod as the kubelet would start it: its variables, its volumes and its program, from the manifest and what it names.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use holdfast_cli::tools;
use serde_json::Value;

use super::pod::{Mount, Plan};
use super::site::Site;
use crate::deployment::of_kind;
use crate::support::program;

impl Site {
    /// `None` while something that the pod names is not there yet.
    pub fn plan(&self, workload: &Value, name: &str, folder: &Path) -> Option<Plan> {
        let template = &workload["spec"]["template"];
        let spec = template["spec"].clone();
        let container = spec["containers"][0].clone();
        let variables = self.variables(&container, name)?;
        let expanded = |arg: &Value| {
            let arg = arg.as_str().expect("a word").to_string();
            variables.iter().fold(arg, |arg, (name, value)| arg.replace(&format!("$({name})"), value))
        };
        let args = container["args"].as_array().expect("arguments").iter().map(expanded).collect();
        let group = spec["securityContext"]["fsGroup"].as_u64().and_then(|group| u32::try_from(group).ok());
        let mut mounts = vec![Mount { from: self.trust(), at: "/etc/ssl/certs".into(), read_only: true }];
        for mount in container["volumeMounts"].as_array().expect("mounts") {
            let volume = mount["name"].as_str().expect("a name");
            let from = self.volume(workload, name, volume, folder, group.expect("a group"))?;
            let read_only = mount["readOnly"] == true;
            mounts.push(Mount { from, at: mount["mountPath"].as_str().expect("a path").into(), read_only });
        }
        let program = match container["image"].as_str().and_then(|image| image.split(':').next()) {
            Some("holdfast") => (program(), "/usr/local/bin/holdfast"),
            Some("nats") => {
                (tools::find("nats-server", &program()).expect("the test tools"), "/usr/local/bin/nats-server")
            }
            other => panic!("{other:?} is not known here"),
        };
        let labels = template["metadata"]["labels"].clone();
        Some(Plan { name: name.into(), labels, container, spec, program, args, variables, mounts })
    }

    /// What a container finds in its environment; `None` while a secret is missing.
    fn variables(&self, container: &Value, pod: &str) -> Option<Vec<(String, String)>> {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).expect("text");
        // Kubernetes tells every pod where the services are, under names that are made of theirs.
        let told = self.services.iter().flat_map(|(name, address)| {
            let name = name.to_uppercase().replace('-', "_");
            let host = (format!("{name}_SERVICE_HOST"), address.to_string());
            [
                host,
                (format!("{name}_SERVICE_PORT"), "80".into()),
                (format!("{name}_PORT"), format!("tcp://{address}:80")),
            ]
        });
        let mut variables: Vec<(String, String)> = told.collect();
        for source in container["envFrom"].as_array().into_iter().flatten() {
            let secret = &source["secretRef"];
            match self.secrets.get(secret["name"].as_str().expect("a name")) {
                Some(data) => variables.extend(data.iter().map(|(name, value)| (name.clone(), text(value)))),
                None if secret["optional"] == true => {}
                None => return None,
            }
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let from = &variable["valueFrom"];
            let value = if from["fieldRef"]["fieldPath"] == "metadata.name" {
                pod.to_string()
            } else if let Some(key) = from["configMapKeyRef"]["key"].as_str() {
                text(&self.config_map(&from["configMapKeyRef"]["name"])[key])
            } else if let Some(key) = from["secretKeyRef"]["key"].as_str() {
                let secret = from["secretKeyRef"]["name"].as_str().expect("a name");
                text(self.secrets.get(secret)?.get(key)?)
            } else {
                variable["value"].as_str().expect("a value").to_string()
            };
            variables.push((variable["name"].as_str().expect("a name").into(), value));
        }
        Some(variables)
    }

    fn config_map(&self, name: &Value) -> BTreeMap<String, Vec<u8>> {
        let maps = of_kind(&self.documents, "ConfigMap");
        let map = maps.iter().find(|map| map["metadata"]["name"] == *name).expect("a config map of this deployment");
        let data = map["data"].as_object().expect("data").iter();
        data.map(|(key, value)| (key.clone(), value.as_str().expect("text").into())).collect()
    }

    /// A folder for a volume, as the kubelet leaves it: for the group, and secrets with their mode.
    fn volume(&self, workload: &Value, pod: &str, volume: &str, folder: &Path, group: u32) -> Option<PathBuf> {
        let claims = workload["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
        if claims.clone().any(|claim| claim["metadata"]["name"] == volume) {
            return Some(shared(self.claim(volume, pod), group));
        }
        let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().expect("volumes");
        let source = volumes.iter().find(|it| it["name"] == volume).expect("a volume of this pod");
        let at = folder.join(volume);
        if source["emptyDir"].is_object() {
            return Some(shared(at, group));
        }
        let files = match source["secret"]["secretName"].as_str() {
            Some(secret) => self.secrets.get(secret)?.clone(),
            None => self.config_map(&source["configMap"]["name"]),
        };
        let mode = source["secret"]["defaultMode"].as_u64().unwrap_or(0o644);
        let at = shared(at, group);
        for (name, content) in files {
            let file = at.join(name);
            fs::write(&file, content).expect("written");
            chown(&file, None, Some(group)).expect("given to the group");
            let mode = fs::Permissions::from_mode(u32::try_from(mode).expect("a mode"));
            fs::set_permissions(&file, mode).expect("its mode");
        }
        Some(at)
    }

    /// What every image brings: whose certificates are good.
    pub fn trust(&self) -> PathBuf {
        self.folder.join("trust")
    }

    /// Where a pod's claim is kept.
    pub fn claim(&self, volume: &str, pod: &str) -> PathBuf {
        self.folder.join(format!("claim-{volume}-{pod}"))
    }
}

/// A folder that a group may write to.
fn shared(folder: PathBuf, group: u32) -> PathBuf {
    fs::create_dir_all(&folder).expect("a folder");
    chown(&folder, None, Some(group)).expect("given to the group");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2770)).expect("its mode");
    folder
}
