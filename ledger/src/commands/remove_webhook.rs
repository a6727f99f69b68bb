//! `RemoveWebhook`: events are posted there no longer. By an operator, the cluster, or the notifications service when the
//! receiver says that it is gone.
//!
//! Story: "webhooks are registered changed and removed".

use crate::entry::{Caller, Decided, Entry};
use crate::id::WebhookId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: WebhookId) -> Decided {
    caller.operator_or_notifications()?;
    if entry.state.store.get(Table::Webhooks, id.as_bytes())?.is_none() {
        return Err(Refusal::WebhookNotFound.into());
    }
    entry.state.remove(Table::Webhooks, id.as_bytes())?;
    Ok(Reply::Done)
}
