//! Where backups are kept: a folder, or a store that speaks S3.
//!
//! `blobs/<sha256>` are files of any backup, `backups/<name>.json` are the manifests. A manifest is written last, so that what it
//! names is there; a file is written as a whole or not at all.

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt};

use super::manifest::{FileView, Manifest, sha256};
use crate::failure::{Exit, Failure};

/// The longest file of a backup, in bytes: files are held in memory one at a time.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
/// The longest manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// A place for backups.
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// As it was said.
    name: String,
}

impl Store {
    /// Opens `s3://bucket/prefix`, with what `AWS_*` variables say of endpoint and keys, or a folder.
    pub fn open(place: &str, make: bool) -> Result<Store, Failure> {
        let complain = |error: &dyn std::fmt::Display| Failure::cannot_start(format!("{place}: {error}"));
        let objects: Arc<dyn ObjectStore> = match place.strip_prefix("s3://") {
            Some(rest) => {
                let bucket = AmazonS3Builder::from_env().with_url(place).build().map_err(|error| complain(&error))?;
                let prefix = rest.split_once('/').map_or("", |(_, prefix)| prefix).trim_end_matches('/');
                Arc::new(PrefixStore::new(bucket, prefix))
            }
            None => {
                if make {
                    std::fs::create_dir_all(place).map_err(|error| complain(&error))?;
                } else if !FilePath::new(place).is_dir() {
                    return Err(complain(&"no such folder"));
                }
                let folder = LocalFileSystem::new_with_prefix(place).map_err(|error| complain(&error))?;
                Arc::new(folder.with_fsync(true))
            }
        };
        Ok(Store { objects, name: place.into() })
    }

    fn failed(&self, error: &Error) -> Failure {
        let exit = match error {
            Error::NotFound { .. } => Exit::Damaged,
            _ => Exit::Unreachable,
        };
        Failure::new(exit, format!("{}: {error}", self.name))
    }

    fn blob(file: &FileView) -> Path {
        Path::from(format!("blobs/{}", file.sha256))
    }

    /// Whether a file is there already.
    pub async fn has(&self, file: &FileView) -> Result<bool, Failure> {
        match self.objects.head(&Store::blob(file)).await {
            Ok(meta) => Ok(meta.size == file.bytes),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub async fn put(&self, file: &FileView, content: Bytes) -> Result<(), Failure> {
        let put = self.objects.put(&Store::blob(file), content.into()).await;
        put.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// Reads a file and compares it with its checksum.
    pub async fn get(&self, file: &FileView) -> Result<Bytes, Failure> {
        let content = self.read(&Store::blob(file), FILE_BYTES_MAX).await?;
        if content.len() as u64 != file.bytes || sha256(&content) != file.sha256 {
            let message = format!("{}: file {} is damaged: its checksum is wrong", self.name, file.name);
            return Err(Failure::new(Exit::Damaged, message));
        }
        Ok(content)
    }

    async fn read(&self, path: &Path, bytes_max: u64) -> Result<Bytes, Failure> {
        let found = self.objects.get(path).await.map_err(|error| self.failed(&error))?;
        if found.meta.size > bytes_max {
            return Err(Failure::new(Exit::Damaged, format!("{}: {path} is longer than {bytes_max} bytes", self.name)));
        }
        found.bytes().await.map_err(|error| self.failed(&error))
    }

    pub async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Failure> {
        let json = serde_json::to_vec_pretty(manifest).expect("a manifest is plain JSON");
        let path = Path::from(format!("backups/{}.json", manifest.name()));
        self.objects.put(&path, json.into()).await.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// The names of all backups, oldest first.
    pub async fn names(&self) -> Result<Vec<String>, Failure> {
        let listed = self.objects.list_with_delimiter(Some(&Path::from("backups"))).await;
        let listed = listed.map_err(|error| self.failed(&error))?;
        let name = |path: &Path| path.filename()?.strip_suffix(".json").map(str::to_string);
        let mut names: Vec<String> = listed.objects.iter().filter_map(|object| name(&object.location)).collect();
        names.sort();
        Ok(names)
    }

    /// The manifest of a backup; of the newest one without a name.
    pub async fn manifest(&self, name: Option<&str>) -> Result<Manifest, Failure> {
        let name = match name {
            Some(name) => name.to_string(),
            None => {
                let newest = self.names().await?.pop();
                newest.ok_or_else(|| Failure::failed(format!("{}: there is no backup", self.name)))?
            }
        };
        let json = self.read(&Path::from(format!("backups/{name}.json")), MANIFEST_BYTES_MAX).await?;
        Manifest::read(&name, &json)
    }
}
