//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! The key travels into the ledger with a hash of the command it came with; there it is remembered for the user, so that a
//! retry finds the first answer on whichever node and under whichever leader.

use holdfast_ledger::codec;
use holdfast_ledger::command::{Command, IdempotencyKey};
use holdfast_ledger::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use http::{HeaderMap, HeaderName};
use xxhash_rust::xxh3::xxh3_128;

use crate::app::{App, Done, Refused};
use crate::cards;
use crate::error::Fault;
use crate::session::Caller;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Asks the ledger for `command`, once for all requests with the same key.
pub async fn once(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    command: Command,
) -> Result<Result<Done, Refused>, Fault> {
    let key = key(headers, &codec::encode(&command))?;
    app.propose(caller.actor(), key, command).await
}

/// The key of a request, if it has one. Asked again, the request is known by `request`. 400 where the key is malformed.
pub fn key(headers: &HeaderMap, request: &[u8]) -> Result<Option<IdempotencyKey>, Fault> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = || {
        Fault::bad_field(
            "Idempotency-Key",
            "invalid_idempotency_key",
            "Idempotency-Key must be 1 to 255 printable ASCII characters, in quotes or bare",
        )
    };
    if values.next().is_some() {
        return Err(malformed());
    }
    let key = value.to_str().ok().and_then(unquoted).ok_or_else(malformed)?;
    // It is stored as it is.
    if cards::is_number(&key) {
        let message = "Idempotency-Key must not be a card number: use a random one";
        return Err(Fault::bad_field("Idempotency-Key", "raw_card_number", message));
    }
    Ok(Some(IdempotencyKey { key, request_hash: xxh3_128(request) }))
}

/// What a structured-field string (RFC 9651) says, or a bare key as most clients send it.
fn unquoted(text: &str) -> Option<String> {
    let text = text.trim();
    let key = match text.strip_prefix('"') {
        None => text.to_string(),
        Some(rest) => {
            let inner = rest.strip_suffix('"')?;
            let mut key = String::with_capacity(inner.len());
            let mut characters = inner.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => key.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
                    '"' => return None,
                    other => key.push(other),
                }
            }
            key
        }
    };
    let printable = key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    (printable && (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_bare_keys_are_the_same_key() {
        assert_eq!(unquoted("\"8e03978e\"").as_deref(), Some("8e03978e"));
        assert_eq!(unquoted("8e03978e").as_deref(), Some("8e03978e"));
        assert_eq!(unquoted(r#""a\"b\\c""#).as_deref(), Some(r#"a"b\c"#));
        for bad in ["", "\"", "\"\"", "\"a", r#""a"b""#, r#""a\"#, r#""a\n""#] {
            assert_eq!(unquoted(bad), None, "{bad}");
        }
        assert_eq!(unquoted(&"k".repeat(256)), None);
    }
}
