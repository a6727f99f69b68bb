//! The provider's own card form on the order's page: Stripe's payment element.
//!
//! The number goes from the provider's frame to the provider; the page gets a token, which is what the interface takes. So the
//! page lets in that one script and its frames, and no other page does. Without a publishable key the page offers the sandbox's
//! cards.
//!
//! What this deliberately does not do: ask the provider anything from here. A card number never comes to this server.

use http::HeaderValue;

/// Where Stripe's script is.
pub const STRIPE_SCRIPT: &str = "https://js.stripe.com/v3/";
/// What else of Stripe's the script needs: frames of its own, those of banks, and its interface.
const STRIPE_FRAMES: &str = "https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com";
const STRIPE_INTERFACE: &str = "https://api.stripe.com";

/// A publishable key, and the script that it is given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardForm {
    key: String,
    script: String,
    origin: String,
}

impl CardForm {
    /// `key`: begins with `pk_`. `script`: an absolute URL.
    ///
    /// # Errors
    /// One line, where that is not so.
    pub fn new(key: &str, script: &str) -> Result<CardForm, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !key.starts_with("pk_") || key.len() > 256 || !key.bytes().all(is_plain) {
            // A secret key must not be shown by any mistake, so the value is not repeated.
            return Err("not a publishable key: one begins with pk_".into());
        }
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let host = script.strip_prefix("https://").or_else(|| script.strip_prefix("http://"));
        let host =
            host.and_then(|rest| rest.split('/').next()).filter(|host| !host.is_empty() && host.bytes().all(is_bare));
        let scheme = script.split("//").next().unwrap_or_default();
        let origin =
            host.map(|host| format!("{scheme}//{host}")).ok_or_else(|| format!("{script}: not a URL of a script"))?;
        Ok(CardForm { key: key.to_string(), script: script.to_string(), origin })
    }

    /// What the page gives to the script.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn script(&self) -> &str {
        &self.script
    }

    /// What the page may load: what all pages may, and what the form needs.
    pub(super) fn policy(&self) -> Policy {
        let origin = &self.origin;
        let text = format!(
            "default-src 'none'; script-src 'self' {origin}; style-src 'self'; img-src 'self' data:; \
             connect-src 'self' {origin} {STRIPE_INTERFACE}; frame-src {origin} {STRIPE_FRAMES}; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        Policy(HeaderValue::from_str(&text).expect("an origin has no other characters"))
    }
}

/// A Content-Security-Policy in place of the usual one, among a response's extensions.
#[derive(Clone)]
pub(super) struct Policy(pub(super) HeaderValue);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_publishable_key_and_a_scripts_address_are_taken() {
        let form = CardForm::new("pk_test_7", STRIPE_SCRIPT).expect("good");
        let policy = form.policy().0.to_str().expect("text").to_string();
        assert!(policy.contains("script-src 'self' https://js.stripe.com;"), "{policy}");
        for (key, script) in [
            ("sk_live_7", STRIPE_SCRIPT),
            ("pk_7; script-src *", STRIPE_SCRIPT),
            ("pk_7", "js.stripe.com"),
            ("pk_7", "https://"),
            ("pk_7", "https://a b/"),
            ("pk_7", "https://a;script-src/"),
        ] {
            let refused = CardForm::new(key, script).expect_err("refused");
            assert!(!refused.contains("sk_live"), "{refused}");
        }
    }
}
