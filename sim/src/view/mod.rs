//! A picture of a run: one page that needs nothing else, with time across and nodes and clients down.
//!
//! It is made from the run's trace and its calls: when each node was up, who led, how far each had applied, what went from
//! node to node and what became of it on the way, which faults were under way, what the clients asked and were told. Calls
//! about the entities that a finding names are marked: they are where to look for its cause.
//!
//! What this deliberately does not do: keep everything. Of very many messages the page holds a part and says so.

mod scene;
mod transcript;

pub use scene::{Scene, scene};
pub use transcript::transcript;

use crate::run::Report;
use crate::schedule::Schedule;

const PAGE: &str = include_str!("page.html");
/// Where the page expects what it shows.
const PLACE: &str = "/*SCENE*/null";

/// The page for a run whose trace was kept.
pub fn page(schedule: &Schedule, report: &Report) -> String {
    let scene = serde_json::to_string(&scene(schedule, report)).expect("a scene has a JSON form");
    // Inside a script element nothing may look like its end.
    let scene = scene.replace('<', "\\u003c");
    assert!(PAGE.contains(PLACE), "the page has a place for the scene");
    PAGE.replacen(PLACE, &scene, 1)
}
