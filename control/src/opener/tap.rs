//! Making or taking over a TAP or TUN device with one queue for each worker.
#![allow(unsafe_code)] // ioctls of /dev/net/tun

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use sluice_dataplane::packet::VnetHeader;

use super::Driver;

const TUN_F_CSUM: libc::c_ulong = 0x01;
const TUN_F_TSO4: libc::c_ulong = 0x02;
const TUN_F_TSO6: libc::c_ulong = 0x04;
const TUN_F_TSO_ECN: libc::c_ulong = 0x08;
const TUN_F_USO4: libc::c_ulong = 0x20;
const TUN_F_USO6: libc::c_ulong = 0x40;

/// Opens `queues` queues on the device of this name in the current namespace; it is made when it is
/// not there, and goes with its last descriptor unless it was made to stay.
///
/// # Errors
/// When the process may not, or the name belongs to a device of another kind.
pub(super) fn open(name: &str, driver: Driver, queues: usize) -> io::Result<Vec<OwnedFd>> {
    let kind = match driver {
        Driver::Tun => libc::IFF_TUN,
        Driver::Tap | Driver::AfPacket => libc::IFF_TAP,
    };
    let flags = kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let all = |flags| (0..queues).map(|_| queue(name, flags)).collect();
    match all(flags | libc::IFF_MULTI_QUEUE) {
        // A device that somebody made with one queue.
        Err(error) if queues == 1 && error.raw_os_error() == Some(libc::EINVAL) => all(flags),
        outcome => outcome,
    }
}

fn queue(name: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let descriptor = OwnedFd::from(file);
    // SAFETY: plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.as_bytes();
    if bytes.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    let header: libc::c_int = VnetHeader::LEN as libc::c_int;
    // SAFETY: the kernel reads and writes one ifreq, and reads one int; both outlive their calls.
    let done = unsafe {
        let fd = descriptor.as_raw_fd();
        if libc::ioctl(fd, libc::TUNSETIFF as _, &raw mut request) < 0 {
            -1
        } else {
            libc::ioctl(fd, libc::TUNSETVNETHDRSZ as _, &raw const header)
        }
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    // Before Linux 6.2 there was no segmentation of UDP here.
    set_offload(&descriptor, all | TUN_F_USO4 | TUN_F_USO6)
        .or_else(|_| set_offload(&descriptor, all))?;
    Ok(descriptor)
}

fn set_offload(descriptor: &OwnedFd, bits: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the argument is a number, no memory is involved.
    let done = unsafe { libc::ioctl(descriptor.as_raw_fd(), libc::TUNSETOFFLOAD as _, bits) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The MAC address of the near end of a TAP: the kernel's end has the device's own.
pub(super) fn near_address(far: [u8; 6]) -> [u8; 6] {
    let [a, b, c, d, e, f] = far;
    [a & 0xfe | 2, b ^ 0x40, c, d, e, f]
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_ends_have_addresses_of_their_own() {
        let far = [0xfe, 1, 2, 3, 4, 5];
        let near = super::near_address(far);
        assert_ne!(near, far);
        assert_eq!(near[0] & 3, 2);
        assert_ne!(super::near_address([2, 0, 0, 0, 0, 0]), [2, 0, 0, 0, 0, 0]);
    }
}
