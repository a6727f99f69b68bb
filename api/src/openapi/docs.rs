//! A page to read the interface and to try it: made from the document, rendered once, whole without JavaScript.
//!
//! One small script of ours sends what a form asks for and shows the answer. No framework: the whole page is a tenth of
//! what the usual viewers weigh, and keeps to the strictest Content-Security-Policy.

use std::sync::OnceLock;

use askama::Template;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Map, Value};

use super::{METHODS, document};
use crate::error::Fault;
use crate::router::PathText;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// How deep an example goes into a schema.
const EXAMPLE_DEPTH_MAX: usize = 5;

/// `GET /api/docs`: a page to read this interface and to try it.
#[utoipa::path(
    get, path = "/api/docs", tag = "interface",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub async fn page() -> Response {
    static PAGE: OnceLock<Bytes> = OnceLock::new();
    let make = || {
        let document = serde_json::from_slice(&document()).expect("the document is JSON");
        Bytes::from(Docs::new(&document).render().expect("the page has what its template asks for"))
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, PAGE.get_or_init(make).clone()).into_response()
}

/// `GET /api/docs/:file`: the page's stylesheet and script.
#[utoipa::path(
    get, path = "/api/docs/{file}", tag = "interface",
    responses((status = 200, description = "The file", content((String = "text/css"), (String = "text/javascript"))))
)]
pub async fn file(PathText(file): PathText) -> Result<Response, Fault> {
    let (content_type, content) = match file.as_str() {
        "docs.css" => ("text/css; charset=utf-8", include_str!("../../assets/docs.css")),
        "docs.js" => ("text/javascript; charset=utf-8", include_str!("../../assets/docs.js")),
        _ => return Err(Fault::not_found("file_not_found")),
    };
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, content).into_response())
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Docs {
    version: String,
    groups: Vec<Group>,
}

/// The operations of one tag.
struct Group {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    /// Who may ask, in words; empty for anybody.
    who: String,
    parameters: Vec<Parameter>,
    /// An example of the body.
    body: Option<String>,
    answers: Vec<Answer>,
}

struct Parameter {
    name: String,
    /// `path`, `query` or `header`.
    place: String,
    description: String,
    required: bool,
}

struct Answer {
    status: String,
    description: String,
}

impl Docs {
    fn new(document: &Value) -> Docs {
        let mut groups: Vec<Group> = Vec::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let name = text(&operation["tags"][0]);
                let operation = Operation::new(document, method, path, operation);
                match groups.iter_mut().find(|group| group.name == name) {
                    Some(group) => group.operations.push(operation),
                    None => groups.push(Group { name, operations: vec![operation] }),
                }
            }
        }
        Docs { version: text(&document["info"]["version"]), groups }
    }
}

impl Operation {
    fn new(document: &Value, method: &str, path: &str, operation: &Value) -> Operation {
        let list = |name: &str| operation[name].as_array().into_iter().flatten();
        let parameters = list("parameters").map(|parameter| Parameter {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            description: text(&parameter["description"]),
            required: parameter["required"] == true,
        });
        let schema = operation.pointer("/requestBody/content/application~1json/schema");
        let body = schema.map(|schema| {
            let example = example(document, schema, 0);
            serde_json::to_string_pretty(&example).expect("an example is JSON")
        });
        let answers = operation["responses"].as_object().into_iter().flatten();
        let answers = answers
            .map(|(status, answer)| Answer { status: status.clone(), description: text(&answer["description"]) });
        Operation {
            id: text(&operation["operationId"]),
            method: method.to_ascii_uppercase(),
            path: path.to_string(),
            summary: text(&operation["summary"]),
            description: text(&operation["description"]),
            who: who(operation),
            parameters: parameters.collect(),
            body,
            answers: answers.collect(),
        }
    }
}

/// Who may ask for an operation.
fn who(operation: &Value) -> String {
    let Some(first) = operation["security"].get(0).and_then(Value::as_object) else { return String::new() };
    match first.iter().next() {
        Some((scheme, _)) if scheme == "service" => "A registered service".into(),
        Some((_, roles)) => match roles.get(0).and_then(Value::as_str) {
            Some(role) => format!("Signed in, as {role}"),
            None => "Signed in".into(),
        },
        None => String::new(),
    }
}

/// A value that fits a schema: its own example, or what it requires.
fn example(document: &Value, schema: &Value, depth: usize) -> Value {
    if depth > EXAMPLE_DEPTH_MAX {
        return Value::Null;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return target.map_or(Value::Null, |target| example(document, target, depth + 1));
    }
    let own = schema.get("example").or_else(|| schema["examples"].get(0));
    if let Some(own) = own {
        return own.clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let member = |name: &str| (name.to_string(), example(document, &schema["properties"][name], depth + 1));
            Value::Object(required.map(member).collect::<Map<_, _>>())
        }
        Some("array") => Value::Array(vec![example(document, &schema["items"], depth + 1)]),
        Some("string") => "".into(),
        Some("integer" | "number") => 0.into(),
        Some("boolean") => false.into(),
        _ => Value::Null,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_example_has_what_its_schema_requires() {
        let document = json!({"components": {"schemas": {
            "Id": {"type": "string", "examples": ["0001"]},
            "Body": {"type": "object", "required": ["id", "lines"],
                "properties": {"id": {"$ref": "#/components/schemas/Id"}, "note": {"type": "string"},
                    "lines": {"type": "array", "items": {"type": "integer"}}}},
            "Loop": {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Loop"}}}}}});
        let of = |name: &str| example(&document, &json!({"$ref": format!("#/components/schemas/{name}")}), 0);
        assert_eq!(of("Body"), json!({"id": "0001", "lines": [0]}));
        assert!(of("Loop").is_object(), "a schema that names itself comes to an end");
    }
}
