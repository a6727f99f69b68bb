//! Where backups are kept: a folder, or a store that speaks S3.
//!
//! `blobs/<sha256>` are files of any backup, `backups/<name>.json` are the manifests. A manifest is written last, so that what it
//! names is there; a file is written as a whole or not at all. Files travel in pieces: what is in memory of one is bounded, however
//! long it is.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt, RetryConfig, WriteMultipart};
use sha2::{Digest, Sha256};

use super::manifest::{FileView, Manifest, hex};
use crate::failure::{Exit, Failure};

/// The longest file of a backup, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 30;
/// A file that is longer is sent in parts of this length; 10,000 parts are the most that S3 takes.
const PART_BYTES: usize = 8 << 20;
/// Parts of one file that are under way at once.
const PARTS_MAX: usize = 2;
/// How often, and for how long in all, one request to a store is tried again.
const RETRIES_MAX: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
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
            Some(_) => return Store::bucket(AmazonS3Builder::from_env(), place),
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

    /// What stands under `s3://bucket/prefix`; `server`: where, and as whom.
    fn bucket(server: AmazonS3Builder, place: &str) -> Result<Store, Failure> {
        let bucket = server.with_url(place).with_retry(retry()).build();
        let bucket = bucket.map_err(|error| Failure::cannot_start(format!("{place}: {error}")))?;
        let path = place.trim_start_matches("s3://").trim_end_matches('/');
        let prefix = path.split_once('/').map_or("", |(_, prefix)| prefix);
        Ok(Store { objects: Arc::new(PrefixStore::new(bucket, prefix)), name: place.into() })
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

    /// Begins to write a file.
    pub async fn upload(&self, file: &FileView) -> Result<Upload<'_>, Failure> {
        let path = Store::blob(file);
        let parts = match file.bytes > PART_BYTES as u64 {
            true => {
                let parts = self.objects.put_multipart(&path).await.map_err(|error| self.failed(&error))?;
                Some(WriteMultipart::new_with_chunk_size(parts, PART_BYTES))
            }
            false => None,
        };
        Ok(Upload { store: self, path, parts, whole: Vec::new() })
    }

    /// Reads a file piece by piece and compares it with its checksum at the end; what was taken by then is worth nothing if this
    /// fails.
    pub async fn read_file(
        &self,
        file: &FileView,
        mut take: impl FnMut(Bytes) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let path = Store::blob(file);
        let damaged = |what: &str| {
            let message = format!("{}: file {} ({path}) is damaged: {what}", self.name, file.name);
            Failure::new(Exit::Damaged, message)
        };
        let found = match self.objects.get(&path).await {
            Err(Error::NotFound { .. }) => return Err(damaged("it is not there")),
            found => found.map_err(|error| self.failed(&error))?,
        };
        let (mut digest, mut bytes) = (Sha256::new(), 0);
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.failed(&error))?;
            bytes += piece.len() as u64;
            if bytes > file.bytes {
                return Err(damaged("it is too long"));
            }
            digest.update(&piece);
            take(piece)?;
        }
        match (bytes == file.bytes, hex(&digest.finalize()) == file.sha256) {
            (true, true) => Ok(()),
            (false, _) => Err(damaged("it is too short")),
            (true, false) => Err(damaged("its checksum is wrong")),
        }
    }

    async fn read(&self, path: &Path, bytes_max: u64) -> Result<Bytes, Failure> {
        let found = self.objects.get(path).await.map_err(|error| self.failed(&error))?;
        if found.meta.size > bytes_max {
            return Err(Failure::new(Exit::Damaged, format!("{}: {path} is longer than {bytes_max} bytes", self.name)));
        }
        found.bytes().await.map_err(|error| self.failed(&error))
    }

    /// The checksums of all files that are there, with their lengths in bytes and ages in seconds.
    pub async fn blobs(&self) -> Result<Vec<(String, u64, u64)>, Failure> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut listed = self.objects.list(Some(&Path::from("blobs")));
        let mut blobs = Vec::new();
        while let Some(meta) = listed.next().await {
            let meta = meta.map_err(|error| self.failed(&error))?;
            let age_s = now_s.saturating_sub(meta.last_modified.timestamp().max(0) as u64);
            blobs.extend(meta.location.filename().map(|name| (name.to_string(), meta.size, age_s)));
        }
        Ok(blobs)
    }

    pub async fn remove_blob(&self, sha256: &str) -> Result<(), Failure> {
        self.remove(&Path::from(format!("blobs/{sha256}"))).await
    }

    /// Removes what makes a backup of some files; the files stay.
    pub async fn remove_manifest(&self, name: &str) -> Result<(), Failure> {
        self.remove(&Path::from(format!("backups/{name}.json"))).await
    }

    async fn remove(&self, path: &Path) -> Result<(), Failure> {
        match self.objects.delete(path).await {
            // Somebody else was faster.
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
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

fn retry() -> RetryConfig {
    RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}

/// A file that is being written. It is there once this is finished; dropped before, its parts wait for the store to remove them.
pub struct Upload<'a> {
    store: &'a Store,
    path: Path,
    parts: Option<WriteMultipart>,
    /// Of a file that is not worth parts.
    whole: Vec<u8>,
}

impl Upload<'_> {
    /// Adds a piece. Waits while too many parts are under way.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), Failure> {
        match &mut self.parts {
            Some(parts) => {
                parts.wait_for_capacity(PARTS_MAX).await.map_err(|error| self.store.failed(&error))?;
                parts.put(piece);
            }
            None => self.whole.extend_from_slice(&piece),
        }
        Ok(())
    }

    pub async fn finish(self) -> Result<(), Failure> {
        let finished = match self.parts {
            Some(parts) => parts.finish().await,
            None => self.store.objects.put(&self.path, self.whole.into()).await,
        };
        finished.map(|_| ()).map_err(|error| self.store.failed(&error))
    }

    /// Gives it up.
    pub async fn abort(self) {
        if let Some(parts) = self.parts {
            // What is left of it is the store's to remove.
            let _ = parts.abort().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::super::manifest::sha256;
    use super::*;
    use crate::tools;

    /// A server that speaks S3, and its address.
    struct S3(Child, String);

    impl S3 {
        fn start() -> S3 {
            let program = std::env::current_exe().unwrap();
            let python = tools::find("s3/bin/python", &program).expect("the test tools");
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/s3.py");
            let mut command = Command::new(python);
            let mut server =
                command.args([script, "bucket"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
            let ready =
                lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("ready: "))).unwrap().unwrap();
            S3(server, format!("http://127.0.0.1:{}", ready.trim_start_matches("ready: ")))
        }
    }

    impl Drop for S3 {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A file of several parts that is written in pieces of another length comes back as it was, and what is cut off is noticed.
    async fn keeps_a_long_file(store: &Store) {
        let content: Vec<u8> = (0..2 * PART_BYTES + 12_345).map(|at| (at / 7 % 251) as u8).collect();
        let file = FileView { name: "long.sst".into(), bytes: content.len() as u64, sha256: sha256(&content) };
        let mut upload = store.upload(&file).await.unwrap();
        for piece in content.chunks(1 << 20) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert!(!store.has(&file).await.unwrap(), "a file is there as a whole or not at all");
        upload.finish().await.unwrap();
        assert!(store.has(&file).await.unwrap());
        let (mut read, mut pieces) = (Vec::new(), 0);
        let take = |piece: Bytes| {
            pieces += 1;
            read.extend_from_slice(&piece);
            Ok(())
        };
        store.read_file(&file, take).await.unwrap();
        assert!(read == content && pieces > 1, "{} bytes in {pieces} pieces", read.len());

        let longer = FileView { bytes: file.bytes + 1, ..file.clone() };
        let cut = store.read_file(&longer, |_| Ok(())).await.unwrap_err();
        assert_eq!(cut.exit, Exit::Damaged);
        let found = format!("long.sst (blobs/{}) is damaged: it is too short", file.sha256);
        assert!(cut.message.contains(&found), "{cut}");
        store.remove_blob(&file.sha256).await.unwrap();
        let gone = store.read_file(&file, |_| Ok(())).await.unwrap_err();
        assert!(gone.exit == Exit::Damaged && gone.message.contains("long.sst"), "{gone}");
    }

    #[tokio::test]
    async fn a_folder_keeps_a_long_file() {
        let dir = tempfile::tempdir().unwrap();
        keeps_a_long_file(&Store::open(dir.path().to_str().unwrap(), true).unwrap()).await;
    }

    #[tokio::test]
    async fn a_store_that_speaks_s3_keeps_a_long_file_in_parts() {
        let server = S3::start();
        let builder = AmazonS3Builder::new().with_endpoint(&server.1).with_allow_http(true).with_region("us-east-1");
        let builder = builder.with_access_key_id("key").with_secret_access_key("secret");
        keeps_a_long_file(&Store::bucket(builder, "s3://bucket/some/prefix").unwrap()).await;
    }
}
