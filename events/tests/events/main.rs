//! Tests of the events: what is told, and to whom.

#![cfg(not(madsim))]

mod relay;
mod support;
mod wire;
