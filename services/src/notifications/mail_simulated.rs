//! A mail as the simulator posts it: the letter's name, its reader and its words, without the bytes of a mail.

use super::letter::Letter;

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender(String);

/// An address that mails cannot come from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: not an address")]
pub struct SenderError(String);

impl std::str::FromStr for Sender {
    type Err = SenderError;

    fn from_str(text: &str) -> Result<Sender, SenderError> {
        if text.contains('@') { Ok(Sender(text.into())) } else { Err(SenderError(text.into())) }
    }
}

/// One mail, ready to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    name: String,
    reader: String,
    text: String,
}

/// The reader's address cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader's address is none")]
pub(super) struct NoAddress;

impl Mail {
    /// Writes `letter` to the reader at `address`.
    pub(super) fn write(letter: &Letter, sender: &Sender, address: &str) -> Result<Mail, NoAddress> {
        if !address.contains('@') {
            return Err(NoAddress);
        }
        let lines = letter.lines.iter().map(|line| format!("{}: {}", line.title, line.price));
        let link = letter.link.iter().map(|link| format!("{}: {}", link.label, link.url));
        let head = [format!("from {} at {}", sender.0, letter.time_ms), letter.subject.clone()];
        let parts = head.into_iter().chain(letter.paragraphs.iter().cloned()).chain(lines).chain(link);
        let text = parts.chain([letter.reason.to_string()]).collect::<Vec<_>>().join("\n");
        Ok(Mail { name: letter.name.clone(), reader: address.into(), text })
    }

    /// What it is called: the same for the same letter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// To whom.
    pub fn reader(&self) -> &str {
        &self.reader
    }

    /// All that it says.
    pub fn text(&self) -> &str {
        &self.text
    }
}
