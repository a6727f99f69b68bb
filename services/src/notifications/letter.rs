//! What is written to people: subject, words, and a link.
//!
//! A letter is content, the same for its plain and its HTML part. Its name follows from what it is about, so that it is the
//! same letter however often it is written.

use holdfast_ledger::id::{Id, OrderId, TicketId, UserId};

/// What a letter is about; the name is part of its identity and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    Locked,
    Confirmed,
    Expired,
    Refunded,
    PriceChanged,
    Offer,
    Reset,
    Verification,
}

impl Template {
    pub(super) fn name(self) -> &'static str {
        match self {
            Template::Locked => "locked",
            Template::Confirmed => "confirmed",
            Template::Expired => "expired",
            Template::Refunded => "refunded",
            Template::PriceChanged => "price-changed",
            Template::Offer => "offer",
            Template::Reset => "reset",
            Template::Verification => "verification",
        }
    }
}

/// A ticket and its price, as the letter lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) title: String,
    pub(super) price: String,
}

/// Where the letter leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) label: &'static str,
    pub(super) url: String,
}

/// One letter, without its reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) template: Template,
    /// Template, entity and version, and the reader where one event writes to many.
    pub(super) name: String,
    /// Ledger time of the event.
    pub(super) time_ms: u64,
    pub(super) subject: String,
    pub(super) paragraphs: Vec<String>,
    pub(super) lines: Vec<Line>,
    pub(super) link: Option<Link>,
    /// Why the reader got it.
    pub(super) reason: &'static str,
}

/// What a letter follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) entity: Id,
    pub(super) version: u64,
    pub(super) time_ms: u64,
}

const BUYER: &str = "You receive this because you ordered tickets with this address.";
const ACCOUNT: &str = "You receive this because somebody, probably you, asked for it. If it was not you, nothing has changed: \
    you can ignore this mail.";

impl Letter {
    fn new(template: Template, about: About, subject: String, reason: &'static str) -> Letter {
        let name = format!("{}.{}.{}", template.name(), about.entity, about.version);
        let (paragraphs, lines) = (Vec::new(), Vec::new());
        Letter { template, name, time_ms: about.time_ms, subject, paragraphs, lines, link: None, reason }
    }

    fn says(mut self, paragraph: impl Into<String>) -> Letter {
        self.paragraphs.push(paragraph.into());
        self
    }

    fn lists(mut self, lines: Vec<Line>) -> Letter {
        self.lines = lines;
        self
    }

    fn leads(mut self, label: &'static str, url: String) -> Letter {
        self.link = Some(Link { label, url });
        self
    }

    pub(super) fn locked(about: About, site: &str, order: OrderId, lines: Vec<Line>, until: &str) -> Letter {
        Letter::new(Template::Locked, about, format!("Your tickets are held until {until}"), BUYER)
            .says(format!(
                "These tickets are yours to buy until {until}. Nobody else can buy them, and their price is fixed."
            ))
            .says("If you do not pay by then, they go back on sale and you pay nothing.")
            .lists(lines)
            .leads("Pay now", format!("{site}/orders/{order}"))
    }

    pub(super) fn confirmed(about: About, site: &str, order: OrderId, lines: Vec<Line>) -> Letter {
        Letter::new(Template::Confirmed, about, "Your tickets are yours".into(), BUYER)
            .says("Thank you. Your payment is authorised and the tickets are yours.")
            .lists(lines)
            .leads("See your tickets", format!("{site}/orders/{order}"))
    }

    pub(super) fn expired(about: About, site: &str, order: OrderId, lines: Vec<Line>) -> Letter {
        Letter::new(Template::Expired, about, "Your tickets are no longer held".into(), BUYER)
            .says("Your time to pay has run out, so these tickets are on sale again. You have paid nothing.")
            .says("If your bank still shows an amount, it is a reservation only and will go away by itself.")
            .lists(lines)
            .leads("See the order", format!("{site}/orders/{order}"))
    }

    pub(super) fn refunded(about: About, site: &str, order: OrderId, lines: Vec<Line>, amount: &str) -> Letter {
        Letter::new(Template::Refunded, about, format!("{amount} has been refunded"), BUYER)
            .says(format!("We have given back {amount}. Your bank may take a few days to show it."))
            .lists(lines)
            .leads("See the order", format!("{site}/orders/{order}"))
    }

    pub(super) fn price_changed(about: About, site: &str, ticket: TicketId, reader: UserId, line: Line) -> Letter {
        let subject = format!("The price of {} is now {}", line.title, line.price);
        let reason = "You receive this because you watch this ticket. You can stop that on its page.";
        let mut letter = Letter::new(Template::PriceChanged, about, subject, reason)
            .says("The price of a ticket that you watch has changed.")
            .lists(vec![line])
            .leads("See the ticket", format!("{site}/tickets/{ticket}"));
        letter.name = format!("{}.{reader}", letter.name);
        letter
    }

    pub(super) fn offer(about: About, site: &str, ticket: TicketId, line: Line, until: &str) -> Letter {
        let reason = "You receive this because you stand in line for this ticket. You can leave the line on its page.";
        Letter::new(Template::Offer, about, format!("It is your turn: {}", line.title), reason)
            .says(format!("The ticket you stand in line for is free again. It is kept for you until {until}."))
            .says("After that it is offered to the next in line.")
            .lists(vec![line])
            .leads("Buy it", format!("{site}/tickets/{ticket}"))
    }

    pub(super) fn reset(about: About, url: String, until: &str) -> Letter {
        Letter::new(Template::Reset, about, "Choose a new password".into(), ACCOUNT)
            .says(format!("With this link you can choose a new password. It works once, until {until}."))
            .leads("Choose a new password", url)
    }

    pub(super) fn verification(about: About, url: String, until: &str) -> Letter {
        Letter::new(Template::Verification, about, "Is this your address?".into(), ACCOUNT)
            .says(format!("With this link you confirm that this is your address. It works once, until {until}."))
            .leads("Confirm the address", url)
    }
}
