//! Lists in pages: `limit` and `cursor` in the query, the next page in `Link` and `X-Next-Cursor`. Bodies stay bare arrays.
//!
//! Every handler of a list does the same three things, and does them here: it takes a [`Listing`] from the request, reads a page
//! with it, and answers with the page's views and the way to the next.

use axum::extract::{FromRequestParts, OriginalUri};
use axum::response::Response;
use holdfast_ledger::limits::PAGE_ROWS_MAX;
use holdfast_ledger::query::{Cursor, Page};
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

use crate::app::{App, Ledger, Seen};
use crate::error::Fault;
use crate::headers::{NEXT_CURSOR, freshness, json};
use crate::router::{PageQuery, QueryOf};

/// Rows of a page where the caller does not say.
const PAGE_ROWS_DEFAULT: usize = 50;

/// The page of a list that a request asks for.
pub struct Listing {
    /// 1 to 100 rows.
    pub limit: usize,
    /// The row before the page's first.
    pub after: Option<Cursor>,
    freshness: Consistency,
    uri: Uri,
}

impl FromRequestParts<App> for Listing {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Listing, Fault> {
        let QueryOf(query) = QueryOf::<PageQuery>::from_request_parts(parts, app).await?;
        let OriginalUri(uri) = OriginalUri::from_request_parts(parts, app).await.unwrap_or_else(|never| match never {});
        let after = query.cursor.as_deref().map(str::parse).transpose();
        Ok(Listing {
            freshness: freshness(&parts.headers, query.consistency.as_deref(), query.min_index.as_deref())?,
            limit: limit(query.limit.as_deref())?,
            after: after.map_err(|_| Fault::bad_field("cursor", "invalid", "cursor is none of ours"))?,
            uri,
        })
    }
}

impl Listing {
    /// Reads as fresh as was asked for what `find` finds: a page, or one with what else the handler has to know.
    pub async fn read<T: Send>(
        &self,
        app: &App,
        find: impl Fn(&Ledger, Option<&Cursor>, usize) -> Result<T, StoreError> + Send + Sync,
    ) -> Result<Seen<T>, Fault> {
        app.read(self.freshness, |state| find(state, self.after.as_ref(), self.limit)).await
    }

    /// The answer: `view` of each row, and the way to the next page.
    pub fn answer<'r, R: 'r, V: Serialize>(&self, seen: &'r Seen<Page<R>>, view: impl Fn(&'r R) -> V) -> Response {
        self.answer_page(&seen.value, seen.index, view)
    }

    /// The same for a page that was read with something else.
    pub fn answer_page<'r, R: 'r, V: Serialize>(
        &self,
        page: &'r Page<R>,
        log_index: u64,
        view: impl Fn(&'r R) -> V,
    ) -> Response {
        let views: Vec<V> = page.rows.iter().map(view).collect();
        let mut response = json(StatusCode::OK, &views, log_index);
        if let Some(next) = &page.next {
            self.link(&mut response, next);
        }
        response
    }

    /// Adds the way to the next page: the same address with another cursor.
    fn link(&self, response: &mut Response, next: &Cursor) {
        let pairs = self.uri.query().unwrap_or_default().split('&');
        let kept = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
        let mut query: String = kept.flat_map(|pair| [pair, "&"]).collect();
        query.push_str("cursor=");
        query.push_str(&next.to_string());
        let link = format!("<{}?{query}>; rel=\"next\"", self.uri.path());
        let headers = response.headers_mut();
        // A query that got here may hold bytes that no header can; the cursor alone still leads on.
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
        headers.insert(NEXT_CURSOR, HeaderValue::try_from(next.to_string()).expect("a cursor is printable"));
    }
}

/// Reads `limit`.
pub fn limit(limit: Option<&str>) -> Result<usize, Fault> {
    let Some(text) = limit else { return Ok(PAGE_ROWS_DEFAULT) };
    let in_bounds = text.parse().ok().filter(|limit| (1..=PAGE_ROWS_MAX).contains(limit));
    in_bounds.ok_or_else(|| Fault::bad_field("limit", "invalid", format!("limit is 1 to {PAGE_ROWS_MAX}")))
}
