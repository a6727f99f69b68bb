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
mod change_email;
mod change_password;
mod claim_operator;
mod create_tickets;
mod edit_ticket;
mod erase_user;
mod extend_lock;
mod join_line;
mod leave_line;
mod note_operation;
mod place_order;
mod put_webhook;
mod raise_lineage;
mod raise_version;
mod record_action;
mod record_authorized;
mod record_capture_failed;
mod record_captured;
mod record_declined;
mod record_intent;
mod record_refunded;
mod record_voided;
mod refresh_session;
mod register_node_key;
mod register_service_key;
mod release_lock;
mod remove_webhook;
mod request_refund;
mod request_reset;
mod request_verification;
mod reset_password;
mod retire_node_key;
mod revoke_service_key;
mod schedule_price;
mod set_bootstrap_token;
mod set_policy;
mod set_roles;
mod sign_in;
mod sign_out;
mod sign_up;
mod tick;
mod unban_user;
mod unwatch_ticket;
mod verify_email;
mod watch_ticket;
mod withdraw_ticket;

/// Decides `command`, asked by `caller`.
pub(crate) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, command: &Command) -> Decided {
    match command {
        Command::SignUp { email, password_hash, agent } => sign_up::run(entry, email, password_hash, agent),
        Command::SignIn { user, epoch, agent } => sign_in::run(entry, *user, *epoch, agent),
        Command::SignOut { session } => sign_out::run(entry, caller, *session),
        Command::RefreshSession => refresh_session::run(entry, caller),
        Command::ChangeEmail { email } => change_email::run(entry, caller, email),
        Command::ChangePassword { password_hash } => change_password::run(entry, caller, password_hash),
        Command::RequestReset { user } => request_reset::run(entry, *user),
        Command::ResetPassword { user, request, password_hash } => {
            reset_password::run(entry, *user, *request, password_hash)
        }
        Command::RequestVerification => request_verification::run(entry, caller),
        Command::VerifyEmail { user, request } => verify_email::run(entry, *user, *request),
        Command::ClaimOperator { token_hash } => claim_operator::run(entry, caller, token_hash),
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
        Command::ReleaseLock { order } => release_lock::run(entry, caller, *order),
        Command::JoinLine { ticket } => join_line::run(entry, caller, *ticket),
        Command::LeaveLine { ticket } => leave_line::run(entry, caller, *ticket),
        Command::WatchTicket { ticket } => watch_ticket::run(entry, caller, *ticket),
        Command::UnwatchTicket { ticket } => unwatch_ticket::run(entry, caller, *ticket),

        Command::BeginPayment { order, token } => begin_payment::run(entry, caller, *order, token),
        Command::RecordIntent { payment, intent_id } => record_intent::run(entry, caller, *payment, intent_id),
        Command::RecordAction { payment, url } => record_action::run(entry, caller, *payment, url),
        Command::RecordAuthorized { payment, fence } => record_authorized::run(entry, caller, *payment, *fence),
        Command::RecordDeclined { payment, failure } => record_declined::run(entry, caller, *payment, failure),
        Command::RecordCaptured { payment } => record_captured::run(entry, caller, *payment),
        Command::RecordCaptureFailed { payment, failure } => {
            record_capture_failed::run(entry, caller, *payment, failure)
        }
        Command::RecordVoided { payment } => record_voided::run(entry, caller, *payment),
        Command::RequestRefund { order } => request_refund::run(entry, caller, *order),
        Command::RecordRefunded { payment } => record_refunded::run(entry, caller, *payment),

        Command::RegisterServiceKey { service, key_id, public_key } => {
            register_service_key::run(entry, caller, *service, key_id, public_key)
        }
        Command::RevokeServiceKey { key_id } => revoke_service_key::run(entry, caller, key_id),
        Command::PutWebhook { webhook, url, secret, event_types } => {
            let put = put_webhook::Put { url, secret: secret.as_deref(), event_types };
            put_webhook::run(entry, caller, *webhook, &put)
        }
        Command::RemoveWebhook { webhook } => remove_webhook::run(entry, caller, *webhook),
        Command::RetireNodeKey { key_id } => retire_node_key::run(entry, caller, key_id),

        Command::Tick => tick::run(entry, caller),
        Command::SetPolicy(policy) => set_policy::run(entry, caller, policy),
        Command::RegisterNodeKey { key_id, public_key } => register_node_key::run(entry, caller, key_id, public_key),
        Command::AckOutbox { upto, losses } => ack_outbox::run(entry, caller, *upto, *losses),
        Command::SetBootstrapToken { token_hash } => set_bootstrap_token::run(entry, caller, token_hash),
        Command::RaiseLineage { lineage } => raise_lineage::run(entry, caller, *lineage),
        Command::NoteOperation { .. } => note_operation::run(caller),
        Command::RaiseVersion { to, .. } => raise_version::run(entry, caller, *to),
        #[cfg(feature = "next-version")]
        Command::ForgetLocks { ticket } => crate::version::forget_locks(entry, caller, *ticket),
    }
}

/// Nothing had to be changed, as an answer.
fn unchanged() -> Decided {
    Ok(Reply::Unchanged)
}
