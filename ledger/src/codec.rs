//! The one encoding of everything that is stored, logged or hashed: bincode 2 behind a version byte.
//!
//! bincode's maintainers have stopped, so it is named in this file alone; a compatible successor is a change of this file,
//! held to the golden bytes in its tests. Integers are fixed-width little-endian: a row's length does not depend on its values.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of every value that has had one form since the first [version](crate::version).
pub const FORMAT_VERSION: u8 = 1;

/// The longest value that [`decode`] accepts, in bytes: a bound on what damaged or hostile input can make us allocate.
pub const VALUE_BYTES_MAX: usize = 16 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<VALUE_BYTES_MAX>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<VALUE_BYTES_MAX>();

/// Bytes that are not a value of the wanted type in a format that this build knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("it is of version {found}, which this build does not know")]
    Version { found: u8 },
    #[error("not a valid value: {0}")]
    Malformed(String),
}

/// Encodes `value`. Panics only where a type's serde implementation fails, which none of ours does.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(128);
    encode_into(&mut bytes, value);
    Bytes::from(bytes)
}

/// As [`encode`], appended to `bytes`.
pub fn encode_into<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    encode_as(bytes, FORMAT_VERSION, value);
}

/// As [`encode_into`], in the form that the version `form` brought.
pub fn encode_as<T: Serialize>(bytes: &mut Vec<u8>, form: u8, value: &T) {
    bytes.push(form);
    bincode::serde::encode_into_std_write(value, bytes, CONFIG).expect("our own types encode");
}

/// Decodes what [`encode`] wrote; every byte must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_as(bytes, FORMAT_VERSION)
}

/// The version that brought the form in which a value was written.
pub fn form(bytes: &[u8]) -> Result<u8, CodecError> {
    bytes.first().copied().ok_or_else(|| CodecError::Malformed("empty".into()))
}

/// Decodes what [`encode_as`] wrote in this form; every byte must be used.
pub fn decode_as<T: DeserializeOwned>(bytes: &[u8], wanted: u8) -> Result<T, CodecError> {
    let found = form(bytes)?;
    if found != wanted {
        return Err(CodecError::Version { found });
    }
    let rest = &bytes[1..];
    let (value, used) =
        bincode::serde::decode_from_slice(rest, CONFIG).map_err(|error| CodecError::Malformed(error.to_string()))?;
    if used != rest.len() {
        return Err(CodecError::Malformed(format!("{} bytes left over", rest.len() - used)));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let bytes = encode(&(7u32, "ab", Some(-1i64)));
        assert_eq!(
            &bytes[..],
            b"\x01\x07\0\0\0\x02\0\0\0\0\0\0\0ab\x01\xff\xff\xff\xff\xff\xff\xff\xff",
            "what is stored must stay readable"
        );
        assert_eq!(decode(&bytes), Ok((7u32, "ab".to_string(), Some(-1i64))));
    }

    #[test]
    fn refuses_other_versions_leftovers_and_huge_lengths() {
        assert_eq!(decode::<u8>(&[2, 0]), Err(CodecError::Version { found: 2 }));
        assert!(matches!(decode::<u8>(&[1, 0, 0]), Err(CodecError::Malformed(_))));
        assert!(matches!(decode::<u8>(&[]), Err(CodecError::Malformed(_))));
        let mut huge = vec![1];
        huge.extend(u64::MAX.to_le_bytes());
        assert!(matches!(decode::<String>(&huge), Err(CodecError::Malformed(_))));
    }
}
