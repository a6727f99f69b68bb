//! Appends to one follower, several under way at once.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::{self, BoxStream, StreamExt};
use holdfast_ledger::planted;
use openraft::RPCTypes;
use openraft::entry::RaftEntry;
use openraft::errors::RPCError;
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::InstantOf;

use super::message::{self, method};
use super::{LinkError, Peer};
use crate::format;
use crate::session::{Call, Lane, OpenError, Session};
use crate::types::{Entry, LogId, TypeConfig};

type Answer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// One append that is under way: a request of openraft's, or a part of one that is too long for one frame.
struct Sent {
    call: Call,
    prev: Option<LogId>,
    last: Option<LogId>,
    commit: Option<LogId>,
    deadline: InstantOf<TypeConfig>,
    ends_request: bool,
}

struct Pipeline<'s, S> {
    peer: &'s Peer,
    session: Option<Session>,
    input: Option<S>,
    in_flight: VecDeque<Sent>,
    timeout: Duration,
}

/// What to do next.
enum Step {
    Send(AppendEntriesRequest<TypeConfig>),
    InputEnded,
    Answered(Sent, Result<bytes::Bytes, LinkError>),
}

/// The stream of answers to the appends in `input`. The session is opened with the first of them, not before: openraft waits
/// out its back-off inside `input`, so whoever fails without having asked for anything is called again at once.
pub(super) fn answers<'s, S>(peer: &'s Peer, input: S, option: RPCOption) -> BoxStream<'s, Answer>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    // A heartbeat's time-out is openraft's; a follower may well need longer for a batch of entries on a busy disk.
    let timeout = match peer.lane {
        Lane::Control => option.soft_ttl(),
        _ => peer.links.settings.append_timeout().max(option.soft_ttl()),
    };
    let pipeline = Pipeline { peer, session: None, input: Some(input), in_flight: VecDeque::new(), timeout };
    Box::pin(stream::unfold(Some(pipeline), |pipeline| async {
        let mut pipeline = pipeline?;
        let answer = pipeline.next_answer().await?;
        let goes_on = matches!(answer, Ok(Ok(_)));
        Some((answer, goes_on.then_some(pipeline)))
    }))
}

impl<S> Pipeline<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin,
{
    /// The answer to the oldest request that has none; `None` when all are answered and no more will come.
    async fn next_answer(&mut self) -> Option<Answer> {
        loop {
            match self.step().await? {
                Step::Send(request) => {
                    let last = request.entries.last().map(|entry| entry.log_id()).or(request.prev_log_id);
                    if let Err(error) = self.send(request).await {
                        if self.counts_a_removed_node() {
                            return Some(Ok(Ok(last)));
                        }
                        return Some(Err(self.peer.rpc_error(RPCTypes::AppendEntries, error)));
                    }
                }
                Step::InputEnded => self.input = None,
                Step::Answered(sent, answer) => {
                    if let Some(answer) = self.take(sent, answer) {
                        return Some(answer);
                    }
                }
            }
        }
    }

    async fn step(&mut self) -> Option<Step> {
        let may_send = self.in_flight.len() < self.peer.links.settings.appends_in_flight_max;
        let input = self.input.as_mut().filter(|_| may_send);
        let oldest = self.in_flight.front_mut();
        let answer = match (input, oldest) {
            (None, None) => return None,
            (Some(input), None) => return Some(input.next().await.map_or(Step::InputEnded, Step::Send)),
            (None, Some(oldest)) => TypeConfig::timeout_at(oldest.deadline, &mut oldest.call).await,
            (Some(input), Some(oldest)) => tokio::select! {
                biased;
                answer = TypeConfig::timeout_at(oldest.deadline, &mut oldest.call) => answer,
                request = input.next() => return Some(request.map_or(Step::InputEnded, Step::Send)),
            },
        };
        let sent = self.in_flight.pop_front().expect("it was there");
        let answer = match answer {
            Ok(answer) => answer.map_err(LinkError::Call),
            Err(_) => Err(self.timed_out()),
        };
        Some(Step::Answered(sent, answer))
    }

    /// The session, opened if it is not yet.
    async fn session(&mut self) -> Result<Session, LinkError> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let Peer { links, target, record, lane } = self.peer;
        let session = match TypeConfig::timeout(self.timeout, links.session(*target, record, *lane)).await {
            Ok(session) => session?,
            Err(_) => return Err(OpenError::TimedOut(self.timeout).into()),
        };
        self.session = Some(session.clone());
        Ok(session)
    }

    /// A request was not answered in time.
    fn timed_out(&self) -> LinkError {
        if let Some(session) = &self.session {
            self.peer.links.suspect(session);
        }
        LinkError::TimedOut(self.timeout)
    }

    /// Sends one request, in parts of at most `append_bytes_max` each.
    async fn send(&mut self, request: AppendEntriesRequest<TypeConfig>) -> Result<(), LinkError> {
        let session = self.session().await?;
        let bytes_max = self.peer.links.settings.append_bytes_max;
        let mut prev = request.prev_log_id;
        let mut rest = &request.entries[..];
        loop {
            let (part, later) = rest.split_at(entries_within(rest, bytes_max));
            let last = part.last().map(|entry| entry.log_id()).or(prev);
            let start = session.start(method::APPEND, message::append_bytes(part), |frame| {
                message::put_append(frame, &request.vote, prev, request.leader_commit, part)
            });
            let deadline = TypeConfig::now() + self.timeout;
            let call = match TypeConfig::timeout_at(deadline, start).await {
                Ok(call) => call?,
                Err(_) => return Err(self.timed_out()),
            };
            let commit = request.leader_commit;
            self.in_flight.push_back(Sent { call, prev, last, commit, deadline, ends_request: later.is_empty() });
            if later.is_empty() {
                return Ok(());
            }
            (prev, rest) = (last, later);
        }
    }

    fn counts_a_removed_node(&self) -> bool {
        planted::counts_a_removed_node(self.peer.links.place.node_id)
    }

    /// What an answer means for openraft; `None` if it is of a part whose request has more.
    fn take(&self, sent: Sent, answer: Result<bytes::Bytes, LinkError>) -> Option<Answer> {
        let peer = self.peer;
        let body = match answer {
            Ok(body) => body,
            Err(_) if self.counts_a_removed_node() => return Some(Ok(Ok(sent.last))),
            Err(error) => return Some(Err(peer.rpc_error(RPCTypes::AppendEntries, error))),
        };
        let matched = match message::decode_appended(body) {
            Ok(AppendEntriesResponse::Success) => sent.last,
            Ok(AppendEntriesResponse::PartialSuccess(upto)) => upto,
            Ok(AppendEntriesResponse::Conflict) => match sent.prev {
                Some(prev) => return Some(Ok(Err(StreamAppendError::Conflict(prev)))),
                None => return Some(Err(peer.malformed("the beginning of the log conflicts").into())),
            },
            Ok(AppendEntriesResponse::HigherVote(vote)) => {
                return Some(Ok(Err(StreamAppendError::HigherVote(vote))));
            }
            Err(error) => return Some(Err(peer.malformed(error).into())),
        };
        peer.links.floors.acknowledged(peer.target, matched, sent.commit);
        sent.ends_request.then_some(Ok(Ok(matched)))
    }
}

/// How many of `entries` travel together: as many as fit into `bytes_max`, and at least one.
fn entries_within(entries: &[Entry], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fitting = entries.iter().take_while(|entry| {
        bytes += format::entry_bytes(entry);
        bytes <= bytes_max
    });
    fitting.count().max(1).min(entries.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::EntryPayload;

    use super::*;
    use crate::types::Payload;

    #[test]
    fn appends_are_cut_by_bytes_and_a_great_entry_travels_alone() {
        let entry = |bytes: usize| Entry {
            log_id: LogId::new_term_index(1, 1),
            payload: EntryPayload::Normal(Payload(Bytes::from(vec![0; bytes]))),
        };
        assert_eq!(entries_within(&[], 100), 0, "a heartbeat");
        assert_eq!(entries_within(&[entry(500), entry(1)], 100), 1);
        assert_eq!(entries_within(&[entry(10), entry(10), entry(10), entry(10)], 100), 3);
    }
}
