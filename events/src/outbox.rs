//! The ledger's outbox, as the relay needs it: dense rows to read, and a mirror of how far the stream has come.

use std::future::Future;

use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::event::Event;
use holdfast_ledger::planted::{Bug, at_work, foreseen};
use holdfast_ledger::query;
use holdfast_raft::failpoint::{Point, reach};
use holdfast_raft::node::{Consistency, Node, Unavailable};

/// Which rows there are, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub lineage: u16,
    /// The first event still kept; one past `last` where none is.
    pub first: u64,
    /// The last event emitted.
    pub last: u64,
    /// The stream is known to have all up to here.
    pub acked: u64,
    /// How often it is known to have lost some.
    pub losses: u32,
    /// More than this many waiting are worth an alert.
    pub waiting_soft_max: u64,
}

/// Some rows, and the log index of the state that they were read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    pub events: Vec<Event>,
    pub figures: Figures,
    pub index: u64,
}

/// The outbox of one node. Events are numbered 1, 2, 3 …, and never change.
pub trait Outbox: Send + Sync + 'static {
    /// Whether it is this node's turn to relay. Saves traffic; nothing goes wrong if two believe it.
    fn leads(&self) -> bool;

    /// 32 hex digits.
    fn cluster(&self) -> String;

    /// As fresh as everything that was acknowledged before, on whichever node.
    fn figures(&self) -> impl Future<Output = Result<Figures, Unavailable>> + Send;

    /// At most `limit` rows with a number above `after`, as far as this node has applied. May be fewer than asked.
    fn rows(&self, after: u64, limit: usize) -> impl Future<Output = Result<Rows, Unavailable>> + Send;

    /// Resolves once this node has applied more than `index`.
    fn applied_beyond(&self, index: u64) -> impl Future<Output = ()> + Send;

    /// Tells the ledger that the stream has all events up to `upto`: what is older than the retention may go. `losses` is what
    /// the ledger has counted; one more tells it that the stream has lost everything after `upto`, and nothing of that may go.
    fn acknowledge(&self, upto: u64, losses: u32) -> impl Future<Output = Result<(), Unavailable>> + Send;
}

/// The outbox of a node of the cluster.
#[derive(Clone)]
pub struct NodeOutbox(Node);

impl NodeOutbox {
    pub fn new(node: Node) -> NodeOutbox {
        NodeOutbox(node)
    }

    async fn read(&self, consistency: Consistency, after: u64, limit: usize) -> Result<Rows, Unavailable> {
        // Taken before the read, so that nothing is missed. Entries of replication itself move it and not the state's own index:
        // whoever waited for more than that would be woken by them for ever.
        let applied = self.0.status().applied_index;
        let read = |state: &holdfast_ledger::State<_>| {
            let mut events = match limit {
                0 => Vec::new(),
                _ => query::events(state, after, limit)?.events,
            };
            let meta = state.meta();
            if at_work(Bug::PublishBeforeCommit) && limit > 0 && after + events.len() as u64 == meta.event_seq {
                events.extend((meta.event_seq + 1..).map_while(|seq| foreseen(self.0.status().node_id, seq)));
            }
            let figures = Figures {
                lineage: meta.lineage,
                first: meta.outbox_first,
                last: meta.event_seq,
                acked: meta.outbox_acked,
                losses: meta.outbox_losses,
                waiting_soft_max: meta.policy.outbox_events_soft_max,
            };
            Ok(Rows { events, figures, index: meta.index.max(applied) })
        };
        self.0.read(consistency, read).await
    }
}

impl Outbox for NodeOutbox {
    fn leads(&self) -> bool {
        let status = self.0.status();
        status.leader == Some(status.node_id)
    }

    fn cluster(&self) -> String {
        format!("{:032x}", self.0.status().cluster_id)
    }

    async fn figures(&self) -> Result<Figures, Unavailable> {
        Ok(self.read(Consistency::Linearizable, 0, 0).await?.figures)
    }

    async fn rows(&self, after: u64, limit: usize) -> Result<Rows, Unavailable> {
        self.read(Consistency::Stale, after, limit).await
    }

    async fn applied_beyond(&self, index: u64) {
        self.0.applied_beyond(index).await;
    }

    async fn acknowledge(&self, upto: u64, losses: u32) -> Result<(), Unavailable> {
        reach(Point::BeforeOutboxAcknowledgement);
        let command = Command::AckOutbox { upto, losses };
        // The outcome says nothing that could be acted on: what is refused is said again with the next number.
        let answer = self.0.propose(Submitted { actor: Actor::System, idempotency: None, command }).await;
        reach(Point::AfterOutboxAcknowledgement);
        answer.map(|_| ())
    }
}
