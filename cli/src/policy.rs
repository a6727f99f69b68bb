//! Changing the ledger's policy through an operator's listener, and putting it back.

use serde_json::{Value, json};

use crate::failure::Failure;

/// A change that is to be undone.
pub struct PolicyChange {
    url: String,
    http: reqwest::Client,
    before: Value,
}

impl PolicyChange {
    /// Lets each user hold at least `locks` tickets at a time.
    pub async fn raise_locks(operator: &str, locks: u32) -> Result<PolicyChange, Failure> {
        let http = reqwest::Client::builder()
            .tls_certs_only([])
            .no_proxy()
            .timeout(std::time::Duration::from_secs(15))
            .build()
            .map_err(|error| Failure::cannot_start(format!("HTTP client: {error}")))?;
        let url = format!("http://{operator}/cluster/policy");
        let change = PolicyChange { before: read(http.get(&url), operator).await?, url, http };
        let current = change.before["locks_per_user_max"].as_u64().unwrap_or(0);
        change.put(json!({ "locks_per_user_max": current.max(u64::from(locks)) })).await?;
        Ok(change)
    }

    /// Puts the limit back.
    pub async fn undo(self) -> Result<(), Failure> {
        self.put(json!({ "locks_per_user_max": self.before["locks_per_user_max"] })).await
    }

    async fn put(&self, changes: Value) -> Result<(), Failure> {
        read(self.http.put(&self.url).json(&changes), &self.url).await.map(|_| ())
    }
}

async fn read(request: reqwest::RequestBuilder, whom: &str) -> Result<Value, Failure> {
    let complain = |error: reqwest::Error| Failure::unreachable(format!("--operator {whom}: {error}"));
    let response = request.send().await.map_err(complain)?;
    let status = response.status();
    let body: Value = response.json().await.map_err(complain)?;
    match status.is_success() {
        true => Ok(body),
        false => Err(Failure::failed(format!("--operator {whom}: {}", body["error"].as_str().unwrap_or("refused")))),
    }
}
