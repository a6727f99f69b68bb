//! The disk beside which a rate is to be read: one 8 kB write and one fdatasync, again and again.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::failure::Failure;

const BLOCK_BYTES: usize = 8 << 10;
/// The file is written over from its start after so many blocks: 64 MiB.
const BLOCKS: u64 = 8_192;

/// Writes with fdatasync a second in `dir`, over `duration`.
pub async fn fdatasync_rate(dir: PathBuf, duration: Duration) -> Result<f64, Failure> {
    let shown = dir.display().to_string();
    tokio::task::spawn_blocking(move || measure(&dir, duration))
        .await
        .map_err(|error| Failure::failed(format!("--fsync-dir: {error}")))?
        .map_err(|error| Failure::cannot_start(format!("--fsync-dir {shown}: {error}")))
}

fn measure(dir: &Path, duration: Duration) -> std::io::Result<f64> {
    let path = dir.join(format!("fdatasync-{}", std::process::id()));
    let result = write_and_sync(&path, duration);
    let _ = std::fs::remove_file(&path);
    result
}

fn write_and_sync(path: &Path, duration: Duration) -> std::io::Result<f64> {
    let mut file = File::options().create_new(true).write(true).open(path)?;
    let block = [0x5a; BLOCK_BYTES];
    let started = Instant::now();
    let mut writes = 0;
    while started.elapsed() < duration {
        if writes % BLOCKS == 0 {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&block)?;
        file.sync_data()?;
        writes += 1;
    }
    Ok(writes as f64 / started.elapsed().as_secs_f64())
}
