//! The words by which a ticket is found.
//!
//! Words are runs of letters and digits in lower case. Unicode keeps the case mapping of an assigned character for ever, so
//! every build derives the same words for one text.

use crate::entities::TicketDetails;
use crate::limits::{WORD_BYTES_MAX, WORDS_PER_TICKET_MAX};

/// The first words of a text, each once, at most `max`.
pub(crate) fn words(text: &str, max: usize) -> Vec<String> {
    let mut words = Vec::new();
    collect(&mut words, text, max);
    words
}

/// The words under which a ticket is indexed: of its title, event and venue.
pub(crate) fn ticket_words(title: &str, details: &TicketDetails) -> Vec<String> {
    let mut words = Vec::new();
    for text in [Some(title), details.event_name.as_deref(), details.venue.as_deref()].into_iter().flatten() {
        collect(&mut words, text, WORDS_PER_TICKET_MAX);
    }
    words
}

fn collect(words: &mut Vec<String>, text: &str, max: usize) {
    for part in text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()) {
        if words.len() >= max {
            return;
        }
        let mut word = part.to_lowercase();
        while word.len() > WORD_BYTES_MAX {
            word.pop();
        }
        if !words.contains(&word) {
            words.push(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_cut_bounded_and_listed_once() {
        assert_eq!(words("Dodgers @ Giants: DODGERS, Row 7!", 9), ["dodgers", "giants", "row", "7"]);
        assert_eq!(words("one two three", 2), ["one", "two"]);
        assert_eq!(words("Ça ça ЩИ", 9), ["ça", "щи"]);
        assert_eq!(words(&"ä".repeat(100), 9), ["ä".repeat(WORD_BYTES_MAX / 2)]);
        assert_eq!(words(" \0-", 9), Vec::<String>::new());
    }

    #[test]
    fn a_ticket_is_found_by_title_event_and_venue() {
        let details = TicketDetails {
            event_name: Some("Opening Night".into()),
            venue: Some("Arena".into()),
            ..TicketDetails::default()
        };
        assert_eq!(ticket_words("Floor", &details), ["floor", "opening", "night", "arena"]);
    }
}
