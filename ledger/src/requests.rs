//! Requests for mails that prove who reads them: a few for each user and purpose, each good for a while.
//!
//! The request is only the ledger's side of it: that it was made, by which id, and until when it counts. What the mail carries
//! is signed by a node and names the request; nothing that would do instead of it stands in the state, the log or an event.

use crate::entities::{Purpose, Request, User};
use crate::entry::{Entry, Stop};
use crate::id::{ID_BYTES, RequestId, UserId};
use crate::keys;
use crate::limits::REQUESTS_PER_PURPOSE_MAX;
use crate::outcome::{Bound, Refusal};
use crate::rows::{damaged, decode};
use crate::state::State;
use crate::store::{Order, Read, StoreError, Write, prefix_end};
use crate::tables::Table;

impl<S: Read> State<S> {
    /// Whether a sweep would drop a request.
    pub(crate) fn request_is_due(&self) -> bool {
        self.fronts.request_ms.is_some_and(|end_ms| end_ms <= self.meta.now_ms)
    }

    /// The requests of a user, live and run out: his counter bounds them.
    fn requests_of(&self, id: UserId, user: &User) -> Result<Vec<(RequestId, Request)>, StoreError> {
        let to = prefix_end(id.as_bytes());
        let limit = user.requests as usize;
        let rows = self.store.range(Table::Requests, id.as_bytes(), to.as_deref(), Order::Ascending, limit)?;
        let requests = rows.iter().map(|(key, row)| {
            let request = keys::id_at(key, ID_BYTES).ok_or_else(|| damaged(Table::Requests, key, "short key"))?;
            Ok((RequestId(request), decode(Table::Requests, key, row)?))
        });
        requests.collect()
    }
}

impl<S: Write> Entry<'_, S> {
    /// Opens a request. Counts it in `user`, which the caller writes.
    pub fn open_request(
        &mut self,
        id: UserId,
        user: &mut User,
        purpose: Purpose,
    ) -> Result<(RequestId, Request), Stop> {
        let created_ms = self.now_ms();
        self.drop_requests(id, user, |request| request.expires_ms <= created_ms)?;
        let open = self.state.requests_of(id, user)?.iter().filter(|(_, other)| other.purpose == purpose).count();
        if open >= REQUESTS_PER_PURPOSE_MAX as usize {
            return Err(Refusal::TooMany { what: Bound::Requests, max: REQUESTS_PER_PURPOSE_MAX }.into());
        }
        let expires_ms = created_ms + self.state.meta.policy.request_ttl_ms;
        let request_id = RequestId(self.mint());
        let request = Request { purpose, created_ms, expires_ms };
        let key = keys::pair(id.0, request_id.0);
        self.state.insert(Table::Requests, &key, &request)?;
        self.state.mark(Table::RequestsByEnd, &keys::aged(expires_ms, &key))?;
        let front = &mut self.state.fronts.request_ms;
        *front = Some(front.map_or(expires_ms, |first_ms| first_ms.min(expires_ms)));
        user.requests += 1;
        Ok((request_id, request))
    }

    /// A live request of this purpose is there, or why not.
    pub fn check_request(&self, user: UserId, request: RequestId, purpose: Purpose) -> Result<(), Stop> {
        let row: Option<Request> = self.state.row(Table::Requests, &keys::pair(user.0, request.0))?;
        match row.filter(|row| row.purpose == purpose && self.now_ms() < row.expires_ms) {
            Some(_) => Ok(()),
            None => Err(Refusal::RequestNotFound.into()),
        }
    }

    /// Drops those of the user's requests that `is_over`. Counts it in `user`, which the caller writes.
    pub fn drop_requests(
        &mut self,
        id: UserId,
        user: &mut User,
        is_over: impl Fn(&Request) -> bool,
    ) -> Result<(), StoreError> {
        if user.requests == 0 {
            return Ok(());
        }
        for (request_id, request) in self.state.requests_of(id, user)? {
            if is_over(&request) {
                let key = keys::pair(id.0, request_id.0);
                self.state.remove(Table::Requests, &key)?;
                self.state.unmark(Table::RequestsByEnd, &keys::aged(request.expires_ms, &key))?;
                user.requests -= 1;
            }
        }
        Ok(())
    }

    /// Drops what has run out, at most `max` requests.
    pub fn sweep_requests(&mut self, max: usize) -> Result<(), StoreError> {
        if !self.state.request_is_due() {
            return Ok(());
        }
        let to = (self.now_ms() + 1).to_be_bytes();
        let due = self.state.store.range(Table::RequestsByEnd, &[], Some(&to), Order::Ascending, max)?;
        for (key, _) in &due {
            let user = keys::id_at(key, size_of::<u64>());
            let id = UserId(user.ok_or_else(|| damaged(Table::RequestsByEnd, key, "short key"))?);
            self.state.remove(Table::Requests, &key[size_of::<u64>()..])?;
            self.state.unmark(Table::RequestsByEnd, key)?;
            let mut user = self.user_required(id)?;
            user.requests -= 1;
            self.put_user(id, &user);
        }
        self.state.read_request_front()
    }
}
