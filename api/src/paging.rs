//! Lists in pages: `limit` and `cursor` in the query, the next page in `Link` and `X-Next-Cursor`. Bodies stay bare arrays.

use axum::response::Response;
use holdfast_ledger::limits::PAGE_ROWS_MAX;
use holdfast_ledger::query::Cursor;
use http::{HeaderValue, Uri, header};

use crate::error::Fault;
use crate::headers::NEXT_CURSOR;

/// Rows of a page where the caller does not say.
const PAGE_ROWS_DEFAULT: usize = 50;

/// Which page was asked for.
pub struct Wanted {
    pub limit: usize,
    pub after: Option<Cursor>,
}

/// Reads `limit` (1 to 100) and `cursor`.
pub fn wanted(limit: Option<&str>, cursor: Option<&str>) -> Result<Wanted, Fault> {
    let limit = match limit {
        None => PAGE_ROWS_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE_ROWS_MAX).contains(limit))
            .ok_or_else(|| Fault::bad_field("limit", "invalid", format!("limit is 1 to {PAGE_ROWS_MAX}")))?,
    };
    let after = cursor
        .map(|text| text.parse().map_err(|_| Fault::bad_field("cursor", "invalid", "cursor is none of ours")))
        .transpose()?;
    Ok(Wanted { limit, after })
}

/// Adds the way to the next page: the same address with another cursor.
pub fn link_next(response: &mut Response, uri: &Uri, next: Option<&Cursor>) {
    let Some(next) = next else { return };
    let kept =
        uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let mut query: String = kept.flat_map(|pair| [pair, "&"]).collect();
    query.push_str("cursor=");
    query.push_str(&next.to_string());
    let link = format!("<{}?{query}>; rel=\"next\"", uri.path());
    let headers = response.headers_mut();
    // A query that got here may hold bytes that no header can; the cursor alone still leads on.
    if let Ok(link) = HeaderValue::try_from(link) {
        headers.insert(header::LINK, link);
    }
    headers.insert(NEXT_CURSOR, HeaderValue::try_from(next.to_string()).expect("a cursor is printable"));
}
