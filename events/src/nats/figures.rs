//! What the server counts: consumers, and messages by subject.

use std::collections::BTreeMap;

use async_nats::jetstream::ErrorCode;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, NatsConnection};
use crate::broker::{BrokerError, ConsumerState};

/// Consumers that are looked at: what the server lists at once.
const CONSUMERS_MAX: usize = 256;

#[derive(Deserialize)]
struct Listed {
    /// `null` where there are none.
    consumers: Option<Vec<Consumer>>,
}

/// As much of a consumer's state as is shown.
#[derive(Deserialize)]
struct Consumer {
    name: String,
    config: Durable,
    delivered: Delivered,
    num_ack_pending: u64,
    num_redelivered: u64,
    num_pending: u64,
}

#[derive(Deserialize)]
struct Durable {
    durable_name: Option<String>,
}

#[derive(Deserialize)]
struct Delivered {
    stream_seq: u64,
}

#[derive(Deserialize)]
struct Info {
    state: Subjects,
}

#[derive(Deserialize)]
struct Subjects {
    /// Left out where there are none.
    #[serde(default)]
    subjects: BTreeMap<String, u64>,
}

impl NatsConnection {
    pub(super) async fn durable_consumers(&self, stream: &str) -> Result<Vec<ConsumerState>, BrokerError> {
        let first = json!({ "offset": 0 });
        let listed = match self.ask::<Listed>(format!("CONSUMER.LIST.{stream}"), Some(&first)).await? {
            Answer::Good(listed) => listed.consumers.unwrap_or_default(),
            Answer::Code(ErrorCode::STREAM_NOT_FOUND, _) => Vec::new(),
            Answer::Code(_, error) => return Err(error),
        };
        let durable = listed.into_iter().filter(|consumer| consumer.config.durable_name.is_some());
        let mut consumers: Vec<ConsumerState> = durable.take(CONSUMERS_MAX).map(Consumer::state).collect();
        consumers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(consumers)
    }

    pub(super) async fn held_by_subject(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<BTreeMap<String, u64>, BrokerError> {
        let wanted = json!({ "subjects_filter": filter });
        match self.ask::<Info>(format!("STREAM.INFO.{stream}"), Some(&wanted)).await? {
            Answer::Good(info) => Ok(info.state.subjects),
            Answer::Code(ErrorCode::STREAM_NOT_FOUND, _) => Ok(BTreeMap::new()),
            Answer::Code(_, error) => Err(error),
        }
    }
}

impl Consumer {
    fn state(self) -> ConsumerState {
        ConsumerState {
            name: self.name,
            pending: self.num_pending,
            ack_pending: self.num_ack_pending,
            redelivered: self.num_redelivered,
            delivered: self.delivered.stream_seq,
        }
    }
}
