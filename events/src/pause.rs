//! Waiting before another try.

use std::time::Duration;

/// `pause`, more or less by up to half: what failed together does not come back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..1.5))
}
