//! Names of hosts in a listing (`ipset -resolve`): looked up here, with the client's resolver.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::CStr;
use std::net::IpAddr;

/// The listing with names in the place of addresses that have one. Only elements are looked at:
/// headers, ranges and networks stay as they are.
pub(super) fn with_names(listing: &str) -> String {
    let mut known = HashMap::new();
    let mut text = String::with_capacity(listing.len());
    for line in listing.split_inclusive('\n') {
        match element(line) {
            Some((before, element, behind)) => {
                text.push_str(before);
                let parts: Vec<String> = element
                    .split(',')
                    .map(|part| name(part, &mut known))
                    .collect();
                text.push_str(&parts.join(","));
                text.push_str(behind);
            }
            None => text.push_str(line),
        }
    }
    text
}

/// The element of a line of a listing in one of its forms, and what stands around it.
fn element(line: &str) -> Option<(&str, &str, &str)> {
    let from = if let Some(rest) = line.strip_prefix("add ") {
        4 + rest.find(' ')? + 1
    } else if let Some(at) = line.find("<elem>") {
        at + 6
    } else {
        0
    };
    let rest = &line[from..];
    let end = rest.find([' ', '\n', '<']).unwrap_or(rest.len());
    let element = &rest[..end];
    let first = element.split(',').next()?;
    first.parse::<IpAddr>().ok()?;
    Some((&line[..from], element, &rest[end..]))
}

fn name(part: &str, known: &mut HashMap<IpAddr, Option<String>>) -> String {
    let Ok(address) = part.parse::<IpAddr>() else {
        return part.to_owned();
    };
    known
        .entry(address)
        .or_insert_with(|| reverse(address))
        .clone()
        .unwrap_or_else(|| part.to_owned())
}

/// The name that the resolver gives to an address.
fn reverse(address: IpAddr) -> Option<String> {
    let mut host = [0u8; libc::NI_MAXHOST as usize];
    let code = match address {
        IpAddr::V4(address) => {
            // SAFETY: all zero is a valid `sockaddr_in`: it consists of integers only.
            let mut socket: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            socket.sin_family = libc::AF_INET as libc::sa_family_t;
            socket.sin_addr.s_addr = u32::from_ne_bytes(address.octets());
            look_up(&socket, &mut host)
        }
        IpAddr::V6(address) => {
            // SAFETY: all zero is a valid `sockaddr_in6`: it consists of integers only.
            let mut socket: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            socket.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            socket.sin6_addr.s6_addr = address.octets();
            look_up(&socket, &mut host)
        }
    };
    if code != 0 {
        return None;
    }
    let text = CStr::from_bytes_until_nul(&host).ok()?;
    text.to_str().ok().map(str::to_owned)
}

fn look_up<T>(socket: &T, host: &mut [u8]) -> libc::c_int {
    // SAFETY: `socket` is a socket address of its family and of the size given, `host` is writable for
    // the length given, and no service is asked for (null with length 0, as getnameinfo(3) allows).
    unsafe {
        libc::getnameinfo(
            std::ptr::from_ref(socket).cast(),
            size_of::<T>() as libc::socklen_t,
            host.as_mut_ptr().cast(),
            host.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_elements_are_looked_at() {
        let add = "add a 127.0.0.1,tcp:80 timeout 5\n";
        assert_eq!(
            element(add),
            Some(("add a ", "127.0.0.1,tcp:80", " timeout 5\n"))
        );
        let xml = "<member><elem>::1</elem></member>\n";
        assert_eq!(
            element(xml),
            Some(("<member><elem>", "::1", "</elem></member>\n"))
        );
        assert_eq!(element("Size in memory: 5\n"), None);
        assert_eq!(element("10.0.0.0/8\n"), None);
        let header = "create a bitmap:ip range 10.0.0.0-10.0.0.255\n";
        assert_eq!(with_names(header), header);
    }
}
