//! `holdfast backup restore`: a new cluster of one node out of a backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use holdfast_raft::clock::SystemClock;
use holdfast_raft::disk::{self, Disk};
use holdfast_raft::node::{Options, Start};
use holdfast_raft::refound::{self, Refounded, STATE_DIRECTORY};
use holdfast_raft::settings::Settings;
use holdfast_raft::transport::grpc::Grpc;
use serde_json::json;

use super::FromArgs;
use super::manifest::Manifest;
use super::store::Store;
use crate::failure::{Exit, Failure};
use crate::folder::{Folder, KEPT};
use crate::{stored, versions};

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Folder of the new node's data; it must be empty or not there
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    pub from: FromArgs,
}

pub async fn run(args: &RestoreArgs) -> Result<(), Failure> {
    let store = Store::open(&args.from.store.from, false)?;
    let manifest = store.manifest(args.from.backup.as_deref()).await?;
    manifest.check_version(versions::known())?;
    let _folder = empty_folder(&args.data)?;
    let refounded = unpack(&store, &manifest, &args.data).await?;
    let lineage = raise_lineage(&args.data, &refounded).await?;
    let (cluster, node_id) = (format!("{:032x}", refounded.place.cluster_id), refounded.place.node_id);
    if args.from.store.json {
        say!(
            "{}",
            json!({
                "backup": manifest.name(), "cluster_id": cluster, "node_id": node_id, "lineage": lineage,
                "cluster_version": refounded.held.version, "index": manifest.index, "state_hash": manifest.state_hash, "event_seq": manifest.event_seq,
            })
        );
        return Ok(());
    }
    say!("{} is node {node_id} of the new cluster {cluster}, lineage {lineage}.", args.data.display());
    say!(
        "It has everything up to log entry {} and event {}; the state's hash is that of the backup.",
        manifest.index,
        manifest.event_seq
    );
    say!("Start it with `holdfast serve --data {}`, and let others join it.", args.data.display());
    Ok(())
}

/// Takes a folder for the node that is to be, unless there is something in it.
fn empty_folder(data: &Path) -> Result<Folder, Failure> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", data.display()));
    let folder = Folder::take(data)?;
    for entry in std::fs::read_dir(data).map_err(complain)? {
        let name = entry.map_err(complain)?.file_name();
        if !KEPT.iter().any(|kept| name.to_string_lossy().starts_with(kept)) {
            let found = name.to_string_lossy();
            return Err(Failure::cannot_start(format!("--data {}: it is not empty: there is {found}", data.display())));
        }
    }
    Ok(folder)
}

/// Puts a backup's files into a folder and makes a node of it. Its state's hash is what the manifest says, or it fails.
pub async fn unpack(store: &Store, manifest: &Manifest, data: &Path) -> Result<Refounded, Failure> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", data.display()));
    let disk = disk::Folder::open(data).map_err(complain)?;
    for file in &manifest.files {
        let path = format!("{STATE_DIRECTORY}/{}", file.name);
        // An empty file is made too.
        disk.append(&path, &[]).map_err(complain)?;
        store.read_file(file, |piece| disk.append(&path, &piece).map_err(complain)).await?;
    }
    disk.sync_dir(STATE_DIRECTORY).map_err(complain)?;
    let local = |port: u16| format!("127.0.0.1:{port}");
    let refounded = refound::from_state(Arc::new(disk), local(4000), local(3000)).await;
    let refounded = refounded.map_err(|fault| stored::failure(data, &fault))?;
    let (found, said) = (format!("{:032x}", refounded.held.state_hash), &manifest.state_hash);
    if found != *said || refounded.held.index != manifest.index {
        let message = format!("backup {}: its state has the hash {found}, and should have {said}", manifest.name());
        return Err(Failure::new(Exit::Damaged, message));
    }
    Ok(refounded)
}

/// Runs the new cluster's only node for a moment, without clients, and raises the ledger's lineage: the first thing that it decides.
pub async fn raise_lineage(data: &Path, refounded: &Refounded) -> Result<u16, Failure> {
    let complain = |error: &dyn std::fmt::Display| Failure::cannot_start(format!("--data {}: {error}", data.display()));
    let disk = disk::Folder::open(data).map_err(|error| complain(&error))?;
    let options = Options {
        disk: Arc::new(disk),
        transport: Arc::new(Grpc::default()),
        clock: Arc::new(SystemClock::default()),
        peer_listen: "127.0.0.1:0".into(),
        peer_addr: Some(refounded.record.peer_addr.clone()),
        http_addr: refounded.record.http_addr.clone(),
        settings: Settings::default(),
        storage: versions::storage(),
        start: Start::Continue,
    };
    refound::raise_lineage(options).await.map_err(|error| complain(&error))
}
