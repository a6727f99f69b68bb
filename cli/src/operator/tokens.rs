//! Tokens for joining: each lets one node in, once, within an hour.
//!
//! The node that gave a token out remembers it, in memory alone and as a hash: a token that is still open when that node ends is
//! worth nothing any more, and another one is asked for. A token belongs to the first data folder that shows it, which may show it
//! again while it does not know whether it was heard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use holdfast_ledger::entities::Operation;
use holdfast_raft::node::Node;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Refused;
use super::noted::By;

/// How long a token is good.
const TTL: Duration = Duration::from_secs(60 * 60);
/// Tokens of one node that are open at once.
const TOKENS_MAX: usize = 256;

type Hash = [u8; 32];

/// The tokens that this node has given out.
#[derive(Debug, Default)]
pub struct JoinTokens {
    required: bool,
    open: Mutex<BTreeMap<Hash, Token>>,
}

#[derive(Debug)]
struct Token {
    until: Instant,
    used_by: Option<u128>,
}

/// A token that was given out.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenView {
    pub token: String,
    pub good_for_s: u64,
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

impl JoinTokens {
    /// `required`: nobody joins through this node without one.
    pub fn new(required: bool) -> Arc<JoinTokens> {
        Arc::new(JoinTokens { required, open: Mutex::default() })
    }

    /// A new token; `None` while too many are open.
    pub fn give(&self) -> Option<String> {
        let mut open = self.open.lock().expect("nothing panics while it holds the tokens");
        let now = Instant::now();
        open.retain(|_, token| token.until > now);
        if open.len() == TOKENS_MAX {
            return None;
        }
        let token = format!("{:032x}", rand::random::<u128>());
        open.insert(hash(&token), Token { until: now + TTL, used_by: None });
        Some(token)
    }

    /// Whether this data folder may join, with what it shows.
    pub fn lets_in(&self, shown: Option<&str>, instance: u128) -> bool {
        if !self.required {
            return true;
        }
        let mut open = self.open.lock().expect("nothing panics while it holds the tokens");
        let token = shown.and_then(|shown| open.get_mut(&hash(shown)));
        token.is_some_and(|token| token.until > Instant::now() && *token.used_by.get_or_insert(instance) == instance)
    }
}

/// `POST /cluster/join-token`.
pub fn routes(tokens: Arc<JoinTokens>, node: Node) -> Router {
    Router::new().route("/cluster/join-token", post(give)).with_state((tokens, node))
}

async fn give(State((tokens, node)): State<(Arc<JoinTokens>, Node)>, by: By) -> Result<Json<TokenView>, Refused> {
    let too_many = || {
        let message = format!("{TOKENS_MAX} tokens are open: wait until some of them run out");
        Refused(StatusCode::TOO_MANY_REQUESTS, message)
    };
    let token = tokens.give().ok_or_else(too_many)?;
    by.did(&node, Operation::GiveJoinToken, None).await?;
    Ok(Json(TokenView { token, good_for_s: TTL.as_secs() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lets_one_node_in() {
        let tokens = JoinTokens::new(true);
        assert!(!tokens.lets_in(None, 1) && !tokens.lets_in(Some("guessed"), 1));
        let token = tokens.give().expect("room");
        assert!(tokens.lets_in(Some(&token), 1));
        assert!(tokens.lets_in(Some(&token), 1), "it did not hear the first answer");
        assert!(!tokens.lets_in(Some(&token), 2));
        assert!(!JoinTokens::new(true).lets_in(Some(&token), 1), "another node gave it out");
        assert!(JoinTokens::new(false).lets_in(None, 1));
    }

    #[test]
    fn tokens_run_out_and_are_bounded() {
        let tokens = JoinTokens::new(true);
        let token = tokens.give().expect("room");
        tokens.open.lock().unwrap().values_mut().for_each(|token| token.until = Instant::now());
        assert!(!tokens.lets_in(Some(&token), 1));
        assert_eq!((0..=TOKENS_MAX).filter_map(|_| tokens.give()).count(), TOKENS_MAX);
    }
}
