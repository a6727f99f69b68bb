//! The definition of the events for other languages: a JSON Schema a type, one AsyncAPI document, TypeScript types.
//!
//! All are made from [`super::types`] and kept in `events/schemas/`, where a test holds them equal. Schemas stand on their own,
//! without references, so that any validator reads one file and no more.

use holdfast_ledger::event::EventType;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::types::{Expiration, Order, Payment, Place, Ticket, User, UserRequest};
use super::{ALL, asyncapi, parts, typescript};

/// The version of every schema. Fields may be added under it; anything else is a new one.
pub const SCHEMA_VERSION: u32 = 1;

/// What a schema is called: `urn:holdfast:schema:ticket:created:1`.
pub fn schema_id(event_type: EventType) -> String {
    format!("urn:holdfast:schema:{}:{SCHEMA_VERSION}", event_type.name())
}

/// What a schema's file is called: `ticket-created.v1.json`.
pub fn schema_file(event_type: EventType) -> String {
    let (aggregate, happened) = parts(event_type);
    format!("{aggregate}-{happened}.v{SCHEMA_VERSION}.json")
}

/// The JSON Schema (2020-12) of a type's body.
pub fn schema(event_type: EventType) -> Value {
    let body = body_schema(event_type);
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("$id".into(), json!(schema_id(event_type)));
    schema.insert("title".into(), json!(event_type.name()));
    schema.insert("description".into(), json!(description(event_type)));
    for (key, value) in body.as_object().expect("a struct's schema is an object") {
        if !["$schema", "title", "description"].contains(&key.as_str()) {
            schema.insert(key.clone(), value.clone());
        }
    }
    let mut schema = Value::Object(schema);
    tidy(&mut schema);
    // Whatever order the build's map of members keeps: the files have one.
    schema.sort_all_objects();
    schema
}

/// Every file of `events/schemas/`: name and content.
pub fn files() -> Vec<(String, String)> {
    let mut files: Vec<_> =
        ALL.iter().map(|event_type| (schema_file(*event_type), pretty(&schema(*event_type)))).collect();
    files.push(("asyncapi.json".into(), pretty(&asyncapi::document())));
    files.push(("events.d.ts".into(), typescript::declarations()));
    files
}

/// The table of all types for a document: name, what it tells, and the fields of its body.
pub fn table() -> String {
    let mut table = String::from("| type | tells | fields |\n|---|---|---|\n");
    for event_type in ALL {
        let schema = schema(*event_type);
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let optional = schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys());
        let optional = optional.filter(|name| !required.contains(&name.as_str())).map(|name| format!("{name}?"));
        let fields: Vec<String> = required.iter().map(|name| name.to_string()).chain(optional).collect();
        let row = format!("| `{}` | {} | {} |\n", event_type.name(), description(*event_type), fields.join(", "));
        table.push_str(&row);
    }
    table
}

/// What an event of the type tells, in one sentence.
pub(super) fn description(event_type: EventType) -> &'static str {
    match event_type {
        EventType::TicketCreated => "A ticket was put on sale.",
        EventType::TicketUpdated => "A ticket changed: its listing, who has it, or that it was withdrawn.",
        EventType::OrderCreated => "A buyer locked tickets.",
        EventType::OrderUpdated => "An order changed: its deadline, or the bank is being asked.",
        EventType::OrderCancelled => "An order ended without a sale; its tickets are free again.",
        EventType::OrderCompleted => "An order is paid for; its tickets are sold.",
        EventType::OrderReinstated => {
            "An order that had run out is complete: the bank's late answer found its tickets still free."
        }
        EventType::ExpirationComplete => "A lock ran out. Told beside order:cancelled, with its version.",
        EventType::PaymentRequested => "A buyer asked to pay.",
        EventType::PaymentCreated => "A payment was authorised and completed its order; the money is taken next.",
        EventType::PaymentUpdated => "A payment moved on.",
        EventType::UserCreated => "Somebody signed up.",
        EventType::UserUpdated => "An account changed.",
        EventType::UserBanned => "An account was banned: its tokens are no longer honoured.",
        EventType::UserResetRequested => "Somebody asked for a link to choose a new password.",
        EventType::UserVerificationRequested => "A user asked for a link to confirm his address.",
        EventType::LineJoined => "A buyer stands in the line for a ticket that somebody else has.",
        EventType::LineOffered => "The ticket is free again and kept for the next in line.",
        EventType::LineTaken => "The buyer to whom it was offered has locked the ticket.",
        EventType::LineLeft => "A place in the line is gone: given up, or there is nothing to wait for any more.",
        EventType::LinePassed => "An offer ran out and went to the next in line.",
    }
}

fn body_schema(event_type: EventType) -> Schema {
    match event_type {
        EventType::TicketCreated | EventType::TicketUpdated => of::<Ticket>(),
        EventType::OrderCreated
        | EventType::OrderUpdated
        | EventType::OrderCancelled
        | EventType::OrderCompleted
        | EventType::OrderReinstated => of::<Order>(),
        EventType::ExpirationComplete => of::<Expiration>(),
        EventType::PaymentRequested | EventType::PaymentCreated | EventType::PaymentUpdated => of::<Payment>(),
        EventType::UserCreated | EventType::UserUpdated | EventType::UserBanned => of::<User>(),
        EventType::UserResetRequested | EventType::UserVerificationRequested => of::<UserRequest>(),
        EventType::LineJoined
        | EventType::LineOffered
        | EventType::LineTaken
        | EventType::LineLeft
        | EventType::LinePassed => of::<Place>(),
    }
}

fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}

/// Makes a schema say what is written: what is absent is left out, never null; and drops formats that only Rust has.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let is_rust = |format: &Value| ["uint64", "uint32", "uint16"].iter().any(|rust| format == rust);
            if members.get("format").is_some_and(is_rust) {
                members.remove("format");
            }
            if members.get("type") == Some(&json!("object")) {
                leave_out_null(members);
            }
            members.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn leave_out_null(object: &mut Map<String, Value>) {
    let required: Vec<Value> = object.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties.iter_mut().filter(|(name, _)| !required.contains(&json!(name))) {
        let members = property.as_object_mut().unwrap_or_else(|| panic!("{name}: a property's schema is an object"));
        members.remove("default");
        if let Some(Value::Array(choices)) = members.remove("anyOf") {
            let chosen = choices.into_iter().find(|choice| choice.get("type") != Some(&json!("null")));
            let chosen = chosen.and_then(|choice| choice.as_object().cloned()).expect("one choice that is not null");
            for (key, value) in chosen {
                members.entry(key).or_insert(value);
            }
        }
        if let Some(Value::Array(values)) = members.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        if let Some(Value::Array(types)) = members.get("type") {
            let kind = types.iter().find(|kind| *kind != "null").cloned();
            members.insert("type".into(), kind.unwrap_or_else(|| panic!("{name}: a type beside null")));
        }
    }
}

fn pretty(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&sorted).expect("a value is JSON");
    text.push('\n');
    text
}
