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

/// Copies the files that the store does not have, and then the manifest. Files that somebody removed meanwhile, because no
/// manifest named them yet, are copied again.
pub async fn copy(source: &Source, store: &Store) -> Result<(Manifest, Copied), Failure> {
    let manifest = source.manifest().await?;
    let mut copied = copy_missing(source, store, &manifest).await?;
    store.put_manifest(&manifest).await?;
    let again = copy_missing(source, store, &manifest).await?;
    copied.files += again.files;
    copied.bytes += again.bytes;
    Ok((manifest, copied))
}

async fn copy_missing(source: &Source, store: &Store, manifest: &Manifest) -> Result<Copied, Failure> {
    let mut copied = Copied::default();
    for (number, file) in manifest.files.iter().enumerate() {
        if !store.has(file).await? {
            source.copy(number, file, store).await?;
            copied.files += 1;
            copied.bytes += file.bytes;
        }
    }
    Ok(copied)
}
