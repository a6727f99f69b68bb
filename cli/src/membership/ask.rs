//! Asking operators' listeners, one after the other, and how a command of `holdfast cluster` ends.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use reqwest::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::tls::{self, OperatorClient};

/// How long one answer may take: a leader that goes hands over first.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// How long a command looks for a leader, and waits for another change to end.
const LOOK_WAIT: Duration = Duration::from_secs(15);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Where the cluster is asked.
#[derive(Debug, Clone, Args)]
pub struct Addresses {
    /// Operator addresses of nodes, separated by commas
    #[arg(
        long,
        env = "HOLDFAST_OPERATOR",
        value_delimiter = ',',
        default_value = "127.0.0.1:5000",
        value_name = "ADDR"
    )]
    pub operator: Vec<String>,
}

/// Where the cluster is asked, one address after the other, and how the answer is printed.
#[derive(Debug, Clone, Args)]
pub struct Reach {
    #[command(flatten)]
    pub at: Addresses,
    /// One JSON object, for errors as well
    #[arg(long)]
    pub json: bool,
}

/// Why a command did not do its work: a name that stays the same, one line, an exit code.
#[derive(Debug)]
pub struct Problem {
    pub code: String,
    pub failure: Failure,
}

impl Problem {
    pub fn new(exit: Exit, code: &str, message: impl fmt::Display) -> Problem {
        Problem { code: code.into(), failure: Failure::new(exit, message) }
    }

    /// The cluster says no, and nothing was done.
    pub fn refused(code: &str, message: impl fmt::Display) -> Problem {
        Problem::new(Exit::Refused, code, message)
    }

    pub fn json(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.failure.message, "exit": self.failure.exit as u8 } })
    }

    /// Whether asking again, perhaps elsewhere, can help: nothing was done.
    fn passes(&self) -> bool {
        ["no_leader", "overloaded", "stopping", "unreachable", "in_progress", "waiting"].contains(&self.code.as_str())
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        let code = match failure.exit {
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::CannotStart => "cannot_start",
            Exit::Unreachable => "unreachable",
            Exit::Storage => "storage",
            Exit::Damaged => "damaged",
            Exit::Refused => "refused",
            Exit::Unknown => "unknown",
            Exit::Newer => "newer",
        };
        Problem { code: code.into(), failure }
    }
}

/// A client of operators' listeners.
pub struct Operators {
    client: OperatorClient,
    pub addresses: Vec<String>,
}

impl Operators {
    pub fn new(reach: &Reach) -> Result<Operators, Problem> {
        Operators::patient(reach, ANSWER_WAIT)
    }

    /// A client that waits as long as this for one answer.
    pub fn patient(reach: &Reach, answer_wait: Duration) -> Result<Operators, Problem> {
        Ok(Operators::at(&reach.at.operator, answer_wait)?)
    }

    /// A client of the listeners at these addresses.
    pub fn at(addresses: &[String], answer_wait: Duration) -> Result<Operators, Failure> {
        let client = tls::own_client(answer_wait)?;
        let plain = |address: &String| {
            address.split_once("://").map_or(address.as_str(), |(_, rest)| rest).trim_end_matches('/').to_string()
        };
        Ok(Operators { client, addresses: addresses.iter().map(plain).collect() })
    }

    /// Asks one address once: a POST with `body`, a GET without.
    pub async fn ask_at<T: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Problem> {
        let url = format!("{}://{address}{path}", self.client.scheme);
        let request = match body {
            Some(body) => self.client.http.post(url).json(body),
            None => self.client.http.get(url),
        };
        let response = request.send().await.map_err(|error| match error.is_timeout() {
            true => Problem::new(Exit::Unknown, "unknown", format!("--operator {address}: no answer in time; it may or may not have been done: look with `holdfast cluster status`")),
            false => Problem::from(Failure::unreachable(format!("--operator {address}: no answer"))),
        })?;
        let status = response.status();
        let answer: Value = response.json().await.map_err(|_| {
            Failure::unreachable(format!("--operator {address}: not an operator's listener of Holdfast"))
        })?;
        if status.is_success() {
            let strange = |error| Failure::unreachable(format!("--operator {address}: {error}"));
            return Ok(serde_json::from_value(answer).map_err(strange)?);
        }
        Err(declined(address, status, &answer))
    }

    /// Reads bytes from one address.
    pub async fn bytes_at(&self, address: &str, path: &str) -> Result<Bytes, Problem> {
        let unreachable = |error: reqwest::Error| Failure::unreachable(format!("--operator {address}: {error}"));
        let url = format!("{}://{address}{path}", self.client.scheme);
        let response = self.client.http.get(url).send().await.map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(declined(address, status, &response.json().await.unwrap_or_default()));
        }
        Ok(response.bytes().await.map_err(unreachable)?)
    }

    /// Asks address after address, again and again for a bounded while, until one answers with more than that it cannot now.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Problem> {
        let started = Instant::now();
        loop {
            let mut last = None;
            for address in &self.addresses {
                match self.ask_at(address, path, Some(body)).await {
                    Err(problem) if problem.passes() => last = last.or(Some(problem)),
                    answer => return answer,
                }
            }
            let problem = last.unwrap_or_else(|| Failure::usage("--operator: an address is needed").into());
            // An address where nobody listens is no reason to wait.
            if problem.code == "unreachable" || started.elapsed() > LOOK_WAIT {
                return Err(problem);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// What an answer other than a success means.
fn declined(address: &str, status: StatusCode, answer: &Value) -> Problem {
    let message = answer["error"].as_str().unwrap_or("refused").to_string();
    let code = answer["code"].as_str().unwrap_or(if status.is_client_error() { "refused" } else { "unavailable" });
    let exit = match code {
        "unknown" | "not_taken_over" => Exit::Unknown,
        _ if status.is_client_error() => Exit::Refused,
        _ => Exit::Unreachable,
    };
    let message = if exit == Exit::Refused { message } else { format!("--operator {address}: {message}") };
    Problem::new(exit, code, message)
}
