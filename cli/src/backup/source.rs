//! Whose state is backed up: a node in this process, or one behind its operator's listener.

use bytes::Bytes;
use holdfast_raft::backup::Backup;
use holdfast_raft::snapshot::CHUNK_BYTES_MAX;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::manifest::{FORMAT, FileView, Manifest, hex};
use super::store::{FILE_BYTES_MAX, Store, Upload};
use crate::failure::{Exit, Failure};
use crate::membership::Operators;
use crate::operator::HeldView;

/// Something to copy from.
pub enum Source {
    Here(Backup),
    There { operators: Operators, address: String, held: HeldView },
}

impl Source {
    /// Asks the first node that answers for a snapshot, and holds it.
    pub async fn hold(operators: Operators) -> Result<Source, Failure> {
        let mut last = Failure::usage("--operator: an address is needed");
        for address in operators.addresses.clone() {
            match operators.ask_at::<HeldView>(&address, "/backup", Some(&Value::Null)).await {
                Ok(held) => return Ok(Source::There { operators, address, held }),
                Err(problem) => last = problem.failure,
            }
        }
        Err(last)
    }

    /// What is there, with the checksums of all files.
    pub async fn manifest(&self) -> Result<Manifest, Failure> {
        match self {
            Source::Here(backup) => described(backup).await,
            Source::There { held, .. } => Ok(held.manifest.clone()),
        }
    }

    /// Copies the file of this number into `store`, piece by piece.
    pub async fn copy(&self, number: usize, file: &FileView, store: &Store) -> Result<(), Failure> {
        if file.bytes > FILE_BYTES_MAX {
            return Err(Failure::failed(format!("{}: longer than {FILE_BYTES_MAX} bytes", file.name)));
        }
        let mut upload = store.upload(file).await?;
        match self.read_into(number, file, &mut upload).await {
            Ok(()) => upload.finish().await,
            Err(failure) => {
                upload.abort().await;
                Err(failure)
            }
        }
    }

    async fn read_into(&self, number: usize, file: &FileView, upload: &mut Upload<'_>) -> Result<(), Failure> {
        let (mut digest, mut offset) = (Sha256::new(), 0);
        while offset < file.bytes {
            let piece = self.piece(number, offset).await?;
            if piece.is_empty() {
                break;
            }
            digest.update(&piece);
            offset += piece.len() as u64;
            upload.write(piece).await?;
        }
        match hex(&digest.finalize()) == file.sha256 {
            true => Ok(()),
            false => {
                let message = format!("{}: it came otherwise than it was described", file.name);
                Err(Failure::new(Exit::Damaged, message))
            }
        }
    }

    async fn piece(&self, number: usize, offset: u64) -> Result<Bytes, Failure> {
        match self {
            Source::Here(backup) => {
                let read = backup.read(number, offset, CHUNK_BYTES_MAX).await;
                read.map_err(|error| Failure::new(Exit::Storage, format!("reading a snapshot: {error}")))
            }
            Source::There { operators, address, held } => {
                let path = format!("/backup/{}/{number}?offset={offset}", held.id);
                operators.bytes_at(address, &path).await.map_err(|problem| problem.failure)
            }
        }
    }

    /// Lets the snapshot go.
    pub async fn release(self) {
        if let Source::There { operators, address, held } = self {
            let path = format!("/backup/{}/release", held.id);
            // It goes by itself after a while.
            let _ = operators.ask_at::<Value>(&address, &path, Some(&Value::Null)).await;
        }
    }
}

/// The manifest of a snapshot: reads all of its files.
pub async fn described(backup: &Backup) -> Result<Manifest, Failure> {
    let mut files = Vec::new();
    for (number, file) in backup.files().iter().enumerate() {
        let (mut digest, mut offset) = (Sha256::new(), 0);
        loop {
            let piece = backup.read(number, offset, CHUNK_BYTES_MAX).await;
            let piece = piece.map_err(|error| Failure::new(Exit::Storage, format!("reading a snapshot: {error}")))?;
            if piece.is_empty() {
                break;
            }
            digest.update(&piece);
            offset += piece.len() as u64;
        }
        files.push(FileView { name: file.name.clone(), bytes: file.bytes, sha256: hex(&digest.finalize()) });
    }
    let holding = backup.holding;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        cluster_id: format!("{:032x}", backup.cluster_id),
        lineage: holding.lineage,
        cluster_version: Some(holding.version),
        term: holding.term,
        index: holding.index,
        state_hash: format!("{:032x}", holding.state_hash),
        event_seq: holding.event_seq,
        ledger_ms: holding.now_ms,
        files,
        digest: String::new(),
    };
    Ok(manifest.sealed())
}
