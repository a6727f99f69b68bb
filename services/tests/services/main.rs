//! Tests of the services, each against the interface that it has in production.

#![cfg(not(madsim))]

mod notifications;
mod payments;
