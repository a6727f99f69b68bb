//! What is done to the cluster at this listener, written into the audit.
//!
//! A change of the members leaves two rows: one that it was asked for, without which it is not made, and one of what came of it.
//! The first is there whatever becomes of the node that makes the change; the second may be missing where that node, or the
//! quorum, went away with it. The members themselves say then what happened.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use holdfast_api::server::Shown;
use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::entities::{Operation, Step};
use holdfast_raft::node::{Node, Unavailable};
use holdfast_raft::plan::Change;

/// How long what came of an operation may take to be written down: the answer waits for it.
const OUTCOME_WAIT: Duration = Duration::from_secs(2);

/// Who asks, by the certificate that he has shown.
#[derive(Debug, Clone, Copy)]
pub struct By(Option<[u8; 32]>);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<By, Infallible> {
        Ok(By(parts.extensions.get::<Shown>().map(|shown| shown.0)))
    }
}

impl By {
    /// SHA-256 of the certificate, where one was shown.
    pub fn certificate(self) -> Option<[u8; 32]> {
        self.0
    }

    /// Writes down that it is asked for; what is not written down must not be done.
    pub async fn asks(self, node: &Node, operation: Operation, of: Option<u64>) -> Result<(), Unavailable> {
        self.note(node, operation, Step::Asked, of).await
    }

    /// Writes down that it was done, before anybody has any use of it.
    pub async fn did(self, node: &Node, operation: Operation, of: Option<u64>) -> Result<(), Unavailable> {
        self.note(node, operation, Step::Done, of).await
    }

    /// Writes down what came of it, if that can be done now.
    pub async fn ended(self, node: &Node, operation: Operation, of: Option<u64>, done: bool) {
        let step = if done { Step::Done } else { Step::Failed };
        match tokio::time::timeout(OUTCOME_WAIT, self.note(node, operation, step, of)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(?operation, ?step, %error, "the audit does not tell what came of it"),
            Err(_) => tracing::warn!(?operation, ?step, "the audit does not tell yet what came of it"),
        }
    }

    async fn note(self, node: &Node, operation: Operation, step: Step, of: Option<u64>) -> Result<(), Unavailable> {
        let command = Command::NoteOperation { operation, step, node: of, certificate: self.0 };
        let answer = node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await?;
        assert!(answer.outcome.settled.is_ok(), "the ledger writes down whatever the cluster notes");
        Ok(())
    }
}

/// What a change is called in the audit, and which member it is about.
pub fn named(change: &Change) -> (Operation, Option<u64>) {
    match change {
        Change::Promote { node_id } => (Operation::PromoteMember, Some(*node_id)),
        Change::Demote { node_id } => (Operation::DemoteMember, Some(*node_id)),
        Change::Remove { node_id } => (Operation::RemoveMember, Some(*node_id)),
        Change::Replace { node_id, .. } => (Operation::ReplaceMember, Some(*node_id)),
        Change::Transfer { to } => (Operation::TransferLeader, Some(*to)),
        Change::Resume => (Operation::ResumeChange, None),
        Change::Undo => (Operation::UndoChange, None),
    }
}
