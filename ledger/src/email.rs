//! What passes for an address: loosely checked, since only a mail that arrives proves one.

use crate::limits::EMAIL_BYTES_MAX;

/// Something, one `@`, and a domain with a dot; no blanks or control characters, and not too long.
pub(crate) fn is_plausible(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else { return false };
    email.len() <= EMAIL_BYTES_MAX
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && !local.is_empty()
        && !domain.contains('@')
        && domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
}

/// The form in which addresses are compared: in lower case.
pub(crate) fn folded(email: &str) -> String {
    email.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["test@test.com", "a.b+c@mail.example.org", "jürgen@müller.de"] {
            assert!(is_plausible(good), "{good}");
        }
        let long = format!("{}@test.com", "a".repeat(EMAIL_BYTES_MAX));
        for bad in ["", "test", "@test.com", "a@", "a@b", "a@b.", "a@.b", "a b@c.de", "a@b@c.de", "a\0@b.de", &long] {
            assert!(!is_plausible(bad), "{bad}");
        }
        assert_eq!(folded("Alice@Example.COM"), "alice@example.com");
    }
}
