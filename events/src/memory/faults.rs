//! What can go wrong at the broker in memory, and the dice that decide whether it does.

use std::time::Duration;

/// How often what goes wrong, in thousandths. Nothing, by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A publish does not arrive, and nobody says so.
    pub publish_lost_permille: u32,
    /// A publish is stored, and its acknowledgement is lost.
    pub publish_ack_lost_permille: u32,
    /// A publish is carried out later, when its sender may have given up on it: a ghost.
    pub publish_late_permille: u32,
    /// How late, at most.
    pub late_max: Duration,
    /// A fetch brings its first message twice.
    pub delivery_twice_permille: u32,
    /// A fetch brings its messages in another order.
    pub delivery_reordered_permille: u32,
    /// A consumer's acknowledgement is lost, and the message comes again.
    pub ack_lost_permille: u32,
}

/// A small stream of random numbers (splitmix64): seeded, copied with the state, the same everywhere.
#[derive(Debug, Clone, Copy)]
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn happens(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1_000) < u64::from(permille)
    }

    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.below(most.as_millis() as u64 + 1))
    }
}
