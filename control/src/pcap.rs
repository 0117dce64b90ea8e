//! Dropped frames as a pcapng file: one interface per port, and with each frame a comment that
//! says the reason, the rule and the generation.

use std::borrow::Cow;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};

use crate::api::wire::DroppedFrame;

/// Timestamps are in units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// The frames as a pcapng file.
///
/// # Errors
/// When a block cannot be written.
pub fn write(frames: &[DroppedFrame]) -> Result<Vec<u8>, PcapError> {
    let mut writer = PcapNgWriter::new(Vec::new())?;
    let mut ports: Vec<&str> = Vec::new();
    for frame in frames {
        if !ports.contains(&frame.port.as_str()) {
            ports.push(&frame.port);
            writer.write_pcapng_block(interface(&frame.port))?;
        }
    }
    for frame in frames {
        let port = ports
            .iter()
            .position(|port| *port == frame.port)
            .unwrap_or_default();
        writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: port as u32,
            timestamp: Duration::from_nanos(frame.time_ns),
            original_len: frame.length,
            data: Cow::Borrowed(&frame.bytes.0),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment(frame)))],
        })?;
    }
    Ok(writer.into_inner())
}

fn interface(port: &str) -> InterfaceDescriptionBlock<'static> {
    InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(port.to_owned())),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    }
}

fn comment(frame: &DroppedFrame) -> String {
    let rule = frame.rule.as_deref().unwrap_or("none");
    format!(
        "reason={} rule=\"{rule}\" generation={}",
        frame.reason, frame.generation
    )
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;
    use crate::api::wire::Hex;

    fn frame(port: &str, length: u32) -> DroppedFrame {
        DroppedFrame {
            time_ns: 1_700_000_000_123_456_789,
            reason: "rule_drop".into(),
            port: port.into(),
            rule: Some("inet filter fw handle 4".into()),
            generation: 7,
            length,
            summary: String::new(),
            bytes: Hex(vec![0xaa; 61]),
        }
    }

    #[test]
    fn a_reader_finds_time_port_length_and_reason() {
        let frames = [frame("left", 61), frame("right", 9000), frame("left", 61)];
        let file = write(&frames).unwrap();
        let mut reader = PcapNgReader::new(&file[..]).unwrap();
        let (mut ports, mut packets) = (Vec::new(), Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(port) => ports.push(port.into_owned()),
                Block::EnhancedPacket(packet) => packets.push(packet.into_owned()),
                other => panic!("unexpected block {other:?}"),
            }
        }
        assert_eq!(ports.len(), 2);
        assert!(
            ports[1]
                .options
                .contains(&InterfaceDescriptionOption::IfName("right".into()))
        );
        assert_eq!(packets.len(), 3);
        assert_eq!(packets[1].interface_id, 1);
        assert_eq!((packets[1].original_len, packets[1].data.len()), (9000, 61));
        assert_eq!(
            packets[0].timestamp,
            Duration::from_nanos(frames[0].time_ns)
        );
        assert_eq!(
            packets[2].options,
            [EnhancedPacketOption::Comment(
                "reason=rule_drop rule=\"inet filter fw handle 4\" generation=7".into()
            )]
        );
    }
}
