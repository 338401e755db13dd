//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::or_fail;

/// Below the ports that Linux and others hand out to outgoing connections: one of those could take the port of a
/// server while that is down, and it could not come back.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// A loopback port that nobody listens at, and that this process gives to nobody else.
///
/// # Panics
///
/// When no port is free.
pub fn port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(7_919);
    let free = (0..COUNT).find_map(|_| {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|_| port)
    });
    or_fail(free.ok_or("no loopback port is free"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    #[test]
    fn ports_are_free_and_given_once() {
        let ports: Vec<u16> = (0..200).map(|_| super::port()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        for port in ports {
            TcpListener::bind(("127.0.0.1", port)).expect("free");
            assert!((12_000..32_000).contains(&port));
        }
    }
}
