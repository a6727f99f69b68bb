//! Streams: making them as they must be, and looking at them.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, LastRawMessageErrorKind, RetentionPolicy, StorageType,
};
use serde::Deserialize;

use super::{Answer, EMPTY, NatsConnection, message, with_cause};
use crate::broker::{BrokerError, Stored, StreamSettings, StreamState, lineage_of};

/// Copies of a stream, the most first: a cluster gives as many as it has brokers, a single one just one.
const REPLICAS: [usize; 3] = [5, 3, 1];

/// JetStream's answer to something that either worked or did not.
#[derive(Deserialize)]
struct Success {
    success: bool,
}

pub(super) fn state(info: &Info) -> StreamState {
    // A stream that never held anything begins at 0 by its own count.
    StreamState { first: info.state.first_sequence.max(1), last: info.state.last_sequence }
}

impl NatsConnection {
    pub(super) async fn stream_info(&self, stream: &str) -> Result<Option<Info>, BrokerError> {
        match self.ask::<Info>(format!("STREAM.INFO.{stream}"), EMPTY).await? {
            Answer::Good(info) => Ok(Some(info)),
            Answer::Code(ErrorCode::STREAM_NOT_FOUND, _) => Ok(None),
            Answer::Code(_, error) => Err(error),
        }
    }

    pub(super) async fn ensure_stream(&self, settings: &StreamSettings) -> Result<StreamState, BrokerError> {
        let info = match self.stream_info(&settings.name).await? {
            Some(info) => info,
            None => self.make(settings).await?,
        };
        match unfit(settings, &info.config) {
            Some(what) => Err(BrokerError::Misconfigured(format!("stream {}: {what}", settings.name))),
            None => Ok(state(&info)),
        }
    }

    async fn make(&self, settings: &StreamSettings) -> Result<Info, BrokerError> {
        if settings.first_seq > 1 && !self.numbers_streams {
            return Err(BrokerError::Misconfigured(format!(
                "stream {} has to begin with message {}, which NATS can from 2.10 on: this server is older",
                settings.name, settings.first_seq
            )));
        }
        let mut last = None;
        for replicas in REPLICAS {
            let config = config(settings, replicas);
            let subject = format!("STREAM.CREATE.{}", settings.name);
            let mut made = self.ask(subject.clone(), Some(&config)).await?;
            if matches!(made, Answer::Code(ErrorCode::STREAM_SUBJECT_OVERLAP, _)) {
                self.retire_older(settings).await?;
                made = self.ask(subject, Some(&config)).await?;
            }
            match made {
                Answer::Good(info) => return Ok(info),
                Answer::Code(
                    ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED
                    | ErrorCode::INSUFFICIENT_RESOURCES
                    | ErrorCode::CLUSTER_NO_PEERS,
                    error,
                ) => last = Some(error),
                Answer::Code(_, error) => return Err(error),
            }
        }
        Err(last.expect("at least one number of replicas was tried"))
    }

    async fn update(&self, config: &Config) -> Result<(), BrokerError> {
        match self.ask::<Info>(format!("STREAM.UPDATE.{}", config.name), Some(config)).await? {
            Answer::Good(_) => Ok(()),
            Answer::Code(_, error) => Err(error),
        }
    }

    /// The subjects belong to the newest lineage: streams of older ones keep what they hold and take nothing more.
    async fn retire_older(&self, settings: &StreamSettings) -> Result<(), BrokerError> {
        let lineage = lineage_of(&settings.name);
        let older: Vec<_> = self
            .names()
            .await?
            .into_iter()
            .filter(|name| lineage_of(name).is_some_and(|l| Some(l) < lineage))
            .collect();
        for name in older {
            let Some(info) = self.stream_info(&name).await? else { continue };
            let retired = format!("retired.{name}");
            if info.config.subjects != [retired.clone()] {
                self.update(&Config { subjects: vec![retired], ..info.config }).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn stored(&self, stream: &str, seq: u64) -> Result<Option<Stored>, BrokerError> {
        self.check()?;
        if seq == 0 {
            return Ok(None);
        }
        let handle = self.context.get_stream_no_info(stream).await;
        let handle = handle.map_err(|error| BrokerError::Away(error.to_string()))?;
        match handle.get_raw_message(seq).await {
            Ok(found) => {
                Ok(Some(Stored { seq, message: message(&found.subject, Some(&found.headers), found.payload) }))
            }
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(error) => match error.error_code() {
                    ErrorCode::NO_MESSAGE_FOUND => Ok(None),
                    ErrorCode::STREAM_NOT_FOUND => Err(BrokerError::NoStream(stream.into())),
                    _ => Err(BrokerError::Refused(error.to_string())),
                },
                _ => Err(BrokerError::Away(with_cause(&error))),
            },
        }
    }

    pub(super) async fn delete_stream(&self, stream: &str) -> Result<bool, BrokerError> {
        match self.ask::<Success>(format!("STREAM.DELETE.{stream}"), EMPTY).await? {
            Answer::Good(deleted) => Ok(deleted.success),
            Answer::Code(ErrorCode::STREAM_NOT_FOUND, _) => Ok(false),
            Answer::Code(_, error) => Err(error),
        }
    }

    pub(super) async fn delete_message(&self, stream: &str, seq: u64) -> Result<bool, BrokerError> {
        let body = serde_json::json!({ "seq": seq });
        match self.ask::<Success>(format!("STREAM.MSG.DELETE.{stream}"), Some(&body)).await? {
            Answer::Good(deleted) => Ok(deleted.success),
            Answer::Code(ErrorCode::NO_MESSAGE_FOUND, _) => Ok(false),
            Answer::Code(_, error) => match self.stored(stream, seq).await? {
                // Older servers have no code of its own for it.
                None => Ok(false),
                Some(_) => Err(error),
            },
        }
    }

    pub(super) async fn delete_consumer(&self, stream: &str, durable: &str) -> Result<bool, BrokerError> {
        match self.ask::<Success>(format!("CONSUMER.DELETE.{stream}.{durable}"), EMPTY).await? {
            Answer::Good(deleted) => Ok(deleted.success),
            Answer::Code(ErrorCode::CONSUMER_NOT_FOUND | ErrorCode::STREAM_NOT_FOUND, _) => Ok(false),
            Answer::Code(_, error) => Err(error),
        }
    }
}

fn config(settings: &StreamSettings, replicas: usize) -> Config {
    Config {
        name: settings.name.clone(),
        subjects: settings.subjects.clone(),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_age: settings.max_age,
        duplicate_window: settings.duplicate_window,
        num_replicas: replicas,
        first_sequence: (settings.first_seq > 1).then_some(settings.first_seq),
        deny_delete: settings.append_only,
        deny_purge: settings.append_only,
        ..Config::default()
    }
}

/// What of a stream that is there would lose, refuse or reorder events.
fn unfit(settings: &StreamSettings, config: &Config) -> Option<String> {
    let unlimited = |name: &str, value: i64| (value > 0).then(|| format!("{name} is {value}, and must be unlimited"));
    if let Some(what) = unlimited("max_bytes", config.max_bytes)
        .or(unlimited("max_msgs", config.max_messages))
        .or(unlimited("max_msgs_per_subject", config.max_messages_per_subject))
    {
        return Some(what);
    }
    if config.subjects != settings.subjects {
        return Some(format!("its subjects are {:?}, and must be {:?}", config.subjects, settings.subjects));
    }
    let must = [
        (config.retention == RetentionPolicy::Limits, "its retention must be by limits"),
        (config.storage == StorageType::File, "its storage must be on files"),
        (!config.no_ack, "it must acknowledge"),
        (!config.sealed, "it is sealed"),
        (config.mirror.is_none() && config.sources.as_ref().is_none_or(Vec::is_empty), "it must copy no other stream"),
        (!settings.append_only || (config.deny_delete && config.deny_purge), "it must deny deletes and purges"),
        (
            config.max_age.is_zero() || config.max_age >= settings.max_age,
            "its max_age is shorter than what consumers count on",
        ),
    ];
    must.iter().find(|(holds, _)| !holds).map(|(_, what)| what.to_string())
}
