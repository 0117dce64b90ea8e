//! A frame in words: a log line as Linux words it, and one line for a list of drops.

use std::fmt::Write;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

/// What a log line says beside the packet itself.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// The statement's prefix.
    pub prefix: &'a str,
    /// The port by which the packet came.
    pub in_port: &'a str,
    /// The port by which it leaves, empty where that is not known.
    pub out_port: &'a str,
    /// The packet's mark.
    pub mark: u32,
}

/// The line that Linux would log for this frame (`nf_log_syslog`), as far as the bytes go.
pub fn log(line: LogLine<'_>, frame: &[u8], length: u32) -> String {
    let mut text = format!("{}IN={} OUT={} ", line.prefix, line.in_port, line.out_port);
    if let Some(header) = frame.get(..14) {
        let mac: Vec<String> = header.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("MAC={} ", mac.join(":"));
    }
    // Writing to a string does not fail.
    let _ = network(&mut text, frame, length);
    if line.mark != 0 {
        text += &format!("MARK=0x{:x} ", line.mark);
    }
    text.truncate(text.trim_end().len());
    text
}

fn network(out: &mut String, frame: &[u8], length: u32) -> std::fmt::Result {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else {
        return write!(out, "LEN={length} ");
    };
    match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            write!(
                out,
                "SRC={} DST={} LEN={} TOS=0x{:02X} PREC=0x{:02X} TTL={} ID={} ",
                header.source_addr(),
                header.destination_addr(),
                header.total_len(),
                header.slice()[1] & 0x1e,
                header.slice()[1] & 0xe0,
                header.ttl(),
                header.identification(),
            )?;
            if header.dont_fragment() {
                out.push_str("DF ");
            }
            if header.more_fragments() {
                out.push_str("MF ");
            }
            let offset = header.fragments_offset().value();
            if offset != 0 {
                write!(out, "FRAG:{offset} ")?;
            }
            transport(out, &packet, header.protocol().0)
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            write!(
                out,
                "SRC={} DST={} LEN={} TC={} HOPLIMIT={} FLOWLBL={} ",
                long_form(header.source_addr()),
                long_form(header.destination_addr()),
                u32::from(header.payload_length()) + 40,
                header.traffic_class(),
                header.hop_limit(),
                header.flow_label().value(),
            )?;
            transport(out, &packet, header.next_header().0)
        }
        Some(LaxNetSlice::Arp(arp)) => {
            write!(
                out,
                "ARP HTYPE={} PTYPE=0x{:04x} ",
                arp.hw_addr_type().0,
                arp.proto_addr_type().0
            )?;
            write!(out, "OPCODE={} ", arp.operation().0)
        }
        None => write!(out, "LEN={length} "),
    }
}

/// An IPv6 address with all its zeros, as the kernel's log prints it.
fn long_form(address: std::net::Ipv6Addr) -> String {
    let parts: Vec<String> = address
        .segments()
        .iter()
        .map(|part| format!("{part:04x}"))
        .collect();
    parts.join(":")
}

fn transport(out: &mut String, packet: &LaxSlicedPacket<'_>, protocol: u8) -> std::fmt::Result {
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            write!(
                out,
                "PROTO=TCP SPT={} DPT={} ",
                tcp.source_port(),
                tcp.destination_port()
            )?;
            write!(out, "WINDOW={} RES=0x00 ", tcp.window_size())?;
            let flags = [
                (tcp.cwr(), "CWR "),
                (tcp.ece(), "ECE "),
                (tcp.urg(), "URG "),
                (tcp.ack(), "ACK "),
                (tcp.psh(), "PSH "),
                (tcp.rst(), "RST "),
                (tcp.syn(), "SYN "),
                (tcp.fin(), "FIN "),
            ];
            flags
                .iter()
                .filter(|(set, _)| *set)
                .for_each(|(_, name)| out.push_str(name));
            write!(out, "URGP={} ", tcp.urgent_pointer())
        }
        Some(TransportSlice::Udp(udp)) => write!(
            out,
            "PROTO=UDP SPT={} DPT={} LEN={} ",
            udp.source_port(),
            udp.destination_port(),
            udp.length()
        ),
        Some(TransportSlice::Icmpv4(icmp)) => {
            let bytes = icmp.slice();
            write!(out, "PROTO=ICMP TYPE={} CODE={} ", bytes[0], bytes[1])
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            let bytes = icmp.slice();
            write!(out, "PROTO=ICMPv6 TYPE={} CODE={} ", bytes[0], bytes[1])
        }
        Some(TransportSlice::Igmp(_)) | None => write!(out, "PROTO={protocol} "),
    }
}

/// One line about a frame: who to whom, and what.
pub fn summary(frame: &[u8]) -> String {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else {
        return "no Ethernet header".to_owned();
    };
    let ends = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => Some((
            ip.header().source_addr().to_string(),
            ip.header().destination_addr().to_string(),
        )),
        Some(LaxNetSlice::Ipv6(ip)) => Some((
            format!("[{}]", ip.header().source_addr()),
            format!("[{}]", ip.header().destination_addr()),
        )),
        Some(LaxNetSlice::Arp(_)) => return "ARP".to_owned(),
        None => None,
    };
    let Some((from, to)) = ends else {
        let ethertype = frame
            .get(12..14)
            .map_or(0, |kind| u16::from_be_bytes([kind[0], kind[1]]));
        return format!("EtherType 0x{ethertype:04x}");
    };
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            format!(
                "TCP {from}:{} > {to}:{}",
                tcp.source_port(),
                tcp.destination_port()
            )
        }
        Some(TransportSlice::Udp(udp)) => {
            format!(
                "UDP {from}:{} > {to}:{}",
                udp.source_port(),
                udp.destination_port()
            )
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            format!("ICMP {from} > {to} type {}", icmp.slice()[0])
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            format!("ICMPv6 {from} > {to} type {}", icmp.slice()[0])
        }
        Some(TransportSlice::Igmp(_)) | None => format!("IP {from} > {to}"),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn tcp() -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(40000, 22, 7, 512)
            .syn();
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        frame
    }

    #[test]
    fn a_tcp_packet_reads_as_linux_logs_it() {
        let line = LogLine {
            prefix: "ssh: ",
            in_port: "left",
            out_port: "right",
            mark: 0x10,
        };
        let frame = tcp();
        assert_eq!(
            log(line, &frame, frame.len() as u32),
            "ssh: IN=left OUT=right MAC=02:00:00:00:00:02:02:00:00:00:00:01:08:00 \
             SRC=10.0.0.1 DST=10.0.0.2 LEN=40 TOS=0x00 PREC=0x00 TTL=64 ID=0 DF PROTO=TCP \
             SPT=40000 DPT=22 WINDOW=512 RES=0x00 SYN URGP=0 MARK=0x10"
        );
        assert_eq!(summary(&frame), "TCP 10.0.0.1:40000 > 10.0.0.2:22");
    }

    #[test]
    fn udp_over_ipv6_prints_long_addresses() {
        let builder = PacketBuilder::ethernet2([0; 6], [0; 6])
            .ipv6([0x20; 16], [0x30; 16], 9)
            .udp(53, 5353);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"x").unwrap();
        let line = LogLine {
            prefix: "",
            in_port: "a",
            out_port: "",
            mark: 0,
        };
        let text = log(line, &frame, frame.len() as u32);
        assert!(
            text.contains("SRC=2020:2020:2020:2020:2020:2020:2020:2020 "),
            "{text}"
        );
        assert!(text.ends_with("LEN=49 TC=0 HOPLIMIT=9 FLOWLBL=0 PROTO=UDP SPT=53 DPT=5353 LEN=9"));
    }

    #[test]
    fn broken_frames_have_words_too() {
        let frame = tcp();
        for length in 0..frame.len() {
            let line = LogLine {
                prefix: "",
                in_port: "a",
                out_port: "b",
                mark: 0,
            };
            assert!(log(line, &frame[..length], length as u32).starts_with("IN=a OUT=b"));
            assert!(!summary(&frame[..length]).is_empty());
        }
    }
}
