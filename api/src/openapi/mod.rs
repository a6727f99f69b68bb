//! The OpenAPI 3.1 document: what every route takes and answers, made from the routes themselves.
//!
//! A handler is registered with its description in one step ([`utoipa_axum::routes!`]), so a route without one cannot be
//! served. What holds for every operation is added here once: an id of its own, the parts of its path, the problem that any
//! of them may answer with, both ways to say who is asking. The document in the repository is compared with this one by a
//! test, so that a change of the interface is seen as a diff.
//!
//! What this deliberately does not do: check requests. The handlers do, and say what is wrong in the words of the contract.

mod docs;
mod shapes;

use std::sync::OnceLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::shapes::{
    Amount, CurrencyCode, EntityId, IdempotencyParam, IfMatchParam, IfNoneMatchParam, NextPrice, Problem, Time,
};
use crate::app::App;
use crate::router::routes as all_routes;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
/// Parts of paths that are entity ids; others are texts.
const ID_PARTS: [&str; 1] = ["id"];

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(docs::page)).routes(routes!(docs::file))
}

/// `GET /api/openapi.json`: this interface as an OpenAPI 3.1 document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "interface",
    responses((status = 200, description = "The document", body = serde_json::Value))
)]
async fn show() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, document()).into_response()
}

/// The document, encoded: the same for the whole life of the process.
fn document() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let make = || {
        let mut document =
            serde_json::to_value(all_routes().into_openapi()).expect("an OpenAPI document has a JSON form");
        complete(&mut document);
        let mut text = serde_json::to_vec_pretty(&document).expect("JSON has a text form");
        text.push(b'\n');
        Bytes::from(text)
    };
    DOCUMENT.get_or_init(make).clone()
}

/// Adds what holds for every operation.
fn complete(document: &mut Value) {
    document["openapi"] = json!("3.1.0");
    document["info"] = json!({
        "title": "Holdfast",
        "description": "A distributed ledger for tickets. Amounts are decimal numbers, times RFC 3339 in UTC, ids 24 hex digits.",
        "version": env!("CARGO_PKG_VERSION"),
        "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
    });
    let components = member(document, "components");
    let schemas = member(components, "schemas");
    schemas["Problem"] = serde_json::to_value(<Problem as utoipa::PartialSchema>::schema()).expect("a schema is JSON");
    schemas["Complaint"] =
        serde_json::to_value(<crate::error::Complaint as utoipa::PartialSchema>::schema()).expect("a schema is JSON");
    components["securitySchemes"] = json!({
        "session": {"type": "apiKey", "in": "cookie", "name": "session",
            "description": "A short-lived token; over HTTPS the cookie is called __Host-session."},
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "The same token in the Authorization header."},
        "service": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A token that a registered service has signed with its own key."},
    });
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                complete_operation(method, path, operation);
            }
        }
    }
}

fn complete_operation(method: &str, path: &str, operation: &mut Value) {
    operation["operationId"] = json!(operation_id(method, path));
    describe(operation);
    name_parts(path, operation);
    let problem = |description: &str| {
        json!({"description": description,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}})
    };
    let is_secured = operation.get("security").is_some();
    let takes_input = operation.get("parameters").is_some() || operation.get("requestBody").is_some();
    let responses = member(operation, "responses");
    let mut add = |status: &str, description: &str| {
        if responses.get(status).is_none() {
            responses[status] = problem(description);
        }
    };
    if takes_input {
        add("400", "Something in the request is wrong: `errors` says what, and where");
    }
    if is_secured {
        add("401", "Nobody is signed in, or it belongs to somebody else");
    }
    if path.contains('{') {
        add("404", "There is no such thing");
    }
    add("429", "Too many requests: see Retry-After");
    add("503", "Not now: `code` says whether anything was done; see Retry-After");
    add("default", "Any other failure");
    // Whoever may ask with the cookie may ask with the token; both name the role that it takes.
    if let Some(roles) = operation["security"][0].get("session").cloned() {
        let others = operation["security"].as_array().into_iter().flatten().skip(1).cloned();
        let security = [json!({"session": roles}), json!({"bearer": roles})].into_iter().chain(others).collect();
        operation["security"] = Value::Array(security);
    }
}

/// `post` and `/api/orders/{id}/extend` make `postOrdersIdExtend`: unique, as method and path are.
fn operation_id(method: &str, path: &str) -> String {
    let parts = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty() && *part != "api");
    let capitalised = parts.map(|part| part[..1].to_ascii_uppercase() + &part[1..]);
    capitalised.fold(method.to_string(), |id, part| id + &part)
}

/// The handler's comment as description, without the address that it begins with; its first clause is the summary.
fn describe(operation: &mut Value) {
    let text_of = |name: &str| operation[name].as_str().unwrap_or_default().replace('\n', " ");
    let text = [text_of("summary"), text_of("description")].join(" ");
    // The address stands in backticks, and after it perhaps the body.
    let mut text = text.trim();
    while let Some((_, rest)) = text.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        text = rest.trim_start_matches([':', ',', ' ']);
    }
    let Some(first) = text.chars().next() else { return };
    let text = first.to_uppercase().collect::<String>() + &text[first.len_utf8()..];
    let end = [": ", ". ", "; "].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    operation["summary"] = json!(text[..end].trim_end_matches('.'));
    operation["description"] = json!(text);
}

/// Declares the variable parts of the path.
fn name_parts(path: &str, operation: &mut Value) {
    let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    for part in parts {
        let schema = if ID_PARTS.contains(&part) {
            json!({"$ref": "#/components/schemas/EntityId"})
        } else {
            json!({"type": "string"})
        };
        let parameter = json!({"name": part, "in": "path", "required": true, "schema": schema});
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) if parameters.iter().any(|known| known["in"] == "path" && known["name"] == part) => {}
            Some(parameters) => parameters.insert(0, parameter),
            None => operation["parameters"] = json!([parameter]),
        }
    }
}

/// A member that is an object, made where it is missing.
fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    let object = value.as_object_mut().expect("only objects of the document are completed");
    object.entry(name).or_insert_with(|| Value::Object(Map::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        assert_eq!(operation_id("post", "/api/orders/{id}/extend"), "postOrdersIdExtend");
        assert_eq!(operation_id("get", "/.well-known/jwks.json"), "getWellKnownJwksJson");
    }

    #[test]
    fn a_comment_becomes_summary_and_description() {
        let mut operation = json!({"summary": "`POST /api/orders` `{ticketId}`: locks the tickets, all", "description": "or none. At once."});
        describe(&mut operation);
        assert_eq!(operation["summary"], "Locks the tickets, all or none");
        assert_eq!(operation["description"], "Locks the tickets, all or none. At once.");
    }
}
