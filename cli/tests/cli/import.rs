//! An import can be run again, and says which lines it refused and why.

use std::process::Output;

use crate::support::{cluster, holdfast, text};

const LINES: &str = "id,name,cost,place\n\
    a1,Opening night,20.50,Stalls\n\
    a2,,20.50,Stalls\n\
    a3,Opening night,0,Stalls\n\
    a4,Opening night,10.999,Stalls\n\
    a5,Opening night\n\
    ,Opening night,20,Stalls\n\
    a7,\"Closing, night\",99,\n\
    a1,Opening night again,30,Stalls\n";

fn import(file: &str, url: &str) -> Output {
    let columns = ["--external-id", "id", "--title", "name", "--price", "cost", "--section", "place"];
    holdfast(&[&["import", file, "--url", url], &columns[..]].concat())
}

/// The number in the summary's row.
fn number(output: &Output, row: &str) -> u64 {
    let table = text(&output.stdout);
    let line = table.lines().find(|line| line.contains(row)).unwrap_or_else(|| panic!("no row {row} in {table}"));
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_repeatable_and_names_what_it_refuses() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = cluster(dir.path(), 1).await;
    let url = cluster.urls().remove(0);
    let file = dir.path().join("tickets.csv");
    std::fs::write(&file, LINES).expect("written");
    let file = file.to_str().expect("a path of text");

    let first = import(file, &url);
    let said = text(&first.stderr);
    assert_eq!(first.status.code(), Some(1), "some lines are refused: {said}");
    assert_eq!((number(&first, "created"), number(&first, "known"), number(&first, "refused")), (2, 1, 5), "{said}");
    for (line, why) in [(3, "title"), (4, "price"), (5, "price"), (6, "fields"), (7, "externalId")] {
        let named = said.lines().any(|said| said.starts_with(&format!("line {line}:")) && said.contains(why));
        assert!(named, "line {line} and {why}: {said}");
    }

    let second = import(file, &url);
    assert_eq!((number(&second, "created"), number(&second, "known"), number(&second, "refused")), (0, 3, 5));
    let listed = reqwest::get(format!("{url}/api/tickets")).await.expect("an answer");
    let listed: Vec<serde_json::Value> = listed.json().await.expect("a list");
    assert_eq!(listed.len(), 2);

    let wrong = holdfast(&["import", file, "--url", &url, "--external-id", "nummer"]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = text(&wrong.stderr);
    assert!(said.contains("--external-id nummer") && said.contains("id, name, cost, place"), "{said}");
}
