//! The HTTP interface: routes, bodies and status codes, over one node of the cluster.
//!
//! A request is checked here for its shape and its caller, becomes a command or a query, and is answered from what the
//! ledger said. [`router`] is free of sockets and clocks of its own, so the simulator drives the same routes that
//! [`server`] puts on a port. The interface of the original application is kept to the letter: its routes, bodies,
//! messages and status codes; what it could not say is told by `code`.
//!
//! What this deliberately does not do: decide. Whether a ticket is free, a price has changed or a caller may act is settled
//! by the ledger when the command is applied; what is checked here is only what can be said without it.

pub mod app;
mod body;
#[cfg(not(madsim))]
mod bounded_write;
mod cards;
mod clock;
mod cluster;
mod cors;
mod csrf;
mod error;
mod events;
mod fields;
mod headers;
pub mod health;
mod history;
mod idempotency;
mod limits;
mod line;
mod live;
mod middleware;
mod openapi;
mod operator;
mod orders;
mod pages;
mod paging;
mod password;
mod payments;
mod remembered;
mod router;
mod sales;
#[cfg(not(madsim))]
pub mod server;
mod services;
mod session;
mod signed_ticket;
mod signing_key;
mod tickets;
mod token;
mod users;
mod watch;

pub use app::{App, Settings};
pub use clock::WallClock;
pub use error::Fault;
pub use limits::{Quota, RateLimits};
pub use pages::{CardForm, STRIPE_SCRIPT};
pub use password::PasswordCost;
pub use payments::payment_status_name;
pub use router::router;
pub use signing_key::SigningKey;
pub use users::new_operator_token;

// Times look the same in answers and in events.
use holdfast_events::wire::time;
