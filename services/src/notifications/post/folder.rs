//! Mails as `.eml` files in a folder, for development and tests.
//!
//! A file is there whole or not at all, and a mail that comes again replaces itself: its file has its name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Post, Undelivered};
use crate::notifications::Mail;

/// A folder that mails are put into.
pub struct Folder {
    place: Arc<Place>,
}

struct Place {
    folder: PathBuf,
    /// So that two writers of one process never write the same unfinished file.
    writes: AtomicU64,
}

impl Folder {
    /// The folder at `folder`; made if it is not there.
    pub fn new(folder: impl Into<PathBuf>) -> io::Result<Folder> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Folder { place: Arc::new(Place { folder, writes: AtomicU64::new(0) }) })
    }
}

impl Place {
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(format!(".{name}.{}.{number}", std::process::id()));
        let written = write_synced(&unfinished, bytes)
            .and_then(|()| fs::rename(&unfinished, self.folder.join(format!("{name}.eml"))))
            .and_then(|()| File::open(&self.folder)?.sync_all());
        if written.is_err() {
            // What cannot be removed either is left: nobody takes an unfinished file for a mail.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl Post for Folder {
    fn deliver<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), Undelivered>> {
        let (place, name, bytes) = (self.place.clone(), mail.name().to_string(), mail.bytes().to_vec());
        async move {
            let written = tokio::task::spawn_blocking(move || place.put(&name, &bytes)).await;
            match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Undelivered::Later(format!("the folder of mails: {error}"))),
                Err(_) => Err(Undelivered::Later("the folder of mails: writing was broken off".into())),
            }
        }
        .boxed()
    }
}
