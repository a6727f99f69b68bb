//! The demonstration's table, and what must hold in it.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::FailOver;
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
    fail_over: FailOver,
    took: Duration,
}

impl Report {
    pub fn new(tally: &Tally, tickets: u32, buyers: u32, audit: Audit, fail_over: FailOver, took: Duration) -> Report {
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
            fail_over,
            took,
        }
    }

    /// Every ticket was sold, once, at the price that was seen, and nothing acknowledged was lost.
    pub fn holds(&self) -> bool {
        self.audit.is_clean() && self.audit.sold == self.tickets && self.sold == self.tickets
    }

    pub fn verdict(&self) -> Result<(), Failure> {
        if self.holds() {
            return Ok(());
        }
        for finding in &self.audit.findings {
            say_aside!("{finding}");
        }
        Err(Failure::failed(format!(
            "an invariant does not hold: {} of {} tickets sold ({} acknowledged), {} sold twice, {} acknowledged and lost, {} at another price",
            self.audit.sold, self.tickets, self.sold, self.audit.double_sold, self.audit.lost, self.audit.other_price
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
