//! Proposals in their encoded form: groups of commands, and the entry that carries several groups.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use holdfast_ledger::codec;
use holdfast_ledger::command::Submitted;
use holdfast_ledger::limits::ENTRY_COMMANDS_MAX;
use holdfast_ledger::version::{FIRST, Version, Versions};

use crate::network::message::MessageError;
use crate::types::Payload;

/// Version, stamp and number of commands: what stands before the commands of an encoded batch, in bytes.
const BATCH_HEADER_BYTES: usize = 17;
/// What stands before each command and each group of a forwarded message, in bytes.
const LENGTH_BYTES: usize = 4;

/// Commands that travel in one entry, in this order, each encoded once where it was proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    commands: Vec<Bytes>,
    bytes: usize,
}

impl Group {
    pub fn encode(commands: &[Submitted]) -> Group {
        let encoded = commands.iter().map(|submitted| {
            let mut bytes = Vec::with_capacity(128);
            codec::encode_as(&mut bytes, submitted.command.needs(), submitted);
            Bytes::from(bytes)
        });
        Group::of(encoded.collect())
    }

    fn of(commands: Vec<Bytes>) -> Group {
        let bytes = commands.iter().map(Bytes::len).sum();
        Group { commands, bytes }
    }

    pub fn commands(&self) -> usize {
        self.commands.len()
    }

    /// The length of all commands, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lowest version of a cluster that knows all commands: each says so in its first byte.
    pub fn needs(&self) -> Version {
        self.commands.iter().filter_map(|command| command.first()).copied().max().unwrap_or(FIRST)
    }

    /// Whether an entry can carry it at all.
    pub fn fits(&self, entry_bytes_max: usize) -> bool {
        self.commands.len() <= ENTRY_COMMANDS_MAX && self.bytes <= entry_bytes_max
    }
}

/// The encoded [`Batch`](holdfast_ledger::command::Batch) of all commands of `groups`, with this stamp, in a cluster at `version`:
/// the same bytes as if the batch had been built and encoded as a whole.
pub fn payload<'a>(version: Version, time_ms: u64, groups: impl Iterator<Item = &'a Group> + Clone) -> Payload {
    let (count, bytes) =
        groups.clone().fold((0, 0), |(count, bytes), group| (count + group.commands.len(), bytes + group.bytes));
    let mut out = BytesMut::with_capacity(BATCH_HEADER_BYTES + bytes);
    out.put_u8(version);
    out.put_u64_le(time_ms);
    out.put_u64_le(count as u64);
    for command in groups.flat_map(|group| &group.commands) {
        // Without its own version byte: the batch has one.
        out.put_slice(&command[1..]);
    }
    Payload(out.freeze())
}

/// The message that forwards `groups` to the leader.
pub fn encode_groups<'a>(groups: impl ExactSizeIterator<Item = &'a Group> + Clone) -> Bytes {
    let bytes: usize = groups.clone().map(|group| LENGTH_BYTES * (1 + group.commands.len()) + group.bytes).sum();
    let mut out = BytesMut::with_capacity(LENGTH_BYTES + bytes);
    out.put_u32_le(groups.len() as u32);
    for group in groups {
        out.put_u32_le(group.commands.len() as u32);
        for command in &group.commands {
            out.put_u32_le(command.len() as u32);
            out.put_slice(command);
        }
    }
    out.freeze()
}

/// Reads what [`encode_groups`] wrote, and makes sure that each command can be decoded here: what stands in the log must.
pub fn decode_groups(mut from: Bytes, known: Versions) -> Result<Vec<Group>, MessageError> {
    let count = from.try_get_u32_le()? as usize;
    let mut groups = Vec::new();
    for _ in 0..count {
        let mut commands = Vec::new();
        for _ in 0..from.try_get_u32_le()? {
            let length = from.try_get_u32_le()? as usize;
            if from.len() < length {
                return Err(MessageError::Short);
            }
            let command = from.split_to(length);
            known.read::<Submitted>(&command).map_err(crate::format::FormatError::from)?;
            commands.push(command);
        }
        groups.push(Group::of(commands));
    }
    if !from.is_empty() {
        return Err(MessageError::Leftover(from.len()));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::command::{Actor, Batch, Command};

    use super::*;

    fn submitted(upto: u64) -> Submitted {
        Submitted { actor: Actor::System, idempotency: None, command: Command::AckOutbox { upto, losses: 0 } }
    }

    #[test]
    fn an_entry_is_the_encoded_batch_byte_for_byte() {
        let groups = [Group::encode(&[submitted(1), submitted(2)]), Group::encode(&[submitted(3)])];
        let batch = Batch { time_ms: 77, commands: vec![submitted(1), submitted(2), submitted(3)] };
        assert_eq!(payload(1, 77, groups.iter()).0, codec::encode(&batch));
        assert_eq!(codec::decode::<Batch>(&payload(1, 77, groups.iter()).0), Ok(batch));
    }

    #[test]
    fn forwarded_groups_come_back_as_they_went() {
        let groups = vec![Group::encode(&[submitted(1), submitted(2)]), Group::encode(&[submitted(3)])];
        let message = encode_groups(groups.iter());
        assert_eq!(decode_groups(message.clone(), Versions::SHIPPED), Ok(groups));
        for length in 0..message.len() {
            assert!(decode_groups(message.slice(..length), Versions::SHIPPED).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_command_that_cannot_be_decoded_is_not_taken() {
        let group = Group::of(vec![Bytes::from_static(b"\x01nonsense")]);
        assert!(matches!(
            decode_groups(encode_groups([group].iter()), Versions::SHIPPED),
            Err(MessageError::Format(_))
        ));
    }
}
