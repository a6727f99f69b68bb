//! The deterministic simulator: a whole cluster, its clients and its faults in one process, on one thread, under virtual time.
//!
//! The nodes are the real thing: replication, the ledger and the axum router, over a simulated disk, clock and network. A
//! [`schedule`] says what goes wrong and when; [`run`] carries it out and judges it with the [`check`]s; the same schedule
//! gives the same run, event for event, which the [`trace`]'s hash shows.
//!
//! All of it exists under `cfg(madsim)` alone: see the `sim` alias of cargo, or `make sim`.
//!
//! What this deliberately does not do: simulate RocksDB, TCP or HTTP's bytes. Those are tested with real processes.

#![cfg(madsim)]

pub mod bus;
pub mod check;
pub mod check_events;
pub mod check_time;
pub mod client;
pub mod clocks;
pub mod code;
pub mod damage;
pub mod evidence;
pub mod expand;
pub mod export;
pub mod frames;
pub mod history;
pub mod hop;
pub mod machine;
pub mod mirror;
pub mod operator;
pub mod past;
pub mod provider;
pub mod quiet;
pub mod remote;
pub mod restore;
pub mod run;
pub mod schedule;
pub mod second;
pub mod services;
pub mod streams;
pub mod trace;
pub mod view;
pub mod workload;
pub mod world;
