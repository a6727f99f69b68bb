//! Where the other programs are that `deploy/tools.sh` installed.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A program of that folder: from `HOLDFAST_TOOLS`, else from `tools` in the target directory that `program` was built into,
/// else from `PATH`.
pub fn find(name: &str, program: &Path) -> Result<PathBuf, Failure> {
    let told = std::env::var_os("HOLDFAST_TOOLS").map(PathBuf::from);
    let beside = program.ancestors().skip(1).take(3).map(|folder| folder.join("tools"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    told.into_iter()
        .chain(beside)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .ok_or_else(|| Failure::cannot_start(format!("{name} is not installed: `make tools-tests` does it")))
}
