//! The stories, on the store in memory. See [`crate::story`] for how they are written and regenerated.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use holdfast_ledger::store::MemoryStore;

use crate::hash_store::HashStore;
use crate::story::{Story, replay, stories};

fn all() -> Vec<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ledger/stories"));
    let stories = stories(folder).expect("the folder of the stories");
    assert!(stories.len() >= 40, "only {} stories found", stories.len());
    stories
}

/// Every story is told as it is written. All are run, also after one that differs.
#[test]
fn stories_are_told_as_they_are_written() {
    let differs = |path: &PathBuf| {
        let mut story = Story::new(MemoryStore::default());
        match catch_unwind(AssertUnwindSafe(|| goldenscript::run(&mut story, path))) {
            Ok(told) => told.inspect_err(|error| eprintln!("{}: {error}", path.display())).is_err(),
            Err(_) => true,
        }
    };
    let differ: Vec<_> = all().into_iter().filter(differs).collect();
    assert!(differ.is_empty(), "these stories differ: {differ:#?}");
}

/// On a store of another kind they are the same, to the hash of the state.
#[test]
fn stories_are_the_same_on_another_store() {
    for path in all() {
        replay(&path, HashStore::default()).unwrap_or_else(|differs| panic!("{differs}"));
    }
}

/// Every command's file names its stories, and they are there.
#[test]
fn commands_name_their_stories() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/commands"));
    let told: BTreeSet<String> =
        all().iter().map(|path| path.file_stem().expect("a name").to_string_lossy().replace('_', " ")).collect();
    for file in std::fs::read_dir(folder).expect("the folder of the commands") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a source");
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).map(|line| &line[3..]).collect();
        let Some((_, named)) = head.split_once("Story:").or_else(|| head.split_once("Stories:")) else {
            assert!(path.ends_with("mod.rs"), "{} names no story", path.display());
            continue;
        };
        for name in named.split('"').skip(1).step_by(2) {
            assert!(told.contains(name), "{}: no story is called {name:?}", path.display());
        }
    }
}

/// A transcript that differs is found: the test of the tests.
#[test]
fn a_changed_story_is_noticed() {
    let path = all().into_iter().find(|path| path.ends_with("two_buyers_one_ticket.txt")).expect("that story");
    let told = std::fs::read_to_string(&path).expect("a story");
    let changed = told.replace("carol: refused: ticket_reserved", "carol: ok");
    assert_ne!(told, changed);
    let folder = std::env::temp_dir().join(format!("holdfast-stories-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let copy = folder.join("changed.txt");
    std::fs::write(&copy, changed).expect("a file");
    let differs = replay(&copy, MemoryStore::default());
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    assert!(differs.is_err_and(|differs| differs.contains("ticket_reserved")), "the first line that differs is named");
}
