//! What is told to the world: messages as consumers read them, and the definition that other languages are given.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_events::wire::{self, Body, Malformed, Message, definitions, header};
use holdfast_ledger::codec;
use holdfast_ledger::entities::{
    CancelReason, Fence, Holding, LeftReason, OrderStatus, PaymentStatus, PaymentStep, PlaceStatus,
};
use holdfast_ledger::event::{Event, EventBody, EventType};
use holdfast_ledger::id::{Id, OrderId, PaymentId, PlaceId, RequestId, TicketId, UserId};
use holdfast_ledger::money::Currency;
use serde_json::{Value, json};

const CLUSTER: &str = "c1";

fn id(ordinal: u32) -> Id {
    Id::mint(0, 7, ordinal)
}

fn event(event_type: EventType, entity: Id, body: EventBody) -> Event {
    Event { seq: 12, lineage: 0, index: 99, time_ms: 1_700_000_000_000, event_type, entity, version: 3, body }
}

fn ticket_event(event_type: EventType) -> Event {
    let body = EventBody::Ticket {
        title: "Dodgers <3".into(),
        price_minor: 1999,
        price_version: 3,
        currency: Currency::USD,
        user: UserId(id(1)),
        holding: Holding::Locked { order: OrderId(id(3)) },
        withdrawn: false,
    };
    event(event_type, id(2), body)
}

fn order_event(event_type: EventType, status: OrderStatus) -> Event {
    let body = EventBody::Order {
        user: UserId(id(1)),
        status,
        deadline_ms: 1_700_000_900_000,
        currency: Currency::USD,
        tickets: vec![(TicketId(id(2)), 1999)],
        reason: match status {
            OrderStatus::Cancelled(reason) => Some(reason),
            _ => None,
        },
    };
    event(event_type, id(3), body)
}

/// One event of every type.
fn samples() -> Vec<Event> {
    let payment = |status, next| EventBody::Payment {
        payment: PaymentId(id(4)),
        order: OrderId(id(3)),
        user: UserId(id(1)),
        attempt: 1,
        fence: Fence { index: 7, ordinal: 3 },
        failure: None,
        status,
        next,
        amount_minor: 1999,
        currency: Currency::USD,
        intent_id: Some("pi_1".into()),
    };
    let user = |banned| EventBody::User { user: UserId(id(1)), banned, erased: false, verified: true, epoch: 2 };
    let request =
        || EventBody::UserRequest { user: UserId(id(1)), request: RequestId(id(5)), expires_ms: 1_700_000_900_000 };
    let place =
        |status| EventBody::Place { place: PlaceId(id(6)), ticket: TicketId(id(2)), user: UserId(id(1)), status };
    let order = OrderId(id(3));
    let one = |event_type: &EventType| match event_type {
        EventType::TicketCreated | EventType::TicketUpdated => ticket_event(*event_type),
        EventType::OrderCreated => order_event(*event_type, OrderStatus::Created),
        EventType::OrderUpdated => order_event(*event_type, OrderStatus::AwaitingPayment),
        EventType::OrderCompleted | EventType::OrderReinstated => order_event(*event_type, OrderStatus::Complete),
        EventType::OrderCancelled => order_event(*event_type, OrderStatus::Cancelled(CancelReason::Expired)),
        EventType::ExpirationComplete => event(*event_type, id(3), EventBody::Expiration { order: OrderId(id(3)) }),
        EventType::PaymentRequested => {
            event(*event_type, id(4), payment(PaymentStatus::Requested, Some(PaymentStep::Authorize)))
        }
        EventType::PaymentCreated => {
            event(*event_type, id(4), payment(PaymentStatus::Authorized, Some(PaymentStep::Capture)))
        }
        EventType::PaymentUpdated => event(*event_type, id(4), payment(PaymentStatus::Captured, None)),
        EventType::UserCreated | EventType::UserUpdated => event(*event_type, id(1), user(false)),
        EventType::UserBanned => event(*event_type, id(1), user(true)),
        EventType::UserResetRequested | EventType::UserVerificationRequested => event(*event_type, id(1), request()),
        EventType::LineJoined => event(*event_type, id(6), place(PlaceStatus::Waiting)),
        EventType::LineOffered => {
            event(*event_type, id(6), place(PlaceStatus::Offered { deadline_ms: 1_700_000_900_000 }))
        }
        EventType::LineTaken => event(*event_type, id(6), place(PlaceStatus::Taken { order })),
        EventType::LineLeft => event(*event_type, id(6), place(PlaceStatus::Left(LeftReason::Closed))),
        EventType::LinePassed => event(*event_type, id(6), place(PlaceStatus::Passed)),
    };
    wire::ALL.iter().map(one).collect()
}

fn headers(message: &wire::Published) -> BTreeMap<&str, &str> {
    message.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn read(message: &wire::Published) -> Result<Message, Malformed> {
    let headers = headers(message);
    Message::read(|name| headers.get(name).copied(), &message.body)
}

fn body(event: &Event) -> Value {
    serde_json::from_slice(&wire::publish(event, CLUSTER).body).expect("JSON")
}

/// The list of types is the ledger's: its encoding counts them.
#[test]
fn no_type_of_event_is_missing() {
    let of_ledger: Vec<EventType> = (0u32..).map_while(|number| codec::decode(&codec::encode(&number)).ok()).collect();
    assert!(of_ledger.len() >= 14);
    let mut listed = wire::ALL.to_vec();
    listed.sort();
    assert_eq!(listed, of_ledger);
}

#[test]
fn headers_are_cloudevents_and_the_place_in_the_ledger() {
    let message = wire::publish(&ticket_event(EventType::TicketUpdated), CLUSTER);
    let entity = id(2).to_string();
    let traceparent = wire::trace::Context::of_entry(CLUSTER, 0, 99).traceparent();
    let expected = [
        (header::CE_SPECVERSION, "1.0"),
        (header::CE_ID, "c1:0:12"),
        (header::CE_SOURCE, "urn:holdfast:c1"),
        (header::CE_TYPE, "ticket:updated"),
        (header::CE_SUBJECT, &entity),
        (header::CE_TIME, "2023-11-14T22:13:20.000Z"),
        (header::CE_DATASCHEMA, "urn:holdfast:schema:ticket:updated:1"),
        (header::CONTENT_TYPE, "application/json"),
        (header::SEQ, "12"),
        (header::VERSION, "3"),
        (header::LINEAGE, "0"),
        (header::LOG_INDEX, "99"),
        (header::TRACEPARENT, &traceparent),
    ];
    assert_eq!(headers(&message), BTreeMap::from(expected));
    assert_eq!(message.seq, 12);
}

#[test]
fn a_subject_names_aggregate_part_and_event() {
    let subject = wire::subject(EventType::TicketUpdated, id(2));
    let parts: Vec<&str> = subject.split('.').collect();
    assert_eq!((&parts[..3], parts[4]), (&["ledger", "v1", "ticket"][..], "updated"));
    assert!(parts[3].len() == 2 && parts[3].parse::<u64>().expect("a number") < wire::PARTITIONS, "{subject}");
    assert_eq!(wire::subject(EventType::TicketCreated, id(2)).split('.').nth(3), Some(parts[3]), "one part an entity");
    let used: std::collections::BTreeSet<String> =
        (0..500).map(|ordinal| wire::subject(EventType::TicketCreated, id(ordinal))).collect();
    assert_eq!(used.len() as u64, wire::PARTITIONS, "all parts are used");
    assert_eq!(wire::filter("ticket"), "ledger.v1.ticket.>");
    assert_eq!(wire::filter_of(EventType::TicketCreated), "ledger.v1.ticket.*.created");
}

/// The fields that the original application's listeners read, under its names.
#[test]
fn the_originals_events_carry_the_originals_fields() {
    let has = |event: &Event, wanted: Value| {
        let body = body(event);
        for (name, value) in wanted.as_object().expect("an object") {
            assert_eq!(&body[name], value, "{} in {body}", event.event_type.name());
        }
    };
    let (user, ticket, order) = (id(1).to_string(), id(2).to_string(), id(3).to_string());
    for event_type in [EventType::TicketCreated, EventType::TicketUpdated] {
        has(
            &ticket_event(event_type),
            json!({ "id": ticket, "version": 3, "title": "Dodgers <3", "price": 19.99, "userId": user, "orderId": order }),
        );
    }
    has(
        &order_event(EventType::OrderCreated, OrderStatus::Created),
        json!({
            "id": order, "version": 3, "status": "created", "userId": user, "expiresAt": "2023-11-14T22:28:20.000Z",
            "ticket": { "id": ticket, "price": 19.99 },
        }),
    );
    let cancelled = order_event(EventType::OrderCancelled, OrderStatus::Cancelled(CancelReason::Buyer));
    has(&cancelled, json!({ "id": order, "version": 3 }));
    assert_eq!(body(&cancelled)["ticket"]["id"], json!(ticket));
    for event in samples() {
        match event.event_type {
            EventType::ExpirationComplete => has(&event, json!({ "orderId": order })),
            EventType::PaymentCreated => {
                has(&event, json!({ "id": id(4).to_string(), "orderId": order, "stripeId": "pi_1" }));
            }
            _ => {}
        }
    }
}

#[test]
fn an_order_of_several_tickets_lists_them_and_has_no_single_one() {
    let mut event = order_event(EventType::OrderCreated, OrderStatus::Created);
    if let EventBody::Order { tickets, .. } = &mut event.body {
        tickets.push((TicketId(id(9)), 2000));
    }
    let body = body(&event);
    assert_eq!(body.get("ticket"), None);
    assert_eq!(body["tickets"][1], json!({ "id": id(9).to_string(), "price": 20 }));
}

#[test]
fn every_event_is_read_back_as_it_was_told() {
    for event in samples() {
        let message = wire::publish(&event, CLUSTER);
        assert_eq!(message, wire::publish(&event, CLUSTER), "the same bytes every time");
        let read = read(&message).unwrap_or_else(|error| panic!("{}: {error}", event.event_type.name()));
        assert_eq!(read.envelope.event_type, event.event_type);
        assert_eq!((read.envelope.entity, read.envelope.version), (event.entity, event.version));
        assert_eq!((read.envelope.seq, read.envelope.index, read.envelope.time_ms), (12, 99, event.time_ms));
        assert_eq!(read.envelope.is_change(), event.event_type != EventType::ExpirationComplete);
        let told = serde_json::to_value(wire::structured(&event, CLUSTER)).expect("JSON");
        assert_eq!(told["data"], serde_json::to_value(&read.body).expect("JSON"));
        assert_eq!((&told["type"], &told["seq"]), (&json!(event.event_type.name()), &json!("12")));
    }
}

#[test]
fn what_is_no_message_has_a_reason() {
    let message = wire::publish(&ticket_event(EventType::TicketCreated), CLUSTER);
    let with = |name: &'static str, value: &str| {
        let mut message = message.clone();
        message.headers.retain(|(header, _)| *header != name);
        message.headers.extend((!value.is_empty()).then(|| (name, value.to_string())));
        read(&message)
    };
    for name in [header::CE_ID, header::CE_TYPE, header::CE_SUBJECT, header::CE_TIME, header::SEQ, header::VERSION] {
        assert_eq!(with(name, ""), Err(Malformed::Header(name)));
    }
    assert_eq!(with(header::SEQ, "-1"), Err(Malformed::Header(header::SEQ)));
    assert_eq!(with(header::CE_TYPE, "ticket:eaten"), Err(Malformed::UnknownType("ticket:eaten".into())));
    let other = id(77);
    assert_eq!(with(header::CE_SUBJECT, &other.to_string()), Err(Malformed::Entity { body: id(2), headers: other }));
    for body in ["", "{", "[]", "{\"id\":1}"] {
        let message = wire::Published { body: body.into(), ..message.clone() };
        assert!(matches!(read(&message), Err(Malformed::Body(_))), "{body}");
    }
}

#[test]
fn a_reader_ignores_fields_that_it_does_not_know() {
    let message = wire::publish(&ticket_event(EventType::TicketCreated), CLUSTER);
    let mut body: Value = serde_json::from_slice(&message.body).expect("JSON");
    body["colour"] = json!("blue");
    let newer = wire::Published { body: body.to_string().into(), ..message.clone() };
    assert!(matches!(read(&newer).map(|message| message.body), Ok(Body::Ticket(_))));
}

/// The files in `events/schemas/` are what the types say. `UPDATE_GOLDENFILES=1` writes them anew.
#[test]
fn the_schemas_are_what_the_types_say() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    let files = definitions::files();
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::create_dir_all(folder).expect("a folder");
        for (name, content) in &files {
            std::fs::write(folder.join(name), content).expect("a file");
        }
    }
    for (name, content) in &files {
        let kept = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            kept == *content,
            "events/schemas/{name} differs: run this test with UPDATE_GOLDENFILES=1 and look at it"
        );
    }
    let mut kept: Vec<String> = std::fs::read_dir(folder)
        .expect("events/schemas")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let mut made: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    kept.sort();
    made.sort();
    assert_eq!(kept, made, "no file of a type that is gone");
}

/// The table of types in `docs/EVENTS.md` is what the types say. `UPDATE_GOLDENFILES=1` writes it anew.
#[test]
fn the_document_lists_the_types_as_they_are() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/EVENTS.md"));
    let document = std::fs::read_to_string(path).expect("docs/EVENTS.md");
    let (begin, end) = ("<!-- types: made by a test -->\n", "<!-- end of types -->");
    let (before, rest) = document.split_once(begin).expect("where the table begins");
    let (kept, after) = rest.split_once(end).expect("where the table ends");
    let table = definitions::table();
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).expect("a file");
    } else {
        assert!(kept == table, "docs/EVENTS.md: run this test with UPDATE_GOLDENFILES=1 and look at the table");
    }
}

/// Every message fits its schema, and the schema refuses one that lacks a field or has one of another kind.
#[test]
fn messages_fit_their_schemas() {
    for event in samples() {
        let schema = definitions::schema(event.event_type);
        let body = body(&event);
        assert_eq!(fits(&schema, &body), Ok(()), "{}", event.event_type.name());
        for name in schema["required"].as_array().expect("required fields") {
            let mut lacking = body.clone();
            lacking.as_object_mut().expect("an object").remove(name.as_str().expect("a name"));
            assert!(fits(&schema, &lacking).is_err(), "{} without {name}", event.event_type.name());
            lacking[name.as_str().expect("a name")] = json!({ "of": "another kind" });
            assert!(fits(&schema, &lacking).is_err(), "{} with an odd {name}", event.event_type.name());
        }
    }
}

/// As much of JSON Schema as our schemas use; an unknown keyword fails, so that nothing goes unchecked.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let complain = |what: &str| Err(format!("{value}: {what} of {schema}"));
    for (keyword, says) in schema.as_object().ok_or("a schema is an object")? {
        match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" | "properties" | "format" => {}
            "type" => {
                let is = match says.as_str() {
                    Some("object") => value.is_object(),
                    Some("array") => value.is_array(),
                    Some("string") => value.is_string(),
                    Some("number") => value.is_number(),
                    Some("integer") => value.is_u64() || value.is_i64(),
                    Some("boolean") => value.is_boolean(),
                    _ => false,
                };
                if !is {
                    return complain("type");
                }
            }
            "required" => {
                let names = says.as_array().ok_or("required is a list")?;
                if !names.iter().all(|name| value.get(name.as_str().unwrap_or_default()).is_some()) {
                    return complain("required");
                }
            }
            "enum" if !says.as_array().ok_or("enum is a list")?.contains(value) => return complain("enum"),
            "enum" => {}
            "minimum" if value.as_f64() < says.as_f64() => return complain("minimum"),
            "minimum" | "maximum" => {}
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                let of = |length: usize, allowed: fn(u8) -> bool| text.len() == length && text.bytes().all(allowed);
                let matches = match says.as_str() {
                    Some("^[0-9a-f]{24}$") => of(24, |byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
                    Some("^[A-Z]{3}$") => of(3, |byte| byte.is_ascii_uppercase()),
                    _ => false,
                };
                if !matches {
                    return complain("pattern");
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| fits(says, item))?,
            unknown => return Err(format!("the keyword {unknown} is not checked here")),
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        value.get(name).map_or(Ok(()), |value| fits(property, value))?;
    }
    Ok(())
}

/// The document's shape: every channel has its address, parameters, messages and operation, and every reference is there.
#[test]
fn the_asyncapi_document_is_whole() {
    let files: BTreeMap<String, String> = definitions::files().into_iter().collect();
    let document: Value = serde_json::from_str(&files["asyncapi.json"]).expect("JSON");
    assert_eq!(document["asyncapi"], "3.0.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let channels = document["channels"].as_object().expect("channels");
    let operations = document["operations"].as_object().expect("operations");
    assert_eq!((channels.len(), operations.len()), (wire::ALL.len(), wire::ALL.len()));
    for event in samples() {
        let (aggregate, happened) = event.event_type.name().split_once(':').expect("a name");
        let channel = &channels[&format!("{aggregate}-{happened}")];
        let address = channel["address"].as_str().expect("an address");
        let part = wire::subject(event.event_type, event.entity);
        assert_eq!(address.replace("{partition}", part.split('.').nth(3).expect("a part")), part);
        assert!(channel["parameters"].get("partition").is_some(), "{address}: the parameter is declared");
        let operation = &operations[&format!("send-{aggregate}-{happened}")];
        assert_eq!(operation["action"], "send");
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() >= 3 * wire::ALL.len());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference into the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(String::from));
            members.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
