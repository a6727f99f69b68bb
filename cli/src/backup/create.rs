//! Copying a snapshot into a store.

use super::manifest::Manifest;
use super::source::Source;
use super::store::Store;
use crate::failure::Failure;

/// What was not in the store yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    pub files: usize,
    pub bytes: u64,
}

/// Copies the files that the store does not have, and then the manifest.
pub async fn copy(source: &Source, store: &Store) -> Result<(Manifest, Copied), Failure> {
    let manifest = source.manifest().await?;
    let mut copied = Copied::default();
    for (number, file) in manifest.files.iter().enumerate() {
        if store.has(file).await? {
            continue;
        }
        store.put(file, source.file(number, file).await?).await?;
        copied.files += 1;
        copied.bytes += file.bytes;
    }
    store.put_manifest(&manifest).await?;
    Ok((manifest, copied))
}
