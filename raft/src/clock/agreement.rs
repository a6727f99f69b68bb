//! The interval on which the most clocks agree: Marzullo's algorithm.
//!
//! Each source says where the true value lies, with a margin of error. The smallest interval that is consistent with the
//! largest number of sources is where it most likely is; sources outside of it are wrong. The algorithm is that of K. A.
//! Marzullo's thesis (1984), as NTP uses it.

/// Where one source says that the true value lies, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub from: i64,
    pub to: i64,
}

impl Interval {
    /// All values at most `margin` away from `value`.
    pub fn around(value: i64, margin: i64) -> Interval {
        assert!(margin >= 0, "a margin of error is not negative");
        Interval { from: value.saturating_sub(margin), to: value.saturating_add(margin) }
    }
}

/// The smallest interval that lies within the largest number of `sources`, if at least `quorum` of them contain it. Where
/// two intervals do equally well, the earlier one.
pub fn agree(sources: &[Interval], quorum: usize) -> Option<Interval> {
    // At equal places an interval begins before another ends: touching counts as agreeing.
    let mut edges: Vec<(i64, bool)> =
        sources.iter().flat_map(|source| [(source.from, false), (source.to, true)]).collect();
    edges.sort_unstable();
    let (mut inside, mut most) = (0, 0);
    let mut best = None;
    for (at, (place, ends)) in edges.iter().enumerate() {
        if *ends {
            inside -= 1;
            continue;
        }
        inside += 1;
        if inside > most {
            most = inside;
            // What was just entered lasts until the next edge, and there is one: this interval's own end.
            best = Some(Interval { from: *place, to: edges[at + 1].0 });
        }
    }
    best.filter(|_| most >= quorum.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(from: i64, to: i64) -> Interval {
        Interval { from, to }
    }

    #[test]
    fn examples_from_the_literature() {
        let wikipedia = [interval(8, 12), interval(11, 13), interval(10, 12)];
        assert_eq!(agree(&wikipedia, 2), Some(interval(11, 12)));
        let two_apart = [interval(8, 12), interval(11, 13), interval(14, 15)];
        assert_eq!(agree(&two_apart, 2), Some(interval(11, 12)));
        let nested = [interval(8, 9), interval(8, 12), interval(10, 12)];
        assert_eq!(agree(&nested, 2), Some(interval(8, 9)), "the earlier of two that do equally well");
    }

    #[test]
    fn without_a_quorum_there_is_no_agreement() {
        assert_eq!(agree(&[], 1), None);
        let apart = [interval(0, 1), interval(5, 6), interval(10, 11)];
        assert_eq!(agree(&apart, 2), None);
        assert_eq!(agree(&apart, 1), Some(interval(0, 1)));
    }

    #[test]
    fn touching_intervals_agree_and_one_that_jumped_does_not_count() {
        assert_eq!(agree(&[interval(0, 5), interval(5, 9)], 2), Some(interval(5, 5)));
        let jumped = [Interval::around(0, 10), Interval::around(3, 10), Interval::around(3_600_000, 10)];
        assert_eq!(agree(&jumped, 2), Some(interval(-7, 10)));
    }

    #[test]
    fn the_answer_lies_in_as_many_sources_as_any_point_does() {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % below) as i64
        };
        for _ in 0..500 {
            let sources: Vec<Interval> = (0..1 + random(6)).map(|_| Interval::around(random(40), random(8))).collect();
            let covering = |at: i64| sources.iter().filter(|source| source.from <= at && at <= source.to).count();
            let most = (-10..60).map(covering).max().unwrap();
            let found = agree(&sources, most).expect("that many do agree");
            assert_eq!(covering(found.from), most);
            assert_eq!(covering(found.to), most);
            assert_eq!(agree(&sources, most + 1), None);
        }
    }
}
