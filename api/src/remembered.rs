//! What was found out about texts that come again: a table of bounded size.
//!
//! It is two tables. A full one becomes the older one, and the older one is dropped: so what is asked for again and again costs
//! one look-up, and nothing is ever sorted by age.

use std::collections::HashMap;
use std::sync::Mutex;

/// Remembers something of a text.
pub struct Remembered<V> {
    texts_max: usize,
    tables: Mutex<[HashMap<Box<str>, V>; 2]>,
}

impl<V: Clone> Remembered<V> {
    /// For `texts_max` texts, twice over.
    pub fn new(texts_max: usize) -> Remembered<V> {
        Remembered { texts_max, tables: Mutex::new([HashMap::new(), HashMap::new()]) }
    }

    pub fn get(&self, text: &str) -> Option<V> {
        let tables = self.tables.lock().expect("no panic while something is remembered");
        tables.iter().find_map(|table| table.get(text)).cloned()
    }

    pub fn insert(&self, text: &str, value: V) {
        let mut tables = self.tables.lock().expect("no panic while something is remembered");
        if tables[0].len() >= self.texts_max {
            tables.swap(0, 1);
            tables[0].clear();
        }
        tables[0].insert(text.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_the_oldest_forgotten() {
        let remembered = Remembered::new(2);
        (0..5).for_each(|number| remembered.insert(&number.to_string(), number));
        let known: Vec<u32> = (0..5).filter_map(|number| remembered.get(&number.to_string())).collect();
        assert_eq!(known, [2, 3, 4]);
    }
}
