//! The simulator's own tests: whole runs. One binary, as each links the whole cluster.

#![cfg(madsim)]

mod command;
mod manual;
mod planted;
mod scenarios;
mod smoke;
mod swarm;
