//! `holdfast audit`: what operators did, and whether somebody has changed it since.
//!
//! The rows come from a node's listener and their hashes are computed here, from the rows themselves: the one who is asked is not
//! believed that they hold. Whoever can keep the newest hash elsewhere can compare it, and then no row can be changed at all.

use clap::{Args, Subcommand};
use holdfast_ledger::codec;
use holdfast_ledger::entities::AuditRow;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::backup::hex;
use crate::failure::Failure;
use crate::membership::{Operators, Problem, Reach};
use crate::operator::AuditPage;

/// The log of what operators did
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Compute the chain of hashes anew; exit code 1 where it does not hold
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    reach: Reach,
}

pub async fn run(command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::Verify(args) = command;
    let verified = verify(&args).await;
    if let Err(problem) = &verified
        && args.reach.json
    {
        say!("{}", problem.json());
    }
    verified.map_err(|problem| problem.failure)
}

async fn verify(args: &VerifyArgs) -> Result<(), Problem> {
    let operators = Operators::new(&args.reach)?;
    let mut chain: Option<Chain> = None;
    let mut after = None;
    let (chain, page) = loop {
        let page: AuditPage = operators.ask("/audit", &json!({ "after": after })).await?;
        let chain = chain.get_or_insert(Chain { seq: page.last, hash: page.hash });
        for (seq, row) in &page.rows {
            chain.back(*seq, row).map_err(Failure::failed)?;
        }
        match page.next {
            Some(_) => after = page.next,
            None => break (*chain, page),
        }
    };
    if (chain.seq, chain.hash) != (page.dropped, page.anchor) {
        let message =
            format!("the audit begins after row {}, and not with row {} and its hash", chain.seq, page.dropped);
        return Err(Failure::failed(message).into());
    }
    let (kept, newest) = (page.last - page.dropped, hex(&page.hash));
    match args.reach.json {
        true => say!("{}", json!({ "holds": true, "rows": kept, "last": page.last, "hash": newest })),
        false => say!("{kept} rows hold, up to number {}; the newest has the hash {newest}", page.last),
    }
    Ok(())
}

/// A place in the chain: the number of a row and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chain {
    seq: u64,
    hash: [u8; 32],
}

impl Chain {
    /// Goes back by one row, which must be the one that is expected, as it was written.
    fn back(&mut self, seq: u64, row: &AuditRow) -> Result<(), String> {
        if seq > self.seq {
            // Written since the first page was read.
            return Ok(());
        }
        let said = (seq, row.index, row.time_ms, row.actor, row.action, &row.subject, row.previous_hash);
        let digest: [u8; 32] = Sha256::digest(codec::encode(&said)).into();
        if seq != self.seq || digest != self.hash || row.hash != self.hash {
            return Err(format!("row {} of the audit was changed or taken out", self.seq));
        }
        *self = Chain { seq: seq - 1, hash: row.previous_hash };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::entities::{AuditAction, AuditActor, AuditSubject};

    use super::*;

    /// Row after row, each with the hash of the one before.
    fn rows(count: u64) -> Vec<(u64, AuditRow)> {
        let mut previous_hash = [0; 32];
        let row = |seq: u64| {
            let (actor, action, subject) = (AuditActor::Cluster, AuditAction::SetPolicy, AuditSubject::Cluster);
            let row = AuditRow { index: seq, time_ms: 7, actor, action, subject, previous_hash, hash: [0; 32] };
            let said = (seq, row.index, row.time_ms, row.actor, row.action, &row.subject, row.previous_hash);
            previous_hash = Sha256::digest(codec::encode(&said)).into();
            (seq, AuditRow { hash: previous_hash, ..row })
        };
        (1..=count).map(row).collect()
    }

    fn check(rows: &[(u64, AuditRow)], newest: &AuditRow) -> Result<(), String> {
        let mut chain = Chain { seq: 3, hash: newest.hash };
        rows.iter().rev().try_for_each(|(seq, row)| chain.back(*seq, row))
    }

    #[test]
    fn a_row_that_was_changed_or_taken_out_is_found() {
        let good = rows(3);
        let newest = good[2].1.clone();
        assert_eq!(check(&good, &newest), Ok(()));
        let mut changed = good.clone();
        changed[1].1.time_ms += 1;
        assert_eq!(check(&changed, &newest), Err("row 2 of the audit was changed or taken out".into()));
        let mut missing = good.clone();
        missing.remove(1);
        assert_eq!(check(&missing, &newest), Err("row 2 of the audit was changed or taken out".into()));
        let other = AuditRow { hash: [1; 32], ..newest };
        assert_eq!(check(&good, &other), Err("row 3 of the audit was changed or taken out".into()));
    }
}
