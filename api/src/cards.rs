//! Telling card numbers from everything else, so that none gets in: not into the ledger, a log or an answer.

/// Lengths of card numbers (ISO/IEC 7812-1), in digits.
const LENGTHS: std::ops::RangeInclusive<usize> = 12..=19;

/// Somewhere 12 to 19 digits, grouped or not, that pass Luhn's check (ISO/IEC 7812-1).
pub fn has_number(text: &str) -> bool {
    let groups = text.split(|c: char| !c.is_ascii_digit() && !is_grouping(c));
    groups.map(digits).any(|digits| LENGTHS.contains(&digits.len()) && passes_luhn(&digits))
}

/// Nothing but a card number as people and programs write it. For texts that are anybody's to choose, where a part that looks
/// like one is chance: no issuer's number begins with 0, 1, 7, 8 or 9, and a clock's milliseconds begin with 1.
pub fn is_number(text: &str) -> bool {
    let digits = digits(text);
    text.chars().all(|c| c.is_ascii_digit() || is_grouping(c))
        && (13..=19).contains(&digits.len())
        && (2..=6).contains(&digits[0])
        && passes_luhn(&digits)
}

fn is_grouping(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '.' | '/')
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

fn passes_luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum = |(at, digit): (usize, &u32)| if at % 2 == 1 { doubled(*digit) } else { *digit };
    digits.iter().rev().enumerate().map(sum).sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_told_from_tokens() {
        for card in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "378282246310005",
            "3056-930902-5904",
            "4242/4242/4242/4242",
            "card 4242424242424242",
            "tok_4242424242424242",
        ] {
            assert!(has_number(card), "{card}");
        }
        for token in ["tok_visa", "4242424242424241", "42424242", "pm_1NqRTzLkdIwHu7ixWAbc2345", ""] {
            assert!(!has_number(token), "{token}");
        }
    }

    #[test]
    fn a_key_of_anybodys_choice_is_a_card_number_only_as_a_whole() {
        for card in ["4242424242424242", "4242-4242-4242-4242", "378282246310005", "5555 5555 5555 4444"] {
            assert!(is_number(card), "{card}");
        }
        for key in ["1700000000009", "order 4242424242424242", "7f3a4242424242424242", "4242424242424241", "", "-"] {
            assert!(!is_number(key), "{key}");
        }
    }
}
