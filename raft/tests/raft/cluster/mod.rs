//! Tests of whole nodes: several in one process, over RocksDB and HTTP/2 on loopback, or over disks and a network in memory.

mod harness;
mod members;
mod reads_and_writes;
mod refusals;
mod restarts;
mod snapshots;
