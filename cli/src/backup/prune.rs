//! `holdfast backup prune`: old backups go, and the files that only they have.
//!
//! Counted from the newest, so many backups stay that are *good*: their manifest is intact and every file is there with its length.
//! What is older than the last of them goes. So there is always a good one, and a damaged one that is newer than that stays to be
//! looked at. A file stays while a manifest that stays names it, and while it is young: it may belong to a backup that is being
//! made, whose manifest comes last.
//!
//! What this deliberately does not do: read the files. `backup verify` and `backup drill` do.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::StoreArgs;
use super::store::Store;
use crate::failure::{Exit, Failure};

/// A file that no manifest names stays for so long: a backup may be under way that has it.
pub const UNFINISHED: Duration = Duration::from_secs(3_600);

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// How many backups stay that can be restored
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    keep: u32,
    /// A file of no backup stays while it is younger: it may be of one that is being made
    #[arg(long, value_name = "SECONDS", default_value_t = UNFINISHED.as_secs())]
    unfinished_s: u64,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What went and what stayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Newest first.
    pub kept: Vec<String>,
    pub removed: Vec<String>,
    pub files: usize,
    pub bytes: u64,
}

pub async fn run(args: &PruneArgs) -> Result<(), Failure> {
    let store = Store::open(&args.store.from, false)?;
    let pruned = prune(&store, args.keep as usize, Duration::from_secs(args.unfinished_s), args.dry_run).await?;
    if args.store.json {
        say!(
            "{}",
            json!({
                "kept": pruned.kept, "removed": pruned.removed, "removed_files": pruned.files,
                "removed_bytes": pruned.bytes, "done": !args.dry_run,
            })
        );
        return Ok(());
    }
    pruned.kept.iter().for_each(|name| say!("stays  {name}"));
    pruned.removed.iter().for_each(|name| say!("goes   {name}"));
    say!("and {} files, {} bytes, that no backup has any more", pruned.files, pruned.bytes);
    if args.dry_run {
        say!("Nothing was done: this was --dry-run.");
    }
    Ok(())
}

/// Removes all backups that are older than the newest `keep` good ones, and the files that no backup names and that are older than
/// `unfinished`.
pub async fn prune(store: &Store, keep: usize, unfinished: Duration, dry_run: bool) -> Result<Pruned, Failure> {
    let (mut kept, mut removed, mut good) = (Vec::new(), Vec::new(), 0);
    for name in store.names().await?.into_iter().rev() {
        if good >= keep {
            removed.push(name);
        } else {
            good += usize::from(is_good(store, &name).await?);
            kept.push(name);
        }
    }
    // Whatever a manifest names that cannot be read must stay, and nobody knows what that is.
    named(store, &kept).await?;
    if !dry_run {
        for name in removed.iter().rev() {
            store.remove_manifest(name).await?;
        }
    }
    // Somebody may have added one meanwhile.
    let staying: Vec<String> = store.names().await?.into_iter().filter(|name| !removed.contains(name)).collect();
    let named = named(store, &staying).await?;
    let (mut files, mut bytes) = (0, 0);
    for (sha256, length, age_s) in store.blobs().await? {
        if named.contains(&sha256) || age_s < unfinished.as_secs() {
            continue;
        }
        if !dry_run {
            store.remove_blob(&sha256).await?;
        }
        files += 1;
        bytes += length;
    }
    Ok(Pruned { kept, removed, files, bytes })
}

/// Whether a backup's manifest is intact and all its files are there.
async fn is_good(store: &Store, name: &str) -> Result<bool, Failure> {
    let manifest = match store.manifest(Some(name)).await {
        Err(failure) if failure.exit == Exit::Damaged => return Ok(false),
        manifest => manifest?,
    };
    for file in &manifest.files {
        if !store.has(file).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The checksums of all files that these backups name.
async fn named(store: &Store, backups: &[String]) -> Result<BTreeSet<String>, Failure> {
    let mut named = BTreeSet::new();
    for name in backups {
        let manifest = store.manifest(Some(name)).await.map_err(|failure| {
            let message = format!("{}: nothing was removed, as nobody knows what it names", failure.message);
            Failure::new(failure.exit, message)
        })?;
        named.extend(manifest.files.into_iter().map(|file| file.sha256));
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use holdfast_ledger::version::FIRST;

    use super::super::manifest::{FORMAT, FileView, Manifest, sha256};
    use super::*;

    /// Puts a backup with these files into the store.
    async fn put(store: &Store, index: u64, files: &[&str]) -> Manifest {
        let view = |content: &&str| FileView {
            name: format!("{content}.sst"),
            bytes: content.len() as u64,
            sha256: sha256(content.as_bytes()),
        };
        for content in files {
            let mut upload = store.upload(&view(content)).await.unwrap();
            upload.write(content.as_bytes().to_vec().into()).await.unwrap();
            upload.finish().await.unwrap();
        }
        let manifest = Manifest {
            format: FORMAT,
            version: "0".into(),
            cluster_id: "0".repeat(32),
            lineage: 0,
            cluster_version: Some(FIRST),
            term: 1,
            index,
            state_hash: "0".repeat(32),
            event_seq: 0,
            ledger_ms: 0,
            files: files.iter().map(view).collect(),
            digest: String::new(),
        };
        let manifest = manifest.sealed();
        store.put_manifest(&manifest).await.unwrap();
        manifest
    }

    fn blob(dir: &Path, content: &str) -> std::path::PathBuf {
        dir.join("blobs").join(sha256(content.as_bytes()))
    }

    #[tokio::test]
    async fn old_backups_go_with_what_only_they_have() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_str().unwrap(), true).unwrap();
        put(&store, 1, &["one", "shared"]).await;
        put(&store, 2, &["two", "shared"]).await;
        let third = put(&store, 3, &["three", "shared"]).await;
        let young = prune(&store, 1, UNFINISHED, true).await.unwrap();
        assert_eq!((young.removed.len(), young.files), (2, 0), "young files may belong to a backup that is being made");
        let dry = prune(&store, 1, Duration::ZERO, true).await.unwrap();
        assert_eq!((dry.kept.clone(), dry.files, dry.bytes), (vec![third.name()], 2, 6));
        assert_eq!(store.names().await.unwrap().len(), 3, "a dry run removes nothing");
        assert_eq!(prune(&store, 1, Duration::ZERO, false).await.unwrap(), dry);
        assert_eq!(store.names().await.unwrap(), [third.name()]);
        for (content, stays) in [("one", false), ("two", false), ("three", true), ("shared", true)] {
            assert_eq!(blob(dir.path(), content).exists(), stays, "{content}");
        }
    }

    #[tokio::test]
    async fn the_newest_good_one_never_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_str().unwrap(), true).unwrap();
        let [first, second, third] =
            [put(&store, 1, &["one"]).await, put(&store, 2, &["two"]).await, put(&store, 3, &["three"]).await];
        std::fs::remove_file(blob(dir.path(), "three")).unwrap();
        let pruned = prune(&store, 1, Duration::ZERO, false).await.unwrap();
        assert_eq!((pruned.kept, pruned.removed), (vec![third.name(), second.name()], vec![first.name()]));
        assert!(blob(dir.path(), "two").exists() && !blob(dir.path(), "one").exists());

        // One that cannot be read may name anything.
        std::fs::write(dir.path().join(format!("backups/{}.json", third.name())), "{}").unwrap();
        let refused = prune(&store, 1, Duration::ZERO, false).await.unwrap_err();
        assert_eq!(refused.exit, Exit::Damaged);
        assert!(
            refused.message.contains(&third.name()) && refused.message.contains("nothing was removed"),
            "{refused}"
        );
        assert!(blob(dir.path(), "two").exists());
    }
}
