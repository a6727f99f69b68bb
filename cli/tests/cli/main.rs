//! Tests of the `holdfast` program as a process: what it says, what it survives, and what it must not contain.

#![cfg(not(madsim))]

mod architecture;
mod backups;
mod bank;
mod browser;
mod companions;
mod crash;
mod deployment;
mod events;
mod faults;
mod flags;
mod formats;
mod full_disk;
mod import;
mod members;
mod mirror;
mod namespaces;
mod network;
mod node;
mod observe;
mod operating;
mod refusals;
mod rush;
mod support;
mod tls;
mod traces;
mod upgrade;
