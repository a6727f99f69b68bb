//! The tests of the ledger as a whole; what concerns one file is tested in that file.

mod agreement;
mod batching;
mod coverage;
mod events;
mod hash_store;
mod model;
mod replicas;
mod story;
mod ticking;
mod totality;
mod transcripts;
mod walk;
