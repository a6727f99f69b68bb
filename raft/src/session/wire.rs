//! Frames as they stand on the wire: a checksum, a kind, and what the kind carries.
//!
//! ```text
//! crc32c of all that follows (4) | kind (1) | …
//! HELLO     magic (8) | protocol version (2) | cluster version (1) | … as that version has it | record
//! WELCOME   record
//! REFUSED   record
//! REQUEST   id (8) | method (1) | body
//! ANSWER    id (8) | body
//! FAILURE   id (8) | record
//! ```
//!
//! Numbers are little-endian, records are encoded by [`format`](crate::format). The checksum covers what TCP's sixteen bits and
//! a faulty network card let through; a frame that fails it ends the session.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use holdfast_ledger::version::{Version, Versions};

use super::{Failure, Hello, Refused, Welcome};
use crate::format;
use crate::version::{greets_with_applied, readable};

/// The first bytes of every session: whoever speaks something else is told apart at once.
pub const MAGIC: &[u8; 8] = b"holdfast";
/// The version of everything above the transport. Both sides must have the same.
pub const PROTOCOL_VERSION: u16 = 1;

const CHECKSUM_BYTES: usize = 4;
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;
const REQUEST: u8 = 4;
const ANSWER: u8 = 5;
const FAILURE: u8 = 6;

/// A frame that cannot be what the peer meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a frame of {bytes} bytes is too short")]
    Short { bytes: usize },
    #[error("a frame was damaged on its way")]
    Checksum,
    #[error("a frame of an unknown kind {found}")]
    Kind { found: u8 },
    #[error("the peer does not speak this protocol")]
    Magic,
    #[error("the peer speaks version {found} of the protocol, this build version {PROTOCOL_VERSION}")]
    Version { found: u16 },
    #[error("the peer's cluster is at version {found}, and this build knows {known}: start a build that knows it")]
    ClusterVersion { found: Version, known: Versions },
    #[error("a frame cannot be read: {0}")]
    Malformed(String),
    #[error("a frame of another kind was expected")]
    Unexpected,
}

impl From<format::FormatError> for WireError {
    fn from(error: format::FormatError) -> WireError {
        WireError::Malformed(error.to_string())
    }
}

/// A frame that has been checked and taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Hello(Hello),
    Welcome(Welcome),
    Refused(Refused),
    Request { id: u64, method: u8, body: Bytes },
    Answer { id: u64, body: Bytes },
    Failure { id: u64, failure: Failure },
}

/// A frame that is being written: its checksum is filled in at the end.
fn begin(kind: u8, capacity: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(CHECKSUM_BYTES + 1 + capacity);
    frame.put_u32_le(0);
    frame.put_u8(kind);
    frame
}

fn seal(mut frame: BytesMut) -> Bytes {
    let checksum = crc32c::crc32c(&frame[CHECKSUM_BYTES..]);
    frame[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    frame.freeze()
}

pub fn hello(hello: &Hello) -> Bytes {
    let mut frame = begin(HELLO, 256);
    frame.put_slice(MAGIC);
    frame.put_u16_le(PROTOCOL_VERSION);
    frame.put_u8(hello.version);
    if greets_with_applied(hello.version) {
        frame.put_u64_le(hello.applied);
    }
    frame.put(format::encode(hello));
    seal(frame)
}

pub fn welcome(welcome: &Welcome) -> Bytes {
    let mut frame = begin(WELCOME, 128);
    frame.put(format::encode(welcome));
    seal(frame)
}

pub fn refused(refused: &Refused) -> Bytes {
    let mut frame = begin(REFUSED, 128);
    frame.put(format::encode(refused));
    seal(frame)
}

/// `write` appends the body, of about `capacity` bytes.
pub fn request(id: u64, method: u8, capacity: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut frame = begin(REQUEST, 9 + capacity);
    frame.put_u64_le(id);
    frame.put_u8(method);
    write(&mut frame);
    seal(frame)
}

pub fn answer(id: u64, body: &[u8]) -> Bytes {
    let mut frame = begin(ANSWER, 8 + body.len());
    frame.put_u64_le(id);
    frame.put_slice(body);
    seal(frame)
}

pub fn failure(id: u64, failure: &Failure) -> Bytes {
    let mut frame = begin(FAILURE, 128);
    frame.put_u64_le(id);
    frame.put(format::encode(failure));
    seal(frame)
}

/// Checks a frame and takes it apart. Bodies share its bytes.
pub fn open(mut frame: Bytes) -> Result<Frame, WireError> {
    let bytes = frame.len();
    if bytes <= CHECKSUM_BYTES {
        return Err(WireError::Short { bytes });
    }
    if frame.get_u32_le() != crc32c::crc32c(&frame) {
        return Err(WireError::Checksum);
    }
    let kind = frame.get_u8();
    let number = |frame: &mut Bytes| frame.try_get_u64_le().map_err(|_| WireError::Short { bytes });
    match kind {
        HELLO => open_hello(frame),
        WELCOME => Ok(Frame::Welcome(format::decode(&frame)?)),
        REFUSED => Ok(Frame::Refused(format::decode(&frame)?)),
        REQUEST => {
            let id = number(&mut frame)?;
            let method = frame.try_get_u8().map_err(|_| WireError::Short { bytes })?;
            Ok(Frame::Request { id, method, body: frame })
        }
        ANSWER => Ok(Frame::Answer { id: number(&mut frame)?, body: frame }),
        FAILURE => Ok(Frame::Failure { id: number(&mut frame)?, failure: format::decode(&frame)? }),
        found => Err(WireError::Kind { found }),
    }
}

fn open_hello(mut frame: Bytes) -> Result<Frame, WireError> {
    let bytes = frame.len();
    if frame.len() < MAGIC.len() + 2 || frame[..MAGIC.len()] != MAGIC[..] {
        return Err(WireError::Magic);
    }
    frame.advance(MAGIC.len());
    let found = frame.get_u16_le();
    if found != PROTOCOL_VERSION {
        return Err(WireError::Version { found });
    }
    let short = |_| WireError::Short { bytes };
    let version = frame.try_get_u8().map_err(short)?;
    if !readable().contains(version) {
        return Err(WireError::ClusterVersion { found: version, known: readable() });
    }
    let applied = if greets_with_applied(version) { frame.try_get_u64_le().map_err(short)? } else { 0 };
    let hello: Hello = format::decode(&frame)?;
    Ok(Frame::Hello(Hello { version, applied, ..hello }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_request() {
        let frame = request(258, 7, 4, |body| body.put_slice(b"body"));
        assert_eq!(&frame[4..], b"\x04\x02\x01\0\0\0\0\0\0\x07body");
        assert_eq!(open(frame), Ok(Frame::Request { id: 258, method: 7, body: Bytes::from_static(b"body") }));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let frame = answer(9, b"something");
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(damaged.into()), Err(WireError::Checksum), "bit {bit}");
        }
    }

    #[test]
    fn short_and_strange_frames_are_errors() {
        for length in 0..=CHECKSUM_BYTES {
            assert_eq!(open(vec![0; length].into()), Err(WireError::Short { bytes: length }));
        }
        assert_eq!(open(seal(begin(77, 0))), Err(WireError::Kind { found: 77 }));
        assert_eq!(open(seal(begin(REQUEST, 0))), Err(WireError::Short { bytes: 5 }));
        let mut other = begin(HELLO, 0);
        other.put_slice(b"GET / HTTP/1.1");
        assert_eq!(open(seal(other)), Err(WireError::Magic));
        let mut newer = begin(HELLO, 0);
        newer.put_slice(MAGIC);
        newer.put_u16_le(PROTOCOL_VERSION + 1);
        assert_eq!(open(seal(newer)), Err(WireError::Version { found: PROTOCOL_VERSION + 1 }));
    }
}
