//! Which segmentation a device does itself, asked by the ethtool ioctl.
//!
//! Reading needs no privilege, and any socket of the device's namespace will do.
#![allow(unsafe_code)] // ioctl with a pointer

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::port::Offloads;

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const FEATURE_NAMES: u32 = 4;
const NAME_LEN: usize = 32;

/// The features of a device that segmentation depends on, by the kernel's names.
const SEGMENTATION: [(&str, Offloads); 4] = [
    ("tx-tcp-segmentation", Offloads::TCPV4),
    ("tx-tcp6-segmentation", Offloads::TCPV6),
    ("tx-tcp-ecn-segmentation", Offloads::TCP_ECN),
    ("tx-udp-segmentation", Offloads::UDP),
];

/// Asks for the segmentation offloads of a device in the namespace of `socket`. A device that
/// cannot gather has none.
///
/// # Errors
/// When there is no such device or it knows no ethtool.
pub fn offloads(socket: BorrowedFd<'_>, device: &str) -> io::Result<Offloads> {
    let names = feature_names(socket, device)?;
    let active = active_features(socket, device, names.len())?;
    let is_active = |name: &str| {
        names
            .iter()
            .position(|known| known == name)
            .is_some_and(|bit| active[bit / 32] & 1 << (bit % 32) != 0)
    };
    if !is_active("tx-scatter-gather") {
        return Ok(Offloads::default());
    }
    Ok(SEGMENTATION
        .iter()
        .filter(|(name, _)| is_active(name))
        .fold(Offloads::default(), |all, (_, offload)| all.with(*offload)))
}

fn feature_names(socket: BorrowedFd<'_>, device: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: cmd, reserved, sset_mask (64 bits), one length.
    let mut info = [GSSET_INFO, 0, 1 << FEATURE_NAMES, 0, 0];
    ask(socket, device, &mut info)?;
    let count = info[4] as usize;
    // struct ethtool_gstrings: cmd, string_set, len, then 32 bytes a name.
    let mut strings = vec![0u32; 3 + count * NAME_LEN / 4];
    strings[..3].copy_from_slice(&[GSTRINGS, FEATURE_NAMES, count as u32]);
    ask(socket, device, &mut strings)?;
    let bytes: Vec<u8> = strings[3..]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    Ok(bytes
        .chunks_exact(NAME_LEN)
        .map(|name| {
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_LEN);
            String::from_utf8_lossy(&name[..end]).into_owned()
        })
        .collect())
}

fn active_features(socket: BorrowedFd<'_>, device: &str, count: usize) -> io::Result<Vec<u32>> {
    // struct ethtool_gfeatures: cmd, size, then blocks of available, requested, active, never.
    let blocks = count.div_ceil(32);
    let mut features = vec![0u32; 2 + blocks * 4];
    features[..2].copy_from_slice(&[GFEATURES, blocks as u32]);
    ask(socket, device, &mut features)?;
    Ok(features[2..]
        .chunks_exact(4)
        .map(|block| block[2])
        .collect())
}

fn ask(socket: BorrowedFd<'_>, device: &str, request: &mut [u32]) -> io::Result<()> {
    if device.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `ifreq` is plain data for which all zeroes is a valid value.
    let mut argument: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in argument.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    argument.ifr_ifru.ifru_data = request.as_mut_ptr().cast();
    // SAFETY: the kernel reads and writes `request` as the command in its first word says; each
    // caller has sized it for its command. Name and data outlive the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut argument) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
