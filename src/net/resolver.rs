//! resolv.conf(5), as far as it names servers. Pure.

use std::net::{IpAddr, Ipv4Addr};

/// The servers that a file names, in order.
pub fn servers(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(server).filter_map(|word| word.split('%').next()?.parse().ok()).collect()
}

/// The same file with these servers in place of its own; everything else of it stays.
pub fn with_servers(text: &str, servers: &[Ipv4Addr]) -> String {
    let kept = text.lines().filter(|line| server(line).is_none()).map(|line| format!("{line}\n"));
    kept.chain(servers.iter().map(|server| format!("nameserver {server}\n"))).collect()
}

fn server(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    (words.next()? == "nameserver").then(|| words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_and_replaced() {
        let text = "# of systemd\nnameserver 127.0.0.53\nsearch lan\n nameserver fe80::1%eth0\noptions edns0";
        let all: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["127.0.0.53", "fe80::1"]);
        let other = with_servers(text, &[Ipv4Addr::new(192, 0, 2, 1)]);
        assert_eq!(other, "# of systemd\nsearch lan\noptions edns0\nnameserver 192.0.2.1\n");
        assert_eq!(servers("nameserver\nnameserver x\n#nameserver 1.2.3.4\n"), Vec::<IpAddr>::new());
    }
}
