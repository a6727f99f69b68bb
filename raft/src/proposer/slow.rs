//! The log of slow operations: one line for an entry that took too long, with what it spent in each stage.
//!
//! When everything is slow, a line for each would make it slower: there are so many lines a minute, and the next one after
//! that says how many were left out. The metrics count them all.

use std::sync::Mutex;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::InstantOf;

use crate::stages::Spent;
use crate::types::TypeConfig;

/// Lines a minute.
const LINES_MAX: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);

/// What is too slow, and how much of it was told lately.
pub struct SlowLog {
    slow: Duration,
    told: Mutex<Told>,
}

struct Told {
    since: InstantOf<TypeConfig>,
    lines: u32,
    left_out: u64,
}

impl SlowLog {
    pub fn new(slow_ms: u64) -> SlowLog {
        let told = Told { since: TypeConfig::now(), lines: 0, left_out: 0 };
        SlowLog { slow: Duration::from_millis(slow_ms), told: Mutex::new(told) }
    }

    /// Notes an entry that was answered after `total`.
    pub fn answered(&self, index: u64, commands: usize, total: Duration, spent: &Spent) {
        metrics::histogram!("holdfast_proposal_seconds").record(total.as_secs_f64());
        for (stage, duration) in spent.named() {
            metrics::histogram!("holdfast_proposal_stage_seconds", "stage" => stage).record(duration.as_secs_f64());
        }
        let us = |duration: Duration| duration.as_micros() as u64;
        tracing::trace!(
            target: "holdfast::spans",
            span = "entry",
            index,
            commands = commands as u64,
            total_us = us(total),
            queue_us = us(spent.queue),
            append_us = us(spent.append),
            sync_us = us(spent.sync),
            commit_us = us(spent.commit),
            apply_us = us(spent.apply)
        );
        if total < self.slow {
            return;
        }
        metrics::counter!("holdfast_slow_operations_total").increment(1);
        if let Some(left_out) = self.may_tell() {
            let ms = |duration: Duration| duration.as_millis() as u64;
            tracing::warn!(
                index,
                commands,
                total_ms = ms(total),
                queue_ms = ms(spent.queue),
                append_ms = ms(spent.append),
                sync_ms = ms(spent.sync),
                commit_ms = ms(spent.commit),
                apply_ms = ms(spent.apply),
                left_out,
                "a slow operation"
            );
        }
    }

    /// How many lines were left out before this one, if it may be told.
    fn may_tell(&self) -> Option<u64> {
        let mut told = self.told.lock().expect("nothing panics while it holds this");
        let now = TypeConfig::now();
        if now - told.since >= MINUTE {
            told.since = now;
            told.lines = 0;
        }
        if told.lines == LINES_MAX {
            told.left_out += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.left_out))
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_what_was_left_out_is_said() {
        let log = SlowLog::new(0);
        assert_eq!((0..LINES_MAX).filter_map(|_| log.may_tell()).count(), LINES_MAX as usize);
        assert_eq!((log.may_tell(), log.may_tell()), (None, None));
        let long_ago = log.told.lock().unwrap().since - MINUTE;
        log.told.lock().unwrap().since = long_ago;
        assert_eq!(log.may_tell(), Some(2));
    }
}
