//! Seeds with the whole mix of faults, on clusters of different sizes, two at a time; every tenth is run twice.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, run};

const SEEDS: u64 = 280;
const JOBS: u32 = 2;
const AGAIN_EVERY: u64 = 10;
/// Of the clusters, in turn. None has one node: that one's clock has nobody to agree with, and once it has jumped ahead, locks
/// wait for it.
const NODES: [u32; 4] = [3, 3, 5, 3];

#[test]
fn two_hundred_and_eighty_seeds_keep_all_promises_and_repeat() {
    let next = AtomicU64::new(0);
    let wrong: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    let nodes = NODES[seed as usize % NODES.len()];
                    let schedule = from_seed(seed, Size { nodes, duration_ms: 15_000 });
                    let report = run(&schedule, false);
                    let says = |what: String| wrong.lock().expect("nobody panics while writing").push(what);
                    if report.class != Class::Passed {
                        says(format!("seed {seed}, {nodes} nodes: {:#?}", report.findings));
                    }
                    if seed.is_multiple_of(AGAIN_EVERY) && run(&schedule, false).trace.hash != report.trace.hash {
                        says(format!("seed {seed}, {nodes} nodes: two runs differ"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("nobody panics while writing");
    assert!(wrong.is_empty(), "{} of {SEEDS} seeds fail:\n{}", wrong.len(), wrong.join("\n"));
}
