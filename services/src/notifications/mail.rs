//! A letter as the bytes that are sent: headers, a plain part and an HTML part.
//!
//! The same letter to the same reader is the same mail: its `Message-ID`, date and boundary follow from its name and
//! the event. Nothing in it is fetched from elsewhere when it is read.

use std::time::{Duration, UNIX_EPOCH};

use askama::Template as _;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use xxhash_rust::xxh3::xxh3_128;

use super::letter::Letter;

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    mailbox: Mailbox,
}

/// An address that mails cannot come from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}: not an address such as tickets@example.org or Tickets <tickets@example.org>: {why}")]
pub struct SenderError {
    text: String,
    why: String,
}

impl std::str::FromStr for Sender {
    type Err = SenderError;

    fn from_str(text: &str) -> Result<Sender, SenderError> {
        let error = |why: lettre::address::AddressError| SenderError { text: text.into(), why: why.to_string() };
        Ok(Sender { mailbox: text.parse().map_err(error)? })
    }
}

/// One mail, ready to be posted.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    name: String,
    envelope: Envelope,
    bytes: Vec<u8>,
}

/// The reader's address cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader's address is none")]
pub(super) struct NoAddress;

#[derive(askama::Template)]
#[template(path = "mail.txt", escape = "none")]
struct Plain<'a> {
    letter: &'a Letter,
}

#[derive(askama::Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    letter: &'a Letter,
}

impl Mail {
    /// Writes `letter` to the reader at `address`.
    pub(super) fn write(letter: &Letter, sender: &Sender, address: &str) -> Result<Mail, NoAddress> {
        let to = Mailbox::new(None, address.parse().map_err(|_| NoAddress)?);
        let domain = sender.mailbox.email.domain();
        let plain = Plain { letter }.render().expect("a letter has a plain form");
        let html = Html { letter }.render().expect("a letter has an HTML form");
        let body = MultiPart::alternative()
            .boundary(format!("{:032x}", xxh3_128(letter.name.as_bytes())))
            .singlepart(SinglePart::plain(plain))
            .singlepart(SinglePart::html(html));
        // RFC 3834: no answering machine answers this.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let message = Message::builder()
            .message_id(Some(format!("<{}@{domain}>", letter.name)))
            .date(UNIX_EPOCH + Duration::from_millis(letter.time_ms))
            .from(sender.mailbox.clone())
            .to(to)
            .subject(one_line(&letter.subject))
            .raw_header(HeaderValue::new(automatic, "auto-generated".into()))
            .multipart(body)
            .map_err(|_| NoAddress)?;
        Ok(Mail { name: letter.name.clone(), envelope: message.envelope().clone(), bytes: message.formatted() })
    }

    /// What it is called: the same for the same letter. Letters, digits, `.` and `-`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A subject is one line, whatever a seller called his ticket.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
