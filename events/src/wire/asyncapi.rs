//! The AsyncAPI 3 document: on which subjects which messages are found.
//!
//! A channel is one type of event over all partitions; the operation says that Holdfast sends on it. Which broker it is, and
//! who may connect, is the operator's and stands in no document of ours.

use serde_json::{Map, Value, json};

use super::definitions::{SCHEMA_VERSION, description, schema};
use super::{ALL, CONTENT_TYPE_JSON, PARTITIONS, SPECVERSION, SUBJECT_PREFIX, header, parts};

/// The whole document, schemas included.
pub(super) fn document() -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for event_type in ALL {
        let (aggregate, happened) = parts(*event_type);
        let name = format!("{aggregate}-{happened}");
        channels.insert(
            name.clone(),
            json!({
                "address": format!("{SUBJECT_PREFIX}.{aggregate}.{{partition}}.{happened}"),
                "title": event_type.name(),
                "description": description(*event_type),
                "messages": { name.as_str(): { "$ref": format!("#/components/messages/{name}") } },
                "parameters": { "partition": { "$ref": "#/components/parameters/partition" } },
            }),
        );
        operations.insert(
            format!("send-{name}"),
            json!({
                "action": "send",
                "channel": { "$ref": format!("#/channels/{name}") },
                "messages": [{ "$ref": format!("#/channels/{name}/messages/{name}") }],
            }),
        );
        messages.insert(
            name,
            json!({
                "name": event_type.name(),
                "summary": description(*event_type),
                "contentType": CONTENT_TYPE_JSON,
                "headers": { "$ref": "#/components/schemas/headers" },
                "payload": {
                    "schemaFormat": "application/schema+json;version=draft-2020-12",
                    "schema": schema(*event_type),
                },
            }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Holdfast events",
            "version": format!("{SCHEMA_VERSION}.0.0"),
            "description": "Every change of a ticket, order, payment or account, in the order of the ledger. The stream's \
                sequence is the ledger's own number of the event; each entity's versions rise by one.",
        },
        "defaultContentType": CONTENT_TYPE_JSON,
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "parameters": { "partition": partition() },
            "schemas": { "headers": headers() },
        },
    })
}

fn partition() -> Value {
    let names: Vec<String> = (0..PARTITIONS).map(|number| format!("{number:02}")).collect();
    json!({ "enum": names, "description": "Part of the entities: all events of one entity are in one part." })
}

/// CloudEvents in binary mode, and the event's place in the ledger. Headers are texts; 64-bit numbers are decimal digits.
fn headers() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let number = |description: &str| json!({ "type": "string", "pattern": "^[0-9]+$", "description": description });
    json!({
        "type": "object",
        "required": [
            header::CE_SPECVERSION, header::CE_ID, header::CE_SOURCE, header::CE_TYPE, header::CE_SUBJECT, header::CE_TIME,
            header::SEQ, header::VERSION, header::LINEAGE, header::LOG_INDEX,
        ],
        "properties": {
            header::CE_SPECVERSION: { "type": "string", "const": SPECVERSION },
            header::CE_ID: text("{cluster}:{lineage}:{seq}: the same however often it is delivered"),
            header::CE_SOURCE: text("urn:holdfast:{cluster}"),
            header::CE_TYPE: { "type": "string", "enum": ALL.iter().map(|event_type| event_type.name()).collect::<Vec<_>>() },
            header::CE_SUBJECT: { "type": "string", "pattern": "^[0-9a-f]{24}$", "description": "the entity that changed" },
            header::CE_TIME: { "type": "string", "format": "date-time", "description": "ledger time of the change" },
            header::CE_DATASCHEMA: text("the id of the body's schema"),
            header::CONTENT_TYPE: { "type": "string", "const": CONTENT_TYPE_JSON },
            header::SEQ: number("number of the event, dense from 1; the stream's sequence"),
            header::VERSION: number("the entity's version after the change; rises by one with each"),
            header::LINEAGE: number("raised when the ledger was restored from a backup: read your entities anew"),
            header::LOG_INDEX: number("the log entry that decided the change"),
            header::TRACEPARENT: text("the trace of that entry, as W3C's Trace Context has it"),
        },
    })
}
