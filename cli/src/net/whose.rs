//! Which process is at the other end of a connection on this machine: the kernel's table of sockets gives the socket's inode, and the
//! process's open files give the process.

use std::fs;
use std::net::SocketAddr;

/// The one of `processes` that has connected from `from` to `to`.
pub fn process(from: SocketAddr, to: SocketAddr, mut processes: impl Iterator<Item = u32>) -> Option<u32> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let socket = format!("socket:[{}]", inode(&table, from, to)?);
    processes.find(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"));
        files.is_ok_and(|files| {
            files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == &*socket))
        })
    })
}

/// The inode of the socket that is bound to `from` and connected to `to`.
fn inode(table: &str, from: SocketAddr, to: SocketAddr) -> Option<&str> {
    let (from, to) = (shown(from)?, shown(to)?);
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == from && words.next()? == to).then(|| words.nth(6)).flatten()
    })
}

/// An address as the table has it.
fn shown(address: SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(address) => {
            Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
        }
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_by_both_its_ends() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:0FA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n   \
            1: 0100007F:0FA0 0100007F:0FA1 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n   \
            2: 0100007F:0FA1 0100007F:0FA0 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0\n";
        let [a, b] = ["127.0.0.1:4000", "127.0.0.1:4001"].map(|text| text.parse().unwrap());
        assert_eq!((inode(table, a, b), inode(table, b, a), inode(table, a, a)), (Some("222"), Some("333"), None));
    }
}
