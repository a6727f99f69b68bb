//! Every named scenario keeps all promises.

use std::fs;
use std::path::PathBuf;

use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::Schedule;

#[test]
fn every_named_scenario_passes() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder of scenarios").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(&file).expect("a readable file");
        let schedule = Schedule::parse(&text).unwrap_or_else(|invalid| panic!("{name}: {invalid}"));
        assert!(!schedule.story.is_empty(), "{name} tells no story");
        let report = run(&schedule, false);
        assert_eq!(report.class, Class::Passed, "{name}: {:#?}", report.findings);
    }
}
