//! The simulator's own tests: whole runs. One binary, as each links the whole cluster.

#![cfg(madsim)]

mod command;
mod planted;
mod scenarios;
mod smoke;
mod swarm;
