//! Where a webhook may go: to public addresses, over HTTP or HTTPS, and nowhere else from there.
//!
//! An operator's endpoint must not become a way into the network that this service stands in (SSRF). What a name resolves to
//! is checked where it is resolved for the connection, so that a second answer of the DNS cannot differ from the first; an
//! address that stands in the URL is checked there. Redirects are not followed.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};

/// For a whole request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client that connects to public addresses only, unless `allow_private`.
pub(super) fn client(allow_private: bool) -> Client {
    let builder = || {
        let builder = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).no_proxy().pool_max_idle_per_host(2);
        if allow_private { builder } else { builder.dns_resolver(PublicOnly) }
    };
    let without_tls = |error: reqwest::Error| {
        tracing::warn!("no certificates of this machine: webhooks over https will fail: {error}");
        ClientBuilder::build(builder().tls_certs_only([])).expect("a client without certificates")
    };
    builder().build().unwrap_or_else(without_tls)
}

/// Why a URL is no target.
pub(super) fn refusal(url: &str, allow_private: bool) -> Option<&'static str> {
    let Ok(url) = Url::parse(url) else { return Some("not a URL") };
    if !matches!(url.scheme(), "http" | "https") {
        return Some("neither http nor https");
    }
    let Some(host) = url.host_str() else { return Some("no host") };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) if !allow_private && !is_public(address) => Some("not a public address"),
        _ => None,
    }
}

/// Whether everybody may be sent to this address: not loopback, private, link-local, shared, reserved, multicast or
/// unspecified, nor an IPv6 form of one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b) {
        // "This network", private, loopback, multicast and reserved.
        (0 | 10 | 127 | 224..=255, _) => true,
        // Carrier-grade NAT (RFC 6598), link-local, private, benchmarking.
        (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168) | (198, 18 | 19) => true,
        // Protocol assignments, and the three nets of examples (RFC 5737).
        (192, 0) => c == 0 || c == 2,
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Global unicast is 2000::/3; what in it wraps an IPv4 address (6to4, Teredo) or serves examples is none of ours.
    let global = segments[0] & 0xe000 == 0x2000;
    global && !matches!(segments[..2], [0x2001, 0 | 0xdb8] | [0x2002, _] | [0x3fff, 0..=0xfff])
}

/// Resolves names to public addresses.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(Box::<dyn Error + Send + Sync>::from("no public address"));
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_targets() {
        let refused = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.7",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001:0:7f00:1::",
        ];
        for text in refused {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2001:4860:4860::8888"] {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn a_url_that_hides_an_address_is_refused() {
        let refused = [
            "http://127.0.0.1/",
            "http://127.1:80/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "https://[::1]:8443/x",
            "http://[::ffff:10.0.0.1]/",
            "file:///etc/passwd",
            "gopher://example.org/",
            "nothing",
        ];
        for url in refused {
            assert!(refusal(url, false).is_some(), "{url}");
        }
        assert_eq!(refusal("https://example.org/hooks?a=b", false), None);
        assert_eq!(refusal("http://127.0.0.1:8080/", true), None);
        assert!(refusal("file:///etc/passwd", true).is_some());
    }
}
