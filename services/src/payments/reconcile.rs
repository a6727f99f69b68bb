//! The provider's book against the ledger: every difference, named.
//!
//! The ledger's payments are read before and after the provider's charges: what changed in between is under way and not
//! compared. So a difference that is reported was there while nobody worked on it.

use std::collections::BTreeMap;

use holdfast_ledger::entities::PaymentStatus;
use holdfast_ledger::id::PaymentId;
use serde::Serialize;

use super::provider::{Intent, PaymentProvider, ProviderError, Standing};
use super::row::PaymentRow;
use crate::client::{CallError, Signed};

/// Payments and charges that are compared in one run.
pub const ROWS_MAX: usize = 5_000_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The ledger names a charge that the provider does not have.
    MissingAtProvider,
    /// Money is held or taken for a payment that the ledger does not have.
    UnknownToLedger,
    /// Money is held or taken under another charge than the payment's own.
    SecondCharge,
    AmountDiffers,
    CurrencyDiffers,
    /// Money was taken, and the ledger does not say so.
    TakenUnrecorded,
    /// The ledger says that money was taken, and the provider does not.
    NotTaken,
    /// Money is still reserved for a payment that is over.
    StillHeld,
    /// One of both says that the money was given back.
    RefundDiffers,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent_id: Option<String>,
    pub ledger: String,
    pub provider: String,
}

/// What was compared, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub payments: usize,
    pub charges: usize,
    /// Payments with a step to come, and those that changed while both were read: not compared.
    pub under_way: usize,
    pub captured: usize,
    /// Sums of what the provider has taken and not given back, in minor units by currency.
    pub captured_minor: BTreeMap<String, u64>,
    pub differences: Vec<Difference>,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    #[error("the ledger's payments cannot be read: {0}")]
    Ledger(#[from] CallError),
    #[error("the provider's charges cannot be read: {0}")]
    Provider(#[from] ProviderError),
    #[error("more than {ROWS_MAX} rows")]
    TooMany,
}

/// Reads both sides and compares them.
pub async fn reconcile(api: &Signed, provider: &dyn PaymentProvider) -> Result<Report, ReconcileError> {
    let before = payments(api).await?;
    let mut intents: Vec<Intent> = Vec::new();
    loop {
        let page = provider.list(intents.last().map(|intent| intent.id.as_str())).await?;
        if page.is_empty() {
            break;
        }
        intents.extend(page);
        if intents.len() > ROWS_MAX {
            return Err(ReconcileError::TooMany);
        }
    }
    let after = payments(api).await?;
    Ok(compare(&before, &intents, &after))
}

async fn payments(api: &Signed) -> Result<BTreeMap<PaymentId, PaymentRow>, ReconcileError> {
    let rows = api.pages::<PaymentRow>("/api/services/payments", ROWS_MAX).await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Compares what was read. `after` has every payment of `before`.
fn compare(
    before: &BTreeMap<PaymentId, PaymentRow>,
    intents: &[Intent],
    after: &BTreeMap<PaymentId, PaymentRow>,
) -> Report {
    let mut report = Report { payments: after.len(), charges: intents.len(), ..Report::default() };
    for intent in intents.iter().filter(|intent| intent.standing == Standing::Captured) {
        report.captured += 1;
        let sum = report.captured_minor.entry(intent.currency.clone()).or_default();
        *sum = sum.saturating_add(intent.amount_minor);
    }
    let by_id: BTreeMap<&str, &Intent> = intents.iter().map(|intent| (intent.id.as_str(), intent)).collect();
    for row in after.values() {
        let settled = row.next.is_none() && before.get(&row.id).is_some_and(|earlier| earlier.status == row.status);
        if !settled {
            report.under_way += 1;
            continue;
        }
        let Some(intent_id) = &row.intent_id else { continue };
        let found = by_id.get(intent_id.as_str());
        report.differences.extend(against(row, intent_id, found.copied()));
    }
    for intent in intents.iter().filter(|intent| has_money(intent.standing)) {
        report.differences.extend(orphan(intent, after));
    }
    report.differences.sort_by_key(|difference| (difference.kind, difference.payment));
    report
}

fn has_money(standing: Standing) -> bool {
    matches!(standing, Standing::Held | Standing::Captured)
}

/// A settled payment against its charge.
fn against(row: &PaymentRow, intent_id: &str, intent: Option<&Intent>) -> Vec<Difference> {
    let difference = |kind, ledger: String, provider: String| Difference {
        kind,
        payment: Some(row.id),
        intent_id: Some(intent_id.to_string()),
        ledger,
        provider,
    };
    let status = format!("{:?}", row.status);
    let Some(intent) = intent else {
        return vec![difference(Kind::MissingAtProvider, status, "no such charge".into())];
    };
    let mut found = Vec::new();
    if intent.amount_minor != row.amount_minor {
        let (ledger, provider) = (row.amount_minor.to_string(), intent.amount_minor.to_string());
        found.push(difference(Kind::AmountDiffers, ledger, provider));
    }
    if intent.currency != row.currency {
        found.push(difference(Kind::CurrencyDiffers, row.currency.clone(), intent.currency.clone()));
    }
    let kind = match (row.status, intent.standing) {
        (PaymentStatus::Captured, Standing::Captured) | (PaymentStatus::Refunded, Standing::Refunded) => None,
        (PaymentStatus::Refunded, _) | (_, Standing::Refunded) => Some(Kind::RefundDiffers),
        (PaymentStatus::Captured, _) => Some(Kind::NotTaken),
        (_, Standing::Captured) => Some(Kind::TakenUnrecorded),
        // A capture that failed leaves the money reserved until an operator decides or the reservation runs out.
        (PaymentStatus::CaptureFailed, Standing::Held) => None,
        (_, Standing::Held) => Some(Kind::StillHeld),
        _ => None,
    };
    found.extend(kind.map(|kind| difference(kind, status, format!("{:?}", intent.standing))));
    found
}

/// A charge with money whose payment the ledger does not have, or has under another charge.
fn orphan(intent: &Intent, payments: &BTreeMap<PaymentId, PaymentRow>) -> Option<Difference> {
    let row = intent.payment.and_then(|payment| payments.get(&payment));
    let (kind, ledger) = match row {
        None => (Kind::UnknownToLedger, "no such payment".to_string()),
        Some(row) if row.intent_id.as_deref().is_some_and(|own| own != intent.id) => {
            (Kind::SecondCharge, format!("{:?} under {}", row.status, row.intent_id.as_deref().unwrap_or_default()))
        }
        // Given up before it had a charge, by a ledger that was restored from before that.
        Some(row) if row.intent_id.is_none() && row.next.is_none() => {
            let taken = intent.standing == Standing::Captured;
            (if taken { Kind::TakenUnrecorded } else { Kind::StillHeld }, format!("{:?}", row.status))
        }
        Some(_) => return None,
    };
    let provider = format!("{:?}", intent.standing);
    Some(Difference { kind, payment: intent.payment, intent_id: Some(intent.id.clone()), ledger, provider })
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_ledger::entities::PaymentStep;
    use holdfast_ledger::id::{Id, OrderId};

    fn row(number: u32, status: PaymentStatus) -> PaymentRow {
        PaymentRow {
            id: PaymentId(Id::mint(0, 1, number)),
            order_id: OrderId(Id::mint(0, 2, number)),
            order_status: "complete".into(),
            status,
            next: None,
            attempt: 1,
            amount_minor: 1999,
            currency: "USD".into(),
            fence: String::new(),
            token: None,
            intent_id: Some(format!("pi_{number}")),
            action_url: None,
            failure: None,
            age_ms: 0,
        }
    }

    fn intent(number: u32, standing: Standing) -> Intent {
        Intent {
            id: format!("pi_{number}"),
            payment: Some(PaymentId(Id::mint(0, 1, number))),
            order: None,
            amount_minor: 1999,
            currency: "USD".into(),
            standing,
            failure: None,
            action_url: None,
        }
    }

    fn found(rows: &[PaymentRow], intents: &[Intent]) -> Vec<Kind> {
        let rows: BTreeMap<_, _> = rows.iter().map(|row| (row.id, row.clone())).collect();
        compare(&rows, intents, &rows).differences.iter().map(|difference| difference.kind).collect()
    }

    #[test]
    fn what_agrees_is_no_difference() {
        use PaymentStatus::*;
        let rows = [row(1, Captured), row(2, Declined), row(3, Voided), row(4, Refunded), row(5, CaptureFailed)];
        let intents = [
            intent(1, Standing::Captured),
            intent(2, Standing::Declined),
            intent(3, Standing::Voided),
            intent(4, Standing::Refunded),
            intent(5, Standing::Held),
            intent(9, Standing::Voided),
        ];
        assert_eq!(found(&rows, &intents), []);
    }

    #[test]
    fn every_difference_has_its_name() {
        use PaymentStatus::*;
        assert_eq!(found(&[row(1, Captured)], &[]), [Kind::MissingAtProvider]);
        assert_eq!(found(&[], &[intent(1, Standing::Held)]), [Kind::UnknownToLedger]);
        assert_eq!(found(&[row(1, Captured)], &[intent(1, Standing::Held)]), [Kind::NotTaken]);
        assert_eq!(found(&[row(1, Voided)], &[intent(1, Standing::Captured)]), [Kind::TakenUnrecorded]);
        assert_eq!(found(&[row(1, Declined)], &[intent(1, Standing::Held)]), [Kind::StillHeld]);
        assert_eq!(found(&[row(1, Captured)], &[intent(1, Standing::Refunded)]), [Kind::RefundDiffers]);
        let dearer = Intent { amount_minor: 2000, ..intent(1, Standing::Captured) };
        assert_eq!(found(&[row(1, Captured)], &[dearer]), [Kind::AmountDiffers]);
        let given_up = PaymentRow { intent_id: None, ..row(1, Voided) };
        assert_eq!(found(std::slice::from_ref(&given_up), &[intent(1, Standing::Captured)]), [Kind::TakenUnrecorded]);
        assert_eq!(found(&[given_up], &[intent(1, Standing::Held)]), [Kind::StillHeld]);
        let second = Intent { id: "pi_second".into(), ..intent(1, Standing::Captured) };
        assert_eq!(found(&[row(1, Captured)], &[intent(1, Standing::Captured), second]), [Kind::SecondCharge]);
    }

    #[test]
    fn what_is_under_way_is_not_compared() {
        let open = PaymentRow { next: Some(PaymentStep::Capture), ..row(1, PaymentStatus::Authorized) };
        let rows = BTreeMap::from([(open.id, open)]);
        let report = compare(&rows, &[intent(1, Standing::Captured)], &rows);
        assert_eq!((report.under_way, report.differences.len(), report.captured), (1, 0, 1));
    }
}
