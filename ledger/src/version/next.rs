//! A version that is not shipped: what rolling upgrades are tested with, in one build, before there is a second release.
//!
//! It is compiled in by the feature `next-version` alone, which only tests turn on, and a node plays it only where it is started
//! as such: otherwise it is the shipped build in all that it does. It changes a little of each kind of thing that a version can
//! change: a ticket's row counts its locks, a command sets that count back, and the greeting between nodes says how far the
//! caller has applied. Whoever adds a real version takes this as his pattern, and makes this the one after it.

use serde::{Deserialize, Serialize};

use super::{Next, Version, Versioned, Versions};
use crate::codec::{self, CodecError};
use crate::command::Command;
use crate::entities::Ticket;
use crate::entry::{Caller, Decided, Entry};
use crate::id::TicketId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

/// The version.
pub const VERSION: Version = Versions::SHIPPED.max + 1;

/// What a node is that plays a build of this version.
pub const NEXT: Option<Next> = Some(Next {
    versions: Versions { min: Versions::SHIPPED.min, max: VERSION },
    command: |ticket| Command::ForgetLocks { ticket },
});

/// What a ticket's row has more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketNext {
    /// How often it was locked since the cluster is at this version.
    pub locks: u32,
}

impl Ticket {
    /// Counts a lock, from this version on.
    pub(crate) fn count_lock(&mut self, version: Version) {
        if version >= VERSION {
            self.next.locks = self.next.locks.saturating_add(1);
        }
    }
}

impl Versioned for Ticket {
    fn write(&self, version: Version, bytes: &mut Vec<u8>) {
        if version >= VERSION {
            return codec::encode_as(bytes, VERSION, &(self, self.next));
        }
        codec::encode_into(bytes, self);
    }

    fn read(bytes: &[u8]) -> Result<Ticket, CodecError> {
        if codec::form(bytes)? < VERSION {
            return codec::decode(bytes);
        }
        let (ticket, next): (Ticket, TicketNext) = codec::decode_as(bytes, VERSION)?;
        Ok(Ticket { next, ..ticket })
    }
}

/// `ForgetLocks`: the count of a ticket's locks begins anew.
pub(crate) fn forget_locks<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: TicketId) -> Decided {
    caller.operator()?;
    let row: Option<Ticket> = entry.state.row(Table::Tickets, id.as_bytes())?;
    let mut ticket = row.ok_or(Refusal::TicketNotFound { ticket: id })?;
    ticket.next.locks = 0;
    entry.state.put(Table::Tickets, id.as_bytes(), &ticket)?;
    Ok(Reply::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Actor;
    use crate::market::Market;

    fn row(market: &Market) -> Vec<u8> {
        use crate::store::Read;
        let row = market.state.store().get(Table::Tickets, market.free.as_bytes());
        row.expect("a store in memory").expect("a ticket").to_vec()
    }

    #[test]
    fn rows_are_written_by_the_clusters_version_and_read_in_both_forms() {
        let mut market = Market::open();
        let before = row(&market);
        assert_eq!(before[0], 1, "a build that knows more writes what the cluster is at");
        let forget = || Command::ForgetLocks { ticket: market.free };
        let forgotten = forget();
        market.ask(&Actor::System, Command::RaiseVersion { to: VERSION, certificate: None });
        assert_eq!(row(&market), before, "a row is rewritten when it changes");
        market.ask(&Actor::System, forgotten);
        let after = row(&market);
        assert_eq!(after[0], VERSION);
        let plain = |bytes: &[u8]| Ticket::read(bytes).expect("both forms are read");
        assert_eq!(plain(&after), plain(&before));
    }
}
