//! Which code a run is made of, as one number: seeds count together as long as it stays the same.
//!
//! It is made when the simulator is built, from the sources that decide how a run goes and not from the program: so another
//! profile, another folder or a change of what merely prints starts nothing anew. Tests at the end of a file do not count.
//!
//! What this deliberately does not do: look inside dependencies. The lock file and the compiler's version stand for them.

use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

/// Where the sources are, from the workspace's root.
pub const FOLDERS: [&str; 6] = ["ledger/src", "raft/src", "events/src", "api/src", "services/src", "sim/src"];
/// What they are built with, besides the manifest of each.
pub const MANIFESTS: [&str; 2] = ["Cargo.toml", "Cargo.lock"];
/// What only starts runs, and shows what came of them.
const AROUND: [&str; 5] = ["sim/src/cli/", "sim/src/view/", "sim/src/main.rs", "sim/src/export.rs", "sim/src/code.rs"];

/// Whether the file at `path`, from the workspace's root, decides how a run goes.
pub fn decides(path: &str) -> bool {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    path.ends_with(".rs") && !is_test && !AROUND.iter().any(|around| path.starts_with(around))
}

/// The text of a source without the tests that end it.
pub fn without_tests(text: &str) -> &str {
    let begins = ["\n#[cfg(test)]\nmod tests {", "\n#[cfg(all(test, not(madsim)))]\nmod tests {"];
    let Some((code, tests)) = begins.iter().find_map(|begin| text.split_once(begin)) else { return text };
    // Only if nothing comes after them.
    if tests.trim_end().ends_with("\n}") && tests.matches("\n}\n").count() == 1 { code } else { text }
}

/// The lock file without this workspace's own packages: what those of the simulator depend on stands in their manifests.
pub fn without_own(lock: &str) -> String {
    let packages = lock.split("\n[[package]]\n");
    packages.filter(|package| !package.starts_with("name = ") || package.contains("\nsource = ")).collect()
}

/// One number for all of it: for each source its path and text, whatever order they come in, and the compiler's version.
pub fn hash(sources: &[(String, String)], compiler: &str) -> u64 {
    let mut sources: Vec<(&str, &str)> = sources.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    sources.sort_unstable();
    let mut hasher = Xxh3::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(compiler);
    for (path, text) in sources {
        add(path);
        match Path::new(path).extension().and_then(|kind| kind.to_str()) {
            Some("rs") => add(without_tests(text)),
            Some("lock") => add(&without_own(text)),
            _ => add(text),
        }
    }
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(texts: [(&str, &str); 2]) -> Vec<(String, String)> {
        texts.map(|(path, text)| (path.to_string(), text.to_string())).to_vec()
    }

    #[test]
    fn every_change_of_simulated_code_is_another_hash() {
        let code = [("ledger/src/state.rs", "fn apply() {}\n"), ("Cargo.lock", "version = 4\n")];
        let known = hash(&sources(code), "rustc 1");
        assert_eq!(hash(&sources([code[1], code[0]]), "rustc 1"), known, "the order does not count");
        assert_ne!(hash(&sources(code), "rustc 2"), known);
        for other in ["fn apply() {}", "fn apply() { }\n", "fn apply() {}\nfn more() {}\n"] {
            assert_ne!(hash(&sources([(code[0].0, other), code[1]]), "rustc 1"), known, "{other:?}");
        }
        assert_ne!(hash(&sources([("ledger/src/other.rs", code[0].1), code[1]]), "rustc 1"), known);
        assert_ne!(hash(&sources([code[0], (code[1].0, "version = 5\n")]), "rustc 1"), known);
    }

    #[test]
    fn tests_at_the_end_of_a_file_do_not_count_and_what_follows_them_does() {
        let hash = |text: &str| hash(&sources([("raft/src/reads.rs", text), ("Cargo.toml", "")]), "");
        let tests = |body: &str| format!("fn read() {{}}\n\n#[cfg(test)]\nmod tests {{\n{body}}}\n");
        assert_eq!(hash(&tests("    fn one() {\n    }\n")), hash(&tests("")));
        let more = |body: &str| tests(body) + "\nfn more() {\n}\n";
        assert_ne!(hash(&more("    fn one() {}\n")), hash(&more("")));
    }

    #[test]
    fn what_this_workspaces_packages_depend_on_does_not_count_twice() {
        let hash = |lock: &str| hash(&sources([("Cargo.lock", lock), ("Cargo.toml", "")]), "");
        let lock = |own: &str, other: &str| {
            let own = format!("[[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = [\n \"{own}\",\n]\n");
            let other = format!("[[package]]\nname = \"other\"\nversion = \"{other}\"\nsource = \"a registry\"\n");
            format!("version = 4\n\n{own}\n{other}")
        };
        assert_eq!(hash(&lock("one", "1.0.0")), hash(&lock("two", "1.0.0")));
        assert_ne!(hash(&lock("one", "1.0.0")), hash(&lock("one", "1.0.1")));
    }

    #[test]
    fn what_prints_and_what_tests_decides_nothing() {
        for path in ["ledger/src/state.rs", "sim/src/run.rs", "sim/src/check.rs", "api/src/tickets/mod.rs"] {
            assert!(decides(path), "{path}");
        }
        for path in ["sim/src/cli/swarm.rs", "sim/src/view/page.html", "sim/src/main.rs", "ledger/src/sweep/tests.rs"] {
            assert!(!decides(path), "{path}");
        }
    }
}
