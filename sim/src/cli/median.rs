//! The median of a few numbers, and how sure it is.
//!
//! The interval is that of order statistics: of n independent numbers, the median that they are drawn around lies between the
//! k-th and the k-th from the end with a probability of 1 - 2 P(B < k), B being binomial (n, 1/2), whatever they are
//! distributed like. With three numbers that is 75 % between the least and the most.

/// How sure the interval is to be, if there are enough numbers.
const CONFIDENCE: f64 = 0.9;

/// A median and what it lies between. `None` stands for more than could be counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    pub median: Option<u64>,
    pub least: Option<u64>,
    pub most: Option<u64>,
}

/// Which of `n` numbers, counted from each end from 0, bound the median, and how sure that is. `n` must not be 0.
pub fn bounds(n: usize) -> (usize, f64) {
    assert!(n > 0, "the median of nothing");
    let outside = |at: usize| 2.0 * (0..=at).map(|below| choose(n, below)).sum::<f64>() / 2f64.powi(n as i32);
    let narrowest = (0..n.div_ceil(2)).rev().find(|at| 1.0 - outside(*at) >= CONFIDENCE).unwrap_or(0);
    (narrowest, (1.0 - outside(narrowest)).max(0.0))
}

fn choose(n: usize, k: usize) -> f64 {
    (0..k).map(|at| (n - at) as f64 / (at + 1) as f64).product()
}

impl Median {
    /// Of at least one number; of an even count, the lower one of the two in the middle.
    pub fn of(mut numbers: Vec<Option<u64>>) -> Median {
        numbers.sort_unstable_by_key(|number| number.unwrap_or(u64::MAX));
        let (at, _) = bounds(numbers.len());
        let last = numbers.len() - 1;
        Median { median: numbers[last / 2], least: numbers[at], most: numbers[last - at] }
    }

    /// `3 (1 to 7)`; what could not be counted is more than `max`.
    pub fn in_words(self, max: u64) -> String {
        let words = |number: Option<u64>| number.map_or(format!("> {max}"), |number| number.to_string());
        format!("{} ({} to {})", words(self.median), words(self.least), words(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_numbers_bound_the_median_by_their_ends_and_many_more_closely() {
        assert_eq!(bounds(1), (0, 0.0));
        assert_eq!(bounds(3), (0, 0.75));
        assert_eq!(bounds(5), (0, 0.9375));
        let (at, confidence) = bounds(20);
        assert_eq!(at, 5, "the sixth from each end, as tables of the sign test have it");
        assert!((confidence - 0.9586).abs() < 0.0001, "{confidence}");
    }

    #[test]
    fn what_was_missed_is_more_than_was_tried() {
        let median = Median::of(vec![Some(4), None, Some(2)]);
        assert_eq!(median.in_words(20), "4 (2 to > 20)");
        assert_eq!(Median::of(vec![None, None, Some(2)]).in_words(20), "> 20 (2 to > 20)");
    }
}
