//! Random numbers, a stream for each component.
//!
//! All follow from the schedule's seed and the component's name, so that a component which draws more or less than before
//! (a fault removed, a buyer added) leaves the numbers of all others as they were.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The stream of the component `name`.
pub fn stream(seed: u64, name: &str) -> SmallRng {
    SmallRng::seed_from_u64(number(seed, name))
}

/// A number for a component that seeds itself.
pub fn number(seed: u64, name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn streams_depend_on_seed_and_name() {
        let first = |seed, name| stream(seed, name).random::<u64>();
        assert_eq!(first(1, "buyers"), first(1, "buyers"));
        assert_ne!(first(1, "buyers"), first(2, "buyers"));
        assert_ne!(first(1, "buyers"), first(1, "faults"));
    }
}
