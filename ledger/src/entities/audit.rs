//! What operators did.

use serde::{Deserialize, Serialize};

use crate::command::Service;
use crate::id::{OrderId, UserId, WebhookId};

/// Who did what the audit tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditActor {
    /// The cluster itself, or who works on one of its machines.
    Cluster,
    User(UserId),
    Service(Service),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditAction {
    SetRoles,
    BanUser,
    UnbanUser,
    EraseUser,
    ClaimOperator,
    ReleaseLock,
    RequestRefund,
    RegisterServiceKey,
    RevokeServiceKey,
    RetireNodeKey,
    PutWebhook,
    RemoveWebhook,
    SetPolicy,
    SetBootstrapToken,
    RaiseLineage,
}

impl AuditAction {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            AuditAction::SetRoles => "set_roles",
            AuditAction::BanUser => "ban_user",
            AuditAction::UnbanUser => "unban_user",
            AuditAction::EraseUser => "erase_user",
            AuditAction::ClaimOperator => "claim_operator",
            AuditAction::ReleaseLock => "release_lock",
            AuditAction::RequestRefund => "request_refund",
            AuditAction::RegisterServiceKey => "register_service_key",
            AuditAction::RevokeServiceKey => "revoke_service_key",
            AuditAction::RetireNodeKey => "retire_node_key",
            AuditAction::PutWebhook => "put_webhook",
            AuditAction::RemoveWebhook => "remove_webhook",
            AuditAction::SetPolicy => "set_policy",
            AuditAction::SetBootstrapToken => "set_bootstrap_token",
            AuditAction::RaiseLineage => "raise_lineage",
        }
    }
}

/// To whom or what it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditSubject {
    Cluster,
    User(UserId),
    Order(OrderId),
    Webhook(WebhookId),
    /// A signing key, by its id.
    Key(String),
}

/// One thing that an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// The entry that decided it.
    pub index: u64,
    pub time_ms: u64,
    pub actor: AuditActor,
    pub action: AuditAction,
    pub subject: AuditSubject,
    /// Of the row before; zeros for the first.
    pub previous_hash: [u8; 32],
    /// SHA-256 of all the above and the row's number.
    pub hash: [u8; 32],
}
