//! `holdfast cluster token`: a token with which one node may join.

use clap::Args;
use serde_json::{Value, json};

use super::{Operators, Problem, Reach};
use crate::operator::TokenView;

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    pub reach: Reach,
}

pub async fn run(args: &TokenArgs) -> Result<(), Problem> {
    let operators = Operators::new(&args.reach)?;
    let (address, token) = fetch(&operators).await?;
    match args.reach.json {
        true => say!("{}", json!({ "join": address, "token": token.token, "good_for_s": token.good_for_s })),
        false => say!("--join {address} --join-token {} (once, within {} min)", token.token, token.good_for_s / 60),
    }
    Ok(())
}

/// A token of the first node that answers, and that node's address: no other node knows it.
pub async fn fetch(operators: &Operators) -> Result<(String, TokenView), Problem> {
    let mut last = None;
    for address in &operators.addresses {
        match operators.ask_at(address, "/cluster/join-token", Some(&Value::Null)).await {
            Ok(token) => return Ok((address.clone(), token)),
            Err(problem) => last = last.or(Some(problem)),
        }
    }
    Err(last.expect("clap gives at least the default"))
}
