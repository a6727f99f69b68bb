//! Tells the simulator the hash of the code that it simulates, for the book of swarms.

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

#[path = "src/code.rs"]
mod code;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Without the simulator there is nothing to count.
    if env::var_os("CARGO_CFG_MADSIM").is_none() {
        return;
    }
    let here = env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    let root = Path::new(&here).parent().expect("the workspace's root");
    let mut sources = Vec::new();
    let manifests = code::FOLDERS.map(|folder| folder.replace("/src", "/Cargo.toml"));
    for path in code::MANIFESTS.into_iter().chain(manifests.iter().map(String::as_str)) {
        println!("cargo::rerun-if-changed=../{path}");
        sources.push((path.to_string(), fs::read_to_string(root.join(path)).expect("a readable manifest")));
    }
    for folder in code::FOLDERS {
        println!("cargo::rerun-if-changed=../{folder}");
        read(root, folder, &mut sources).expect("readable sources");
    }
    let compiler = env::var_os("RUSTC").expect("cargo names its compiler");
    let version = Command::new(compiler).arg("-vV").output().expect("the compiler tells its version").stdout;
    println!("cargo::rustc-env=SIMULATED_CODE={:016x}", code::hash(&sources, &String::from_utf8_lossy(&version)));
}

/// All sources below a folder that decide how a run goes.
fn read(root: &Path, folder: &str, sources: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read(root, &path, sources)?;
        } else if code::decides(&path) {
            sources.push((path, fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}
