//! Tests of the events: what is told, and to whom.

#![cfg(not(madsim))]

mod conformance;
mod consumers;
mod nats;
mod relay;
mod servers;
mod support;
mod wire;
