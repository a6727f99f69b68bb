//! The interface as a client meets it: a real server on a real port, one test a row of the contract, named after its row.
#![cfg(not(madsim))]

mod accounts;
mod bad_input;
mod client;
mod connections;
mod conventions;
mod defects;
mod door;
mod events;
mod line;
mod live;
mod matrix;
mod openapi;
mod operators;
mod orders;
mod pages;
mod payments;
mod server;
mod signed_tickets;
mod tickets;
mod tokens;
mod users;
