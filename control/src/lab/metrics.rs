//! Reading the firewall's metrics, as Prometheus would.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Fetches the exposition; call it inside the firewall's namespace.
pub(super) fn fetch(from: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&from, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET /metrics HTTP/1.0\r\nHost: {from}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body))
            if head
                .lines()
                .next()
                .is_some_and(|status| status.contains(" 200 ")) =>
        {
            Ok(body.to_owned())
        }
        _ => Err(io::Error::other(format!(
            "the metrics listener answered: {}",
            answer.lines().next().unwrap_or("")
        ))),
    }
}

/// The packets counted by the rules with this comment.
pub(super) fn rule_packets(exposition: &str, comment: &str) -> Option<u64> {
    let label = format!("comment=\"{comment}\"");
    let mut values = exposition
        .lines()
        .filter(|line| line.starts_with("sluice_rule_packets_total{") && line.contains(&label))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .peekable();
    values.peek()?;
    Some(values.sum::<f64>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_its_comment() {
        let text = "# HELP sluice_rule_packets_total x\n\
                    sluice_rule_packets_total{chain=\"c\",comment=\"ping\",table=\"t\"} 12\n\
                    sluice_rule_packets_total{chain=\"d\",comment=\"ping\",table=\"t\"} 3\n";
        assert_eq!(rule_packets(text, "ping"), Some(15));
        assert_eq!(rule_packets(text, "pin"), None);
    }
}
