//! The tests of replication as a whole; what concerns one file is tested in that file.

#[cfg(not(madsim))]
mod cluster;
mod storage;
#[cfg(not(madsim))]
mod tls;
