//! TypeScript types of the events, written from their JSON Schemas.
//!
//! Knows the few kinds of schema that our own types have, and panics on any other: the test that writes the file would
//! notice, and nothing at run time calls it.

use std::fmt::Write;

use serde_json::Value;

use super::definitions::{description, schema};
use super::{ALL, header, parts};

const HEAD: &str = "// Types of Holdfast's events. Generated from events/src/wire/types.rs by a test; do not edit.\n\n";

/// The file of declarations: one interface a type of event, and a map from name to interface.
pub(super) fn declarations() -> String {
    let mut text = String::from(HEAD);
    for event_type in ALL {
        let schema = schema(*event_type);
        comment(&mut text, "", description(*event_type));
        let _ = write!(text, "export interface {} ", interface(parts(*event_type)));
        object(&mut text, &schema, 0);
        text.push_str("\n\n");
    }
    text.push_str("/** The body of each type of event, by the header `ce-type`. */\nexport interface Events {\n");
    for event_type in ALL {
        let _ = writeln!(text, "  '{}': {};", event_type.name(), interface(parts(*event_type)));
    }
    text.push_str("}\n\nexport type EventType = keyof Events;\n\n");
    text.push_str(
        "/** The headers of every message; 64-bit numbers are decimal digits. */\nexport interface EventHeaders {\n",
    );
    let plain = [
        header::CE_SPECVERSION,
        header::CE_ID,
        header::CE_SOURCE,
        header::CE_SUBJECT,
        header::CE_TIME,
        header::CE_DATASCHEMA,
        header::CONTENT_TYPE,
        header::SEQ,
        header::VERSION,
        header::LINEAGE,
        header::LOG_INDEX,
        header::TRACEPARENT,
    ];
    let _ = writeln!(text, "  '{}': EventType;", header::CE_TYPE);
    for name in plain {
        let _ = writeln!(text, "  '{name}': string;");
    }
    text.push_str("}\n");
    text
}

/// `ticket`, `created` → `TicketCreated`.
fn interface((aggregate, happened): (&str, &str)) -> String {
    let mut name = String::new();
    for word in [aggregate, happened].iter().flat_map(|part| part.split('_')) {
        let (first, rest) = word.split_at(1);
        name.push_str(&first.to_uppercase());
        name.push_str(rest);
    }
    name
}

fn comment(text: &mut String, indent: &str, says: &str) {
    let _ = writeln!(text, "{indent}/** {} */", says.replace('\n', " "));
}

fn object(text: &mut String, schema: &Value, depth: usize) {
    let indent = "  ".repeat(depth + 1);
    let required: Vec<&str> =
        schema["required"].as_array().map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    text.push_str("{\n");
    for (name, property) in schema["properties"].as_object().expect("an object's schema lists its properties") {
        if let Some(says) = property["description"].as_str() {
            comment(text, &indent, says);
        }
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        let _ = write!(text, "{indent}{name}{mark}: ");
        kind(text, property, depth + 1);
        text.push_str(";\n");
    }
    text.push_str(&"  ".repeat(depth));
    text.push('}');
}

fn kind(text: &mut String, schema: &Value, depth: usize) {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|value| value.to_string().replace('"', "'")).collect();
        text.push_str(&values.join(" | "));
        return;
    }
    match schema["type"].as_str() {
        Some("string") => text.push_str("string"),
        Some("number" | "integer") => text.push_str("number"),
        Some("boolean") => text.push_str("boolean"),
        Some("object") => object(text, schema, depth),
        Some("array") => {
            text.push_str("Array<");
            kind(text, &schema["items"], depth);
            text.push('>');
        }
        _ => panic!("no TypeScript is known for the schema {schema}"),
    }
}
