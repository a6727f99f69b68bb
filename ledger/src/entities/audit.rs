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
    /// Who showed this certificate at a node's inside, by its SHA-256.
    Certificate([u8; 32]),
}

/// What is done to the cluster at a node's inside, and is not the ledger's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    AddMember,
    PromoteMember,
    DemoteMember,
    ReplaceMember,
    RemoveMember,
    TransferLeader,
    ResumeChange,
    UndoChange,
    GiveJoinToken,
    TakeBackup,
    SetPolicy,
    RegisterServiceKey,
}

/// How far an operation has come. What asks for a change stands there before it is tried: somebody who makes one and takes
/// the node away at once is written down all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    Asked,
    Done,
    Failed,
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
    Operate(Operation, Step),
    RaiseVersion,
}

impl Operation {
    /// Its names on the wire: asked for, done, failed.
    fn names(self) -> [&'static str; 3] {
        match self {
            Operation::AddMember => ["add_member:asked", "add_member", "add_member:failed"],
            Operation::PromoteMember => ["promote_member:asked", "promote_member", "promote_member:failed"],
            Operation::DemoteMember => ["demote_member:asked", "demote_member", "demote_member:failed"],
            Operation::ReplaceMember => ["replace_member:asked", "replace_member", "replace_member:failed"],
            Operation::RemoveMember => ["remove_member:asked", "remove_member", "remove_member:failed"],
            Operation::TransferLeader => ["transfer_leader:asked", "transfer_leader", "transfer_leader:failed"],
            Operation::ResumeChange => ["resume_change:asked", "resume_change", "resume_change:failed"],
            Operation::UndoChange => ["undo_change:asked", "undo_change", "undo_change:failed"],
            Operation::GiveJoinToken => ["give_join_token:asked", "give_join_token", "give_join_token:failed"],
            Operation::TakeBackup => ["take_backup:asked", "take_backup", "take_backup:failed"],
            // That it was done is an action of its own.
            Operation::SetPolicy => ["set_policy:asked", "set_policy:done", "set_policy:failed"],
            Operation::RegisterServiceKey => {
                ["register_service_key:asked", "register_service_key:done", "register_service_key:failed"]
            }
        }
    }
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
            AuditAction::Operate(operation, Step::Asked) => operation.names()[0],
            AuditAction::Operate(operation, Step::Done) => operation.names()[1],
            AuditAction::Operate(operation, Step::Failed) => operation.names()[2],
            AuditAction::RaiseVersion => "raise_version",
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
    /// A member, by its id.
    Node(u64),
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
