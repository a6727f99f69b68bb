//! Waiting until a learner has caught up, with a bar that says how far it is.

use std::time::{Duration, Instant};

use holdfast_raft::plan::{Plan, Refusal};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Operators, Problem, planned};

const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Changes that the leader makes by itself are short; who asks meanwhile waits.
const IN_PROGRESS_WAIT: Duration = Duration::from_secs(5);

/// How far a newcomer is. Drawn on a terminal only.
pub struct Bar {
    bar: ProgressBar,
    /// The farthest that it was behind, in entries.
    most: u64,
}

impl Bar {
    pub fn new(what: &str) -> Bar {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len} entries");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_string());
        Bar { bar, most: 0 }
    }

    pub fn behind(&mut self, lag_entries: u64) {
        self.most = self.most.max(lag_entries);
        self.bar.set_length(self.most);
        self.bar.set_position(self.most - lag_entries);
    }

    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// Plans again while another change is under way, for a moment, and while the newcomer is away or behind, for at most `wait_s`
/// seconds. Answers with the last plan.
pub async fn wait(operators: &Operators, plan: Plan, wait_s: u64) -> Result<Plan, Problem> {
    let (started, mut plan, mut bar) = (Instant::now(), plan, Bar::new("catching up"));
    let wait = Duration::from_secs(wait_s);
    loop {
        let patience = match &plan.refusal {
            Some(Refusal::Lags { lag_entries, .. }) => {
                bar.behind(*lag_entries);
                wait
            }
            Some(Refusal::NotLive { .. } | Refusal::NothingKnown { .. }) => wait,
            Some(Refusal::InProgress) => wait.max(IN_PROGRESS_WAIT),
            _ => break,
        };
        if started.elapsed() > patience {
            break;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        plan = planned(operators, plan.change.clone()).await?;
    }
    bar.end();
    Ok(plan)
}
