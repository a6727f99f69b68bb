//! Runs of the simulator, several at a time.

use std::sync::Mutex;

/// Does `work` for each item on `jobs` threads, in the items' order as threads get free, and hands each result to `take`, one at
/// a time and in the order in which they are ready.
///
/// Panics if `work` or `take` does.
pub fn each<T, R: Send>(
    jobs: u32,
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    work: impl Fn(&T) -> R + Sync,
    take: impl FnMut(T, R) + Send,
) {
    let items = Mutex::new(items.into_iter());
    let take = Mutex::new(take);
    let next = || items.lock().expect("items come without a panic").next();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let result = work(&item);
                    (take.lock().expect("nobody panics while counting"))(item, result);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn every_item_is_worked_on_once() {
        let mut seen = Vec::new();
        each(3, 0..100, |item| item * 2, |item, twice| seen.push((item, twice)));
        seen.sort_unstable();
        assert_eq!(seen, (0..100).map(|item| (item, item * 2)).collect::<Vec<_>>());
    }
}
