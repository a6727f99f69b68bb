//! The demonstration's table, and what must hold in it.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::FailOver;
use super::house::Settled;
use crate::failure::Failure;
use crate::sale::{Audit, Tally};

/// The outcome of a demonstration.
pub struct Report {
    tickets: u64,
    buyers: u64,
    sold: u64,
    lost_races: u64,
    refused_for_price: u64,
    price_raises: u64,
    raises_refused: u64,
    resent: u64,
    audit: Audit,
    settled: Settled,
    fail_over: FailOver,
    took: Duration,
}

impl Report {
    pub fn new(
        tally: &Tally,
        (tickets, buyers): (u32, u32),
        audit: Audit,
        settled: Settled,
        fail_over: FailOver,
        took: Duration,
    ) -> Report {
        Report {
            tickets: u64::from(tickets),
            buyers: u64::from(buyers),
            sold: Tally::read(&tally.bought),
            lost_races: Tally::read(&tally.lost),
            refused_for_price: Tally::read(&tally.price_changed),
            price_raises: Tally::read(&tally.edits),
            raises_refused: Tally::read(&tally.edits_refused),
            resent: Tally::read(&tally.resent),
            audit,
            settled,
            fail_over,
            took,
        }
    }

    /// Every ticket was sold, once, at the price that was seen, nothing acknowledged was lost, every order was charged once and
    /// confirmed by mail, and everything was published once.
    pub fn holds(&self) -> bool {
        let sold = self.audit.is_clean() && self.audit.sold == self.tickets && self.sold == self.tickets;
        let published = self.settled.scan.gaps + self.settled.scan.doubled == 0;
        sold && published && self.captured() == self.tickets && self.held() == 0 && self.settled.mails_missing == 0
    }

    /// Charges that were captured, each once; one that was captured twice counts twice.
    fn captured(&self) -> u64 {
        self.settled.charges.iter().map(|charge| u64::from(charge.captures)).sum()
    }

    fn held(&self) -> u64 {
        self.settled.charges.iter().filter(|charge| charge.held).count() as u64
    }

    pub fn verdict(&self) -> Result<(), Failure> {
        if self.holds() {
            return Ok(());
        }
        for finding in &self.audit.findings {
            say_aside!("{finding}");
        }
        let settled = &self.settled;
        Err(Failure::failed(format!(
            "an invariant does not hold: {} of {} tickets sold ({} acknowledged), {} sold twice, {} acknowledged and lost, {} at another price; \
             {} events missing, {} published twice; {} charges captured, {} left held; {} mails missing",
            self.audit.sold,
            self.tickets,
            self.sold,
            self.audit.double_sold,
            self.audit.lost,
            self.audit.other_price,
            settled.scan.gaps,
            settled.scan.doubled,
            self.captured(),
            self.held(),
            settled.mails_missing
        )))
    }

    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let rows = [
            ("tickets", self.tickets.to_string()),
            ("buyers", self.buyers.to_string()),
            ("sold (acknowledged)", self.sold.to_string()),
            ("sold (read again afterwards)", self.audit.sold.to_string()),
            ("lost races", self.lost_races.to_string()),
            ("refused for price", self.refused_for_price.to_string()),
            ("price raises", self.price_raises.to_string()),
            ("price raises refused, ticket locked", self.raises_refused.to_string()),
            ("retried over the fail-over", self.resent.to_string()),
            ("time without a leader", format!("{} ms", self.fail_over.without_leader.as_millis())),
            ("sold before the leader was killed", self.fail_over.sold_before.to_string()),
            ("double-sold", self.audit.double_sold.to_string()),
            ("acknowledged and lost", self.audit.lost.to_string()),
            ("charged without a ticket", self.audit.charged_for_nothing.to_string()),
            ("charged at another price", self.audit.other_price.to_string()),
            ("events published", self.settled.scan.events.to_string()),
            ("gaps in their versions", self.settled.scan.gaps.to_string()),
            ("published twice", self.settled.scan.doubled.to_string()),
            ("charges captured = orders complete", format!("{} = {}", self.captured(), self.audit.sold)),
            ("charges left held", self.held().to_string()),
            ("mails sent", self.settled.mails.to_string()),
            ("the sale took", format!("{:.1} s", self.took.as_secs_f64())),
        ];
        for (name, value) in rows {
            table.add_row([name.to_string(), value]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        say!("\n{table}");
    }
}
