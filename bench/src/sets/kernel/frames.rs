//! Frames whose fields are keys of a case.

use crate::sets::shapes::Case;

/// Longest frame: Ethernet, IPv6, UDP and a little behind.
const LENGTH: usize = 74;

/// A frame and its length.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) bytes: [u8; LENGTH],
    pub(super) length: usize,
}

/// One frame for each key, to a device with this address.
pub(super) fn frames(case: Case, keys: &[Vec<u32>], to: [u8; 6]) -> Vec<Frame> {
    keys.iter()
        .map(|key| match case {
            Case::Tuple => six(&key[..4], &key[4..8], key[8], to),
            Case::Prefix6 => six(&key[..4], &[0xfd00_0000, 0, 0, 1], 53, to),
            Case::Ports => four(0x0a00_0001, 0x0a00_0002, key[0], to),
            Case::PrefixPort => four(key[0], 0x0a00_0002, key[1], to),
            Case::PrefixPortPrefix => four(key[0], key[2], key[1], to),
            Case::Address
            | Case::AddressMap
            | Case::AddressDynamic
            | Case::Prefix
            | Case::Interval => four(key[0], 0x0a00_0002, 53, to),
        })
        .collect()
}

fn ethernet(to: [u8; 6], ether_type: u16) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..6].copy_from_slice(&to);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 9, 1]);
    bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
    bytes
}

fn udp(bytes: &mut [u8], port: u32, length: u16) {
    bytes[..2].copy_from_slice(&4000u16.to_be_bytes());
    bytes[2..4].copy_from_slice(&(port as u16).to_be_bytes());
    bytes[4..6].copy_from_slice(&length.to_be_bytes());
}

fn four(from: u32, at: u32, port: u32, to: [u8; 6]) -> Frame {
    let mut bytes = ethernet(to, 0x0800);
    let header = &mut bytes[14..34];
    header[..10].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    header[12..16].copy_from_slice(&from.to_be_bytes());
    header[16..20].copy_from_slice(&at.to_be_bytes());
    let sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    udp(&mut bytes[34..42], port, 26);
    Frame { bytes, length: 60 }
}

fn six(from: &[u32], at: &[u32], port: u32, to: [u8; 6]) -> Frame {
    let mut bytes = ethernet(to, 0x86dd);
    bytes[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, 17, 64]);
    for (place, word) in from.iter().chain(at).enumerate() {
        bytes[22 + 4 * place..][..4].copy_from_slice(&word.to_be_bytes());
    }
    udp(&mut bytes[54..62], port, 20);
    Frame {
        bytes,
        length: LENGTH,
    }
}
