//! `PutWebhook`: an address to which events are posted, or a change of one. By an operator or the cluster.
//!
//! - The URL is one of `http` or `https`. What it leads to is the sender's to check, when it sends.
//! - A new one needs a secret; a change may leave the one there is, so that a page need not show it.
//!
//! Story: "webhooks are registered changed and removed".

use crate::entities::Webhook;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::WebhookId;
use crate::limits::{SECRET_BYTES, URL_BYTES_MAX, WEBHOOKS_MAX};
use crate::outcome::{Bound, Field, Refusal, Reply};
use crate::query;
use crate::store::Write;
use crate::tables::Table;

/// What is to be written.
pub(super) struct Put<'a> {
    pub url: &'a str,
    pub secret: Option<&'a str>,
    pub event_types: &'a [EventType],
}

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, webhook: Option<WebhookId>, put: &Put) -> Decided {
    caller.operator()?;
    check(put)?;
    let updated_ms = entry.now_ms();
    let (url, event_types) = (put.url.to_string(), put.event_types.to_vec());
    let (id, row) = match webhook {
        Some(id) => {
            let before: Option<Webhook> = entry.state.row(Table::Webhooks, id.as_bytes())?;
            let before = before.ok_or(Refusal::WebhookNotFound)?;
            let secret = put.secret.map_or(before.secret, String::from);
            (id, Webhook { url, secret, event_types, created_ms: before.created_ms, updated_ms })
        }
        None => {
            let secret = put.secret.ok_or(Refusal::Invalid { field: Field::Secret })?.to_string();
            if query::webhooks(entry.state)?.len() >= WEBHOOKS_MAX {
                return Err(Refusal::TooMany { what: Bound::Webhooks, max: WEBHOOKS_MAX as u32 }.into());
            }
            (WebhookId(entry.mint()), Webhook { url, secret, event_types, created_ms: updated_ms, updated_ms })
        }
    };
    entry.state.put(Table::Webhooks, id.as_bytes(), &row)?;
    Ok(Reply::Webhook { webhook: id })
}

fn check(put: &Put) -> Result<(), Refusal> {
    let host = put.url.strip_prefix("https://").or_else(|| put.url.strip_prefix("http://"));
    let printable = put.url.bytes().all(|byte| byte.is_ascii_graphic());
    if put.url.len() > URL_BYTES_MAX || !printable || host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
        return Err(Refusal::Invalid { field: Field::Url });
    }
    if put.secret.is_some_and(|secret| !SECRET_BYTES.contains(&secret.len())) {
        return Err(Refusal::Invalid { field: Field::Secret });
    }
    let twice = |(at, one): (usize, &EventType)| put.event_types[..at].contains(one);
    if put.event_types.len() > EventType::ALL.len() || put.event_types.iter().enumerate().any(twice) {
        return Err(Refusal::Invalid { field: Field::EventTypes });
    }
    Ok(())
}
