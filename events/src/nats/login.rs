//! Who we are to the servers, as their URLs say it: `nats://USER:PASSWORD@HOST` or `nats://TOKEN@HOST`.
//!
//! The client takes such URLs and does not use what they say (async-nats 0.51), so it is told apart.

use async_nats::{ConnectOptions, ServerAddr};

/// What stands before a host.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    User { name: String, password: String },
    Token(String),
}

/// The one login that these servers' URLs name, if any does; `Err` where they name several.
pub(super) fn named_by(servers: &[ServerAddr]) -> Result<Option<Login>, ()> {
    let mut logins = servers.iter().filter_map(|server| {
        let name = decoded(server.username()?);
        Some(match server.password() {
            Some(password) => Login::User { name, password: decoded(password) },
            None => Login::Token(name),
        })
    });
    let first = logins.next();
    if logins.any(|login| first.as_ref() != Some(&login)) { Err(()) } else { Ok(first) }
}

impl Login {
    pub(super) fn applied_to(&self, options: ConnectOptions) -> ConnectOptions {
        match self.clone() {
            Login::User { name, password } => options.user_and_password(name, password),
            Login::Token(token) => options.token(token),
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a login")
    }
}

/// A part of a URL with its `%XX` resolved (RFC 3986, section 2.1). What is no such sequence stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(urls: &[&str]) -> Result<Option<Login>, ()> {
        named_by(&urls.iter().map(|url| url.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_login_stands_in_the_url_and_is_the_same_for_all() {
        let user = |name: &str, password: &str| Login::User { name: name.into(), password: password.into() };
        assert_eq!(named(&["nats://a", "nats://b:1"]), Ok(None));
        assert_eq!(named(&["nats://a", "nats://relay:p%40ss%2F@b"]), Ok(Some(user("relay", "p@ss/"))));
        assert_eq!(named(&["tls://s3cret@a"]), Ok(Some(Login::Token("s3cret".into()))));
        assert_eq!(named(&["nats://x:1@a", "nats://x:1@b"]), Ok(Some(user("x", "1"))));
        assert_eq!(named(&["nats://x:1@a", "nats://x:2@b"]), Err(()));
        assert_eq!(decoded("100%"), "100%");
        assert!(!format!("{:?}", user("x", "hunter2")).contains("hunter2"));
    }
}
