//! The OpenAPI document: kept in the repository, complete, and true to what is served.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::client::Client;
use crate::server::World;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/API.md");

async fn document() -> (Value, String) {
    let answer = Client::anonymous(&World::shared().url).get("/api/openapi.json").await.is(200);
    (answer.body, answer.text)
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &'_ Value)| {
        let item: Vec<_> = item.as_object().expect("a path item").keys().cloned().collect();
        item.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    let names: Vec<_> = paths.iter().flat_map(of_path).collect();
    names.into_iter().map(|(method, path)| (method.clone(), path.clone(), &paths[&path][&method])).collect()
}

/// Regenerate with `UPDATE_GOLDENFILES=1`.
#[tokio::test]
async fn the_document_is_the_one_in_the_repository() {
    let (_, text) = document().await;
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(GOLDEN, &text).expect("the repository can be written");
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(
        golden == text,
        "api/openapi.json is not what is served: run this with UPDATE_GOLDENFILES=1 and read the diff"
    );
}

/// The document as a page to read. Regenerate with `UPDATE_GOLDENFILES=1`.
#[tokio::test]
async fn the_guide_to_the_interface_lists_every_operation() {
    let (document, _) = document().await;
    let text = guide(&document);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(GUIDE, &text).expect("the repository can be written");
    }
    let kept = std::fs::read_to_string(GUIDE).unwrap_or_default();
    assert!(kept == text, "docs/API.md is not what is served: run this with UPDATE_GOLDENFILES=1 and read the diff");
}

fn guide(document: &Value) -> String {
    let mut text = String::from(
        "# The interface\n\nMade by a test from `api/openapi.json`, which a node serves at `/api/openapi.json` and shows at \
         `/api/docs`.\n",
    );
    let mut tags: Vec<&str> = Vec::new();
    let all = operations(document);
    for (_, _, operation) in &all {
        let tag = operation["tags"][0].as_str().expect("a tag");
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    for tag in tags {
        text += &format!("\n## {tag}\n\n| operation | who | what |\n|---|---|---|\n");
        for (method, path, operation) in all.iter().filter(|(_, _, operation)| operation["tags"][0] == tag) {
            let scheme = operation["security"][0].as_object().and_then(|scheme| scheme.iter().next());
            let who = match scheme {
                None => "anybody",
                Some((name, _)) if name == "service" => "a service",
                Some((_, roles)) => roles[0].as_str().unwrap_or("signed in"),
            };
            let what = operation["description"].as_str().expect("a description").replace('|', "\\|");
            text += &format!("| `{} {path}` | {who} | {what} |\n", method.to_uppercase());
        }
    }
    text
}

#[tokio::test]
async fn every_operation_says_what_it_does_takes_and_answers() {
    let (document, _) = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let summary = operation["summary"].as_str().unwrap_or_default();
        assert!(summary.len() > 5 && !summary.starts_with('`'), "{name} has no summary");
        assert!(operation["description"].is_string(), "{name} has no description");
        assert!(operation["tags"][0].is_string(), "{name} has no tag");
        assert!(
            ids.insert(operation["operationId"].as_str().expect("an id").to_string()),
            "{name}: its id is not its own"
        );
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
        assert!(responses.contains_key("default"), "{name} never fails");
        for part in path.split('/').filter(|part| part.starts_with('{')) {
            let part = part.trim_matches(['{', '}']);
            let named = |known: &Value| known["in"] == "path" && known["name"] == part;
            assert!(operation["parameters"].as_array().is_some_and(|all| all.iter().any(named)), "{name}: {part}");
        }
    }
    assert!(ids.len() > 20, "{ids:?}");
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_string));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let (document, _) = document().await;
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.contains("#/components/schemas/Problem"));
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn the_page_to_try_it_has_every_operation_and_runs_nothing_but_its_own_script() {
    let (document, _) = document().await;
    let mut nobody = Client::anonymous(&World::shared().url);
    let page = nobody.get("/api/docs").await.is(200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(page.text.contains(&format!("<details id=\"{id}\">")), "{method} {path} is not on the page");
    }
    assert!(!page.text.contains("style=") && !page.text.contains("onclick"), "a policy would refuse it");
    for (file, content_type) in [("docs.css", "text/css"), ("docs.js", "text/javascript")] {
        let answer = nobody.get(&format!("/api/docs/{file}")).await.is(200);
        assert!(answer.header("content-type").starts_with(content_type));
        assert!(page.text.contains(&format!("/api/docs/{file}")));
    }
    nobody.get("/api/docs/docs.exe").await.is(404);
}

/// A route that the document lists is served, whatever it answers; the catch-all's 404 has a code of its own.
#[tokio::test]
async fn every_operation_is_served() {
    let (document, _) = document().await;
    let mut nobody = Client::anonymous(&World::shared().url);
    for (method, path, operation) in operations(&document) {
        let mut path = path.replace("{id}", "zz").replace(['{', '}'], "");
        // An answer that never ends is not asked for.
        if operation["responses"]["200"]["content"].get("text/event-stream").is_some() {
            path.push_str("?lastEventId=x");
        }
        let answer = nobody.send(&method.to_uppercase(), &path, None).await;
        assert_ne!(answer.code(), "not_found", "{method} {path} is not served");
    }
}

/// Only [`routes!`](utoipa_axum::routes) puts a route under `/api`: then it has a description.
#[test]
fn no_route_is_registered_without_its_description() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sources are here") {
            let path = entry.expect("the sources can be read").path();
            if path.is_dir() && !path.ends_with("pages") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source is text");
                assert!(!text.contains(".route("), "{}: register it with routes!(…)", path.display());
            }
        }
    }
}
