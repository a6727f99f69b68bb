//! The joining node's side: asking to be admitted.

use std::time::{Duration, Instant};

use holdfast_raft::transport::tls::Tls;
use reqwest::StatusCode;
use serde_json::Value;

use super::views::{Join, Joined};
use crate::failure::{Exit, Failure};
use crate::tls::{self, OperatorClient};

/// How long a joining node keeps asking before it gives up.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);
const JOIN_TRY_TIMEOUT: Duration = Duration::from_secs(10);
const JOIN_INTERVAL: Duration = Duration::from_millis(300);

/// Asks each operator address in turn to be admitted, again and again for a bounded while: the cluster may still be forming.
pub async fn ask_to_join(addresses: &[String], join: &Join, tls: Option<&Tls>) -> Result<Joined, Failure> {
    let OperatorClient { http, scheme } = tls::client(tls, JOIN_TRY_TIMEOUT)?;
    let started = Instant::now();
    let mut last = String::new();
    while started.elapsed() < JOIN_PATIENCE {
        for address in addresses {
            match http.post(format!("{scheme}://{address}/cluster/join")).json(join).send().await {
                Ok(response) if response.status().is_success() => {
                    return response
                        .json()
                        .await
                        .map_err(|error| Failure::unreachable(format!("--join {address}: {error}")));
                }
                Ok(response) => {
                    let status = response.status();
                    let body: Value = response.json().await.unwrap_or_default();
                    last = format!("{address}: {}", body["error"].as_str().unwrap_or("refused"));
                    match status {
                        // The cluster's version is one that this build does not know; see the other side, in `super`.
                        StatusCode::CONFLICT => return Err(Failure::new(Exit::Newer, format!("--join {last}"))),
                        status if status.is_client_error() => {
                            return Err(Failure::cannot_start(format!("--join {last}")));
                        }
                        _ => {}
                    }
                }
                Err(_) => last = format!("{address}: no answer"),
            }
        }
        tokio::time::sleep(JOIN_INTERVAL).await;
    }
    Err(Failure::unreachable(format!("--join: not admitted within {JOIN_PATIENCE:?}; last, {last}")))
}
