//! The home page: what can be bought now, searched, filtered and in pages.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::api::{Answer, Api, query};
use super::chrome::{Chrome, page};
use super::form::Sheet;
use super::problem::Problem;
use super::views::Ticket;
use super::visit::Visit;

/// Tickets of one page.
const TICKETS: &str = "24";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Search {
    q: String,
    min_price: String,
    max_price: String,
    currency: String,
    cursor: String,
}

impl Search {
    fn of(uri: &Uri) -> Search {
        Query::<Search>::try_from_uri(uri).map(|Query(search)| search).unwrap_or_default()
    }

    fn pairs<'a>(&'a self, cursor: &'a str) -> [(&'static str, &'a str); 5] {
        [
            ("q", self.q.trim()),
            ("minPrice", self.min_price.trim()),
            ("maxPrice", self.max_price.trim()),
            ("currency", &self.currency),
            ("cursor", cursor),
        ]
    }

    fn is_filtered(&self) -> bool {
        self.pairs("").iter().any(|(_, value)| !value.is_empty())
    }
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    chrome: Chrome,
    sheet: Sheet,
    tickets: Vec<Ticket>,
    filtered: bool,
    filters_open: bool,
    further: bool,
    next: Option<String>,
}

/// `GET /`
pub async fn show(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let search = Search::of(&uri);
    let mut asked = search.pairs(&search.cursor).to_vec();
    asked.push(("limit", TICKETS));
    let (found, paused) = read_or_stale(&visit.api, "/api/tickets", &asked).await;
    let mut sheet = Sheet::of(&search.pairs(""));
    let (tickets, next, status) = match found {
        Ok(answer) => {
            let next = answer.next_cursor().map(|cursor| format!("/{}", query(&search.pairs(&cursor))));
            (answer.json()?, next, StatusCode::OK)
        }
        Err(problem) if problem.is_mendable() => {
            sheet.complain(&problem);
            (Vec::new(), None, problem.status)
        }
        Err(problem) => return Err(problem),
    };
    let filters_open = [&search.min_price, &search.max_price, &search.currency].iter().any(|field| !field.is_empty());
    let home = HomePage {
        chrome: Chrome::new(&visit, "home").paused(paused),
        sheet,
        tickets,
        filtered: search.is_filtered(),
        filters_open,
        further: !search.cursor.is_empty(),
        next,
    };
    page(status, &home)
}

/// Reads for certain, or, while nothing can be decided, what this node last knew. The second value tells which.
pub async fn read_or_stale(api: &Api, path: &str, pairs: &[(&str, &str)]) -> (Result<Answer, Problem>, bool) {
    match api.get(format!("{path}{}", query(pairs))).send().await {
        Err(problem) if problem.is_pause() => {
            let mut pairs = pairs.to_vec();
            pairs.push(("consistency", "stale"));
            (api.get(format!("{path}{}", query(&pairs))).send().await, true)
        }
        answer => (answer, false),
    }
}
