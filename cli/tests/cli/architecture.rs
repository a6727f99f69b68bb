//! The invariants about absences in `docs/ARCHITECTURE.md`: what must never stand in a folder, checked against its sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A rule: none of `words` stands in code (comments aside) under `folders`, but for files whose path ends with one of `except`.
struct Absence {
    name: &'static str,
    folders: &'static [&'static str],
    words: &'static [&'static str],
    except: &'static [&'static str],
}

const ABSENCES: &[Absence] = &[
    Absence {
        name: "the ledger reads no clock, draws no randomness, does no I/O and has no async",
        folders: &["ledger/src"],
        words: &[
            "std::time",
            "SystemTime",
            "Instant",
            "rand",
            "getrandom",
            "async",
            "tokio",
            "std::fs",
            "std::net",
            "std::thread",
            "std::io",
        ],
        except: &[],
    },
    Absence {
        name: "the ledger iterates nothing unordered and computes nothing in floats",
        folders: &["ledger/src"],
        words: &["HashMap", "HashSet", "f32", "f64"],
        // The bugs that the simulator plants iterate one on purpose.
        except: &["ledger/src/planted.rs"],
    },
    Absence {
        name: "openraft is named in raft/ alone",
        folders: &["ledger/src", "api/src", "cli/src", "sim/src"],
        words: &["openraft"],
        except: &[],
    },
    Absence {
        name: "RocksDB is named in raft/ alone",
        folders: &["ledger/src", "api/src", "cli/src", "sim/src"],
        words: &["rocksdb"],
        except: &[],
    },
    Absence {
        name: "bincode is named in one file",
        folders: &["ledger/src", "raft/src", "api/src", "cli/src", "sim/src"],
        words: &["bincode"],
        except: &["ledger/src/codec.rs"],
    },
    Absence {
        name: "replication knows no HTTP of clients and no broker",
        folders: &["ledger/src", "raft/src"],
        words: &["axum", "async_nats", "reqwest"],
        except: &[],
    },
    Absence {
        name: "pages ask the ledger nothing but through the interface",
        folders: &["api/src/pages"],
        words: &["propose", "app.node", "app.read", "holdfast_raft", "holdfast_ledger::query"],
        except: &[],
    },
    Absence {
        name: "the NATS client is named in one folder",
        folders: &["ledger/src", "raft/src", "events/src", "services/src", "api/src", "cli/src", "sim/src"],
        words: &["async_nats"],
        except: &[
            // What its log lines are called.
            "cli/src/lib.rs",
            "events/src/nats/figures.rs",
            "events/src/nats/login.rs",
            "events/src/nats/mod.rs",
            "events/src/nats/pull.rs",
            "events/src/nats/stream.rs",
        ],
    },
    Absence {
        name: "what the simulator builds spawns no thread and takes no real socket",
        folders: &["ledger/src", "sim/src"],
        words: &["std::thread::spawn", "std::net::Tcp", "TcpListener"],
        except: &["sim/src/main.rs"],
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines of `text` in which `word` stands as a whole word outside comments, up to the file's unit tests.
fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .enumerate()
        .filter(|(_, line)| {
            let code = line.split("//").next().unwrap_or_default();
            code.match_indices(word).any(|(at, _)| {
                let bytes = code.as_bytes();
                !is_word(at.checked_sub(1).and_then(|before| bytes.get(before))) && !is_word(bytes.get(at + word.len()))
            })
        })
        .map(|(number, _)| number + 1)
        .collect()
}

#[test]
fn what_must_be_absent_is_absent() {
    let mut violations = Vec::new();
    for rule in ABSENCES {
        let mut files = Vec::new();
        rule.folders.iter().for_each(|folder| sources(&root().join(folder), &mut files));
        assert!(!files.is_empty(), "{}: no sources found", rule.name);
        for file in files.iter().filter(|file| !rule.except.iter().any(|except| file.ends_with(except))) {
            let text = fs::read_to_string(file).expect("readable source");
            for word in rule.words {
                for line in lines_with(&text, word) {
                    violations.push(format!("{}: `{word}` in {}:{line}", rule.name, file.display()));
                }
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_check_sees_a_planted_word_and_no_comment() {
    let text = "use std::collections::HashMap;\n// HashMap\nlet my_HashMap2 = 1;\n#[cfg(test)]\nHashMap";
    assert_eq!(lines_with(text, "HashMap"), [1]);
}

#[test]
fn every_rule_stands_in_the_architecture_document() {
    let document = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    for rule in ABSENCES {
        assert!(document.contains(rule.name), "docs/ARCHITECTURE.md does not state: {}", rule.name);
    }
}

/// Planted bugs and the version that upgrades are tested with are features, which the simulator and the tests alone turn on. Cargo says
/// which ones a build of the program by itself has.
#[test]
fn what_is_shipped_has_no_feature_of_the_tests() {
    let tree = |features: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "tree",
            "--locked",
            "--offline",
            "--package",
            "holdfast",
            "--prefix",
            "none",
            "--format",
            "{p}:{f}",
        ]);
        let said = cargo.args(["--edges", features]).current_dir(root()).output().expect("cargo runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).expect("text")
    };
    let of_tests = |tree: &str| {
        let ours = tree.lines().filter(|line| line.starts_with("holdfast"));
        ours.filter(|line| line.contains("next-version") || line.contains("planted")).count()
    };
    let shipped = tree("normal,build");
    assert!(shipped.contains("holdfast-ledger"), "{shipped}");
    assert_eq!(of_tests(&shipped), 0, "{shipped}");
    assert!(of_tests(&tree("normal,dev")) > 0, "the tests have it, and so would be seen here");
}

#[test]
fn every_direct_dependency_has_its_line() {
    let document = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let dependencies = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next())
        .expect("the workspace's dependencies");
    for name in dependencies.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim()) {
        if !name.starts_with('#') && !name.starts_with("holdfast") {
            assert!(document.contains(&format!("`{name}`")), "docs/ARCHITECTURE.md has no line for `{name}`");
        }
    }
}
