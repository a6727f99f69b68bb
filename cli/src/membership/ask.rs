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
        // Who was not even connected to was asked nothing.
        let response = request.send().await.map_err(|error| match error.is_timeout() && !error.is_connect() {
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
        self.ask_while(path, body, Problem::passes).await
    }

    /// The same for what changes nothing: a node that does not answer in time is passed over as well.
    pub async fn look<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Problem> {
        self.ask_while(path, body, |problem| problem.passes() || problem.code == "unknown").await
    }

    async fn ask_while<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        passes: impl Fn(&Problem) -> bool,
    ) -> Result<T, Problem> {
        let started = Instant::now();
        loop {
            let mut last: Option<Problem> = None;
            for address in &self.addresses {
                match self.ask_at(address, path, Some(body)).await {
                    // What a node says counts more than that another one is not there.
                    Err(problem) if passes(&problem) => {
                        last = last.filter(|last| last.code != "unreachable").or(Some(problem));
                    }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A listener that answers every question like this.
    async fn answers(status: StatusCode, answer: Value) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let body = answer.to_string();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        tokio::spawn(async move {
            while let Ok((mut asked, _)) = listener.accept().await {
                let _ = asked.read(&mut [0; 4_096]).await;
                let _ = asked.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_node_that_says_nothing_is_passed_over_by_who_only_looks() {
        // The system takes the connection, and nobody reads from it.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [silent.local_addr().unwrap().to_string(), answers(StatusCode::OK, json!(7)).await];
        let operators = Operators::at(&addresses, Duration::from_millis(300)).unwrap();
        assert_eq!(operators.look::<u64>("/cluster/plan", &Value::Null).await.unwrap(), 7);
        let asked = operators.ask::<u64>("/cluster/plan", &Value::Null).await.unwrap_err();
        assert_eq!(asked.failure.exit, Exit::Unknown, "it may have been done: nobody else is asked to do it again");
    }

    #[tokio::test]
    async fn what_a_node_says_counts_more_than_that_another_is_not_there() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let busy = json!({ "error": "later", "code": "overloaded" });
        let addresses = [gone.clone(), answers(StatusCode::SERVICE_UNAVAILABLE, busy).await];
        let operators = Operators::at(&addresses, Duration::from_secs(5)).unwrap();
        let waited =
            tokio::time::timeout(LOOK_INTERVAL * 2, operators.look::<u64>("/cluster/plan", &Value::Null)).await;
        assert!(waited.is_err(), "it is asked again: {waited:?}");
        let nobody = Operators::at(&[gone], Duration::from_secs(5)).unwrap();
        let problem = nobody.look::<u64>("/cluster/plan", &Value::Null).await.unwrap_err();
        assert_eq!(problem.code, "unreachable");
    }
}
