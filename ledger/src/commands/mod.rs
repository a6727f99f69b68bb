//! What each command does: one command, one file. The files of this folder read like the manual.
//!
//! Every `run` checks first and writes after, so that a refusal changes nothing. Checks come in the order that clients of the
//! original see: may he ask at all, is the request well formed, is the thing there, and only then the rules about it.

use crate::command::Command;
use crate::entry::{Caller, Decided, Entry};
use crate::outcome::Reply;
use crate::store::Write;

mod ack_outbox;
mod ban_user;
mod begin_payment;
mod cancel_order;
mod create_tickets;
mod edit_ticket;
mod erase_user;
mod extend_lock;
mod place_order;
mod raise_lineage;
mod record_authorized;
mod record_capture_failed;
mod record_captured;
mod record_declined;
mod record_intent;
mod record_refunded;
mod record_voided;
mod register_node_key;
mod request_refund;
mod schedule_price;
mod set_policy;
mod set_roles;
mod sign_in;
mod sign_out;
mod sign_up;
mod tick;
mod unban_user;
mod withdraw_ticket;

/// Decides `command`, asked by `caller`.
pub(crate) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, command: &Command) -> Decided {
    match command {
        Command::SignUp { email, password_hash } => sign_up::run(entry, email, password_hash),
        Command::SignIn { user, epoch } => sign_in::run(entry, *user, *epoch),
        Command::SignOut { session } => sign_out::run(entry, caller, *session),
        Command::SetRoles { user, roles } => set_roles::run(entry, caller, *user, *roles),
        Command::BanUser { user } => ban_user::run(entry, caller, *user),
        Command::UnbanUser { user } => unban_user::run(entry, caller, *user),
        Command::EraseUser { user } => erase_user::run(entry, caller, *user),

        Command::CreateTicket(ticket) => create_tickets::run_one(entry, caller, ticket),
        Command::CreateTickets(tickets) => create_tickets::run(entry, caller, tickets),
        Command::EditTicket { ticket, title, price, version, details } => {
            let edit = edit_ticket::Edit { title, price: *price, version: *version, details: details.as_ref() };
            edit_ticket::run(entry, caller, *ticket, &edit)
        }
        Command::SchedulePrice { ticket, price } => schedule_price::run(entry, caller, *ticket, *price),
        Command::WithdrawTicket { ticket } => withdraw_ticket::run(entry, caller, *ticket),

        Command::PlaceOrder { tickets } => place_order::run(entry, caller, tickets),
        Command::CancelOrder { order, version } => cancel_order::run(entry, caller, *order, *version),
        Command::ExtendLock { order } => extend_lock::run(entry, caller, *order),

        Command::BeginPayment { order, token } => begin_payment::run(entry, caller, *order, token),
        Command::RecordIntent { payment, intent_id } => record_intent::run(entry, caller, *payment, intent_id),
        Command::RecordAuthorized { payment, fence } => record_authorized::run(entry, caller, *payment, *fence),
        Command::RecordDeclined { payment, failure } => record_declined::run(entry, caller, *payment, failure),
        Command::RecordCaptured { payment } => record_captured::run(entry, caller, *payment),
        Command::RecordCaptureFailed { payment, failure } => {
            record_capture_failed::run(entry, caller, *payment, failure)
        }
        Command::RecordVoided { payment } => record_voided::run(entry, caller, *payment),
        Command::RequestRefund { order } => request_refund::run(entry, caller, *order),
        Command::RecordRefunded { payment } => record_refunded::run(entry, caller, *payment),

        Command::Tick => tick::run(caller),
        Command::SetPolicy(policy) => set_policy::run(entry, caller, policy),
        Command::RegisterNodeKey { key_id, public_key } => register_node_key::run(entry, caller, key_id, public_key),
        Command::AckOutbox { upto } => ack_outbox::run(entry, caller, *upto),
        Command::RaiseLineage { lineage } => raise_lineage::run(entry, caller, *lineage),
    }
}

/// Nothing had to be changed, as an answer.
fn unchanged() -> Decided {
    Ok(Reply::Unchanged)
}
