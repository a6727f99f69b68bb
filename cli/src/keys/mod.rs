//! `holdfast keys`: the keys that nodes sign with, seen and changed through an operator's listener.

mod rotation;
mod routes;
mod views;

pub use rotation::{PUBLISHED_WAIT, Rotation};
pub use routes::routes;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::service;
use crate::tls::{self, OperatorClient};
use views::KeysView;

/// How long the operator's listener may take to answer. A key that replaces the old one at once is waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// The keys that nodes sign sessions and tickets with
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Show the keys of all nodes
    List(ListArgs),
    /// Replace the signing key of one node
    ///
    /// The next key is published first and signs a little later. The old one stays published until no session of it can be
    /// refreshed any more, and then is retired. Tickets that it has signed stay good.
    Rotate(RotateArgs),
    /// Trust no session of a key from now on: its users must sign in again
    ///
    /// For a key that somebody else may have. If its node still signs with it, rotate that node with --now instead.
    Retire(RetireArgs),
    /// Make the key of a service and register its public half, or register that of an existing one
    Service(ServiceArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Operator address of a node
    #[arg(long, env = "HOLDFAST_OPERATOR", default_value = "127.0.0.1:5000", value_name = "ADDR")]
    operator: String,
}

#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Operator address of the node whose key is replaced
    #[arg(long, env = "HOLDFAST_OPERATOR", default_value = "127.0.0.1:5000", value_name = "ADDR")]
    operator: String,
    /// Sign with the next key and retire the old one at once: who holds a token of it must sign in again
    #[arg(long)]
    now: bool,
}

#[derive(Debug, Args)]
pub struct RetireArgs {
    /// Id of the key, as `holdfast keys list` shows it
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    /// Operator address of a node
    #[arg(long, env = "HOLDFAST_OPERATOR", default_value = "127.0.0.1:5000", value_name = "ADDR")]
    operator: String,
}

#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// payments or notifications
    #[arg(value_parser = ["payments", "notifications"], value_name = "SERVICE")]
    service: String,
    /// File of the secret half; made, for the owner alone, if it is not there
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Operator address of a node
    #[arg(long, env = "HOLDFAST_OPERATOR", default_value = "127.0.0.1:5000", value_name = "ADDR")]
    operator: String,
}

pub async fn run(command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::List(args) => show(&ask(&args.operator, "/keys", None).await?),
        KeysCommand::Rotate(args) => {
            let view = ask(&args.operator, "/keys/rotate", Some(json!({ "now": args.now }))).await?;
            match &view.next {
                Some(next) => say!("{} is published and signs in {} s", next.key_id, next.signs_in_s),
                None => say!("{} signs from now on", view.signing),
            }
        }
        KeysCommand::Retire(args) => {
            ask(&args.operator, "/keys/retire", Some(json!({ "key_id": args.key_id }))).await?;
            say!("{} is retired", args.key_id);
        }
        KeysCommand::Service(args) => {
            let key_id = service::register(&args.service, &args.key, &args.operator).await?;
            say!("{} may act with the key {key_id}", args.service);
        }
    }
    Ok(())
}

fn show(view: &KeysView) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["key", "state"]);
    for key in &view.keys {
        let state = if key.retired_ms.is_some() {
            "retired: only tickets that it has signed are good".to_string()
        } else if key.key_id == view.signing {
            "signs here".to_string()
        } else if let Some(next) = view.next.as_ref().filter(|next| next.key_id == key.key_id) {
            format!("signs here in {} s", next.signs_in_s)
        } else if let Some(old) = view.replaced.iter().find(|old| old.key_id == key.key_id) {
            format!("signed here; retires in {} min", old.retires_in_s.div_ceil(60))
        } else {
            "of another node".to_string()
        };
        table.add_row([key.key_id.as_str(), &state]);
    }
    say!("{table}");
}

/// Asks an operator's listener: a POST with `body`, a GET without.
async fn ask(operator: &str, path: &str, body: Option<Value>) -> Result<KeysView, Failure> {
    let body = ask_operator(operator, path, body).await?;
    serde_json::from_value(body).map_err(|error| Failure::unreachable(format!("--operator {operator}: {error}")))
}

/// [`ask`], with any answer.
pub async fn ask_operator(operator: &str, path: &str, body: Option<Value>) -> Result<Value, Failure> {
    let unreachable = |error: reqwest::Error| Failure::unreachable(format!("--operator {operator}: {error}"));
    let OperatorClient { http, scheme } = tls::own_client(ANSWER_WAIT)?;
    let address = operator.split_once("://").map_or(operator, |(_, address)| address).trim_end_matches('/');
    let url = format!("{scheme}://{address}{path}");
    let request = match &body {
        Some(body) => http.post(url).json(body),
        None => http.get(url),
    };
    let response = request.send().await.map_err(unreachable)?;
    let is_success = response.status().is_success();
    let body: Value = response.json().await.map_err(unreachable)?;
    if !is_success {
        return Err(Failure::failed(format!("--operator {operator}: {}", body["error"].as_str().unwrap_or("refused"))));
    }
    Ok(body)
}
