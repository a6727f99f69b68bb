//! What operators did, written down so that it shows when somebody changes it afterwards.
//!
//! Every command of an operator's that changed something leaves a row: who, when, what, to whom. Each row carries the SHA-256 of
//! the row before it and its own, so no row can be changed or taken out without changing all that follow, up to the hash that the
//! meta row holds. Rows beyond `audit_rows_max` go, oldest first; the hash of the last that went stays as the chain's anchor.
//!
//! What this deliberately does not do: name anybody. A row has ids, and outlives the names.

use sha2::{Digest, Sha256};

use crate::codec;
use crate::command::Command;
use crate::entities::{AuditAction, AuditActor, AuditRow, AuditSubject};
use crate::entry::{Caller, Entry};
use crate::outcome::{Reply, Settled};
use crate::store::{StoreError, Write};
use crate::tables::Table;

/// Old rows dropped with one that is new: more than one, so that a lowered bound is reached.
const AUDIT_DROPS_MAX: u64 = 8;

/// The hash of a row: of its number and all that it says but the hash itself.
pub(crate) fn row_digest(seq: u64, row: &AuditRow) -> [u8; 32] {
    let said = (seq, row.index, row.time_ms, row.actor, row.action, &row.subject, row.previous_hash);
    Sha256::digest(codec::encode(&said)).into()
}

impl<S: Write> Entry<'_, S> {
    /// Writes down what an operator has done, if this is such a thing and it changed something.
    pub fn audit(&mut self, caller: &Caller, command: &Command, settled: &Settled) -> Result<(), StoreError> {
        let Ok(reply) = settled else { return Ok(()) };
        if *reply == Reply::Unchanged {
            return Ok(());
        }
        let Some((action, subject)) = audited(caller, command, reply) else { return Ok(()) };
        let actor = match caller {
            Caller::User { id, .. } => AuditActor::User(*id),
            Caller::Service(service) => AuditActor::Service(*service),
            Caller::System | Caller::Anonymous => match command {
                Command::NoteOperation { certificate: Some(shown), .. }
                | Command::RaiseVersion { certificate: Some(shown), .. } => AuditActor::Certificate(*shown),
                _ => AuditActor::Cluster,
            },
        };
        let meta = &mut self.state.meta;
        meta.audit_seq += 1;
        let (seq, previous_hash) = (meta.audit_seq, meta.audit_hash);
        let (index, time_ms) = (meta.index, meta.now_ms);
        let row = AuditRow { index, time_ms, actor, action, subject, previous_hash, hash: [0; 32] };
        let row = AuditRow { hash: row_digest(seq, &row), ..row };
        self.meta().audit_hash = row.hash;
        self.state.insert(Table::Audit, &seq.to_be_bytes(), &row)?;
        self.trim_audit()
    }

    fn trim_audit(&mut self) -> Result<(), StoreError> {
        let meta = &self.state.meta;
        let excess = (meta.audit_seq - meta.audit_dropped).saturating_sub(meta.policy.audit_rows_max);
        for _ in 0..excess.min(AUDIT_DROPS_MAX) {
            let key = (self.state.meta.audit_dropped + 1).to_be_bytes();
            let row: AuditRow = self.state.row_required(Table::Audit, &key)?;
            self.state.remove(Table::Audit, &key)?;
            self.meta().audit_dropped += 1;
            self.meta().audit_anchor = row.hash;
        }
        Ok(())
    }
}

/// What a command is called in the audit, and whom it is about; `None` for what is not an operator's.
fn audited(caller: &Caller, command: &Command, reply: &Reply) -> Option<(AuditAction, AuditSubject)> {
    let key = |key_id: &String| AuditSubject::Key(key_id.clone());
    Some(match command {
        Command::SetRoles { user, .. } => (AuditAction::SetRoles, AuditSubject::User(*user)),
        Command::BanUser { user } => (AuditAction::BanUser, AuditSubject::User(*user)),
        Command::UnbanUser { user } => (AuditAction::UnbanUser, AuditSubject::User(*user)),
        // Who erases himself is no operator.
        Command::EraseUser { user } if caller.user() == Ok(*user) => return None,
        Command::EraseUser { user } => (AuditAction::EraseUser, AuditSubject::User(*user)),
        Command::ClaimOperator { .. } => (AuditAction::ClaimOperator, AuditSubject::User(caller.user().ok()?)),
        Command::ReleaseLock { order } => (AuditAction::ReleaseLock, AuditSubject::Order(*order)),
        Command::RequestRefund { order } => (AuditAction::RequestRefund, AuditSubject::Order(*order)),
        Command::RegisterServiceKey { key_id, .. } => (AuditAction::RegisterServiceKey, key(key_id)),
        Command::RevokeServiceKey { key_id } => (AuditAction::RevokeServiceKey, key(key_id)),
        Command::RetireNodeKey { key_id } => (AuditAction::RetireNodeKey, key(key_id)),
        Command::PutWebhook { .. } => match reply {
            Reply::Webhook { webhook } => (AuditAction::PutWebhook, AuditSubject::Webhook(*webhook)),
            _ => return None,
        },
        Command::RemoveWebhook { webhook } => (AuditAction::RemoveWebhook, AuditSubject::Webhook(*webhook)),
        Command::SetPolicy(_) => (AuditAction::SetPolicy, AuditSubject::Cluster),
        Command::SetBootstrapToken { .. } => (AuditAction::SetBootstrapToken, AuditSubject::Cluster),
        Command::RaiseLineage { .. } => (AuditAction::RaiseLineage, AuditSubject::Cluster),
        Command::NoteOperation { operation, step, node, .. } => {
            (AuditAction::Operate(*operation, *step), node.map_or(AuditSubject::Cluster, AuditSubject::Node))
        }
        Command::RaiseVersion { .. } => (AuditAction::RaiseVersion, AuditSubject::Cluster),
        _ => return None,
    })
}
