//! The stylesheet, the script and the icon: embedded, and named by a hash of their content, so that a browser may keep
//! them for ever and never mixes two builds.

use std::sync::OnceLock;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, header};
use xxhash_rust::xxh3::xxh3_64;

/// A file of ours.
pub struct Asset {
    pub path: &'static str,
    content: &'static [u8],
    content_type: &'static str,
}

impl Asset {
    fn new(content: &'static [u8], extension: &str, content_type: &'static str) -> Asset {
        let path = format!("/assets/{:016x}.{extension}", xxh3_64(content));
        // Made once a process, for its whole life.
        Asset { path: path.leak(), content, content_type }
    }
}

pub fn stylesheet() -> &'static Asset {
    static ASSET: OnceLock<Asset> = OnceLock::new();
    ASSET.get_or_init(|| Asset::new(include_bytes!("../../assets/holdfast.css"), "css", "text/css; charset=utf-8"))
}

pub fn script() -> &'static Asset {
    static ASSET: OnceLock<Asset> = OnceLock::new();
    ASSET.get_or_init(|| Asset::new(include_bytes!("../../assets/holdfast.js"), "js", "text/javascript; charset=utf-8"))
}

pub fn icon() -> &'static Asset {
    static ASSET: OnceLock<Asset> = OnceLock::new();
    ASSET.get_or_init(|| Asset::new(include_bytes!("../../assets/icon.svg"), "svg", "image/svg+xml"))
}

pub fn routes() -> Router {
    [stylesheet(), script(), icon()].into_iter().fold(Router::new(), |router, asset| {
        router.route(
            asset.path,
            get(|| async { ([(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type))], asset.content) }),
        )
    })
}

/// The layer that says how long a file is good for.
pub async fn cached(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
