//! A host stack in user space over a TAP, as a virtual machine has it, behind a TAP port of the gateway:
//!
//! ```text
//!     smoltcp 10.9.0.2 -- vm0 [bridge] lab0 -- 10.9.0.1 gateway 10.2.0.1 -- right 10.2.0.2
//! ```

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use sluice_tests::appliance::Daemon;
use sluice_tests::needs;
use sluice_tests::routed::hosts;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Medium, TunTapInterface};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, IpCidr};

const BYTES: usize = 2_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

fn byte_at(at: usize) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

/// The user-space host: connects to a server, sends a greeting and receives until the server is done.
fn fetch(device: &str, server: Ipv4Addr, port: u16) -> Result<Vec<u8>, String> {
    let mut tap =
        TunTapInterface::new(device, Medium::Ethernet).map_err(|error| error.to_string())?;
    let config = Config::new(EthernetAddress([2, 0, 0, 0, 0, 9]).into());
    let begun = Instant::now();
    let now = || smoltcp::time::Instant::from_micros(begun.elapsed().as_micros() as i64);
    let mut interface = Interface::new(config, &mut tap, now());
    interface.update_ip_addrs(|addresses| {
        // There is room for one.
        let _pushed = addresses.push(IpCidr::new(Ipv4Addr::new(10, 9, 0, 2).into(), 24));
    });
    interface
        .routes_mut()
        .add_default_ipv4_route(Ipv4Addr::new(10, 9, 0, 1))
        .map_err(|error| error.to_string())?;
    let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
    let mut sockets = SocketSet::new(Vec::new());
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    sockets
        .get_mut::<tcp::Socket<'_>>(handle)
        .connect(interface.context(), (server, port), 40_000)
        .map_err(|error| error.to_string())?;
    let (mut got, mut greeted) = (Vec::new(), false);
    while begun.elapsed() < PATIENCE {
        interface.poll(now(), &mut tap, &mut sockets);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        if !greeted && socket.can_send() {
            greeted = socket.send_slice(b"hello\n").is_ok();
        }
        while socket.can_recv() {
            let read = socket.recv(|bytes| {
                got.extend_from_slice(bytes);
                (bytes.len(), ())
            });
            read.map_err(|error| error.to_string())?;
        }
        if got.len() >= BYTES {
            return Ok(got);
        }
        let delay = interface.poll_delay(now(), &sockets);
        let most = smoltcp::time::Duration::from_millis(2);
        let delay = delay.map_or(most, |delay| delay.min(most));
        smoltcp::phy::wait(std::os::fd::AsRawFd::as_raw_fd(&tap), Some(delay))
            .map_err(|error| error.to_string())?;
    }
    Err(format!("{} bytes in {PATIENCE:?}", got.len()))
}

/// Serves the bytes to one client that has greeted.
fn serve(listener: &TcpListener) -> SocketAddr {
    let begun = Instant::now();
    let (mut stream, peer) = loop {
        match listener.accept() {
            Ok(client) => break client,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "nobody comes: {error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"hello\n");
    let bytes: Vec<u8> = (0..BYTES).map(byte_at).collect();
    stream.write_all(&bytes).unwrap();
    peer
}

#[test]
fn a_user_space_host_is_a_neighbour_over_a_tap() {
    if !needs(&["ip"]) {
        return;
    }
    let (_left, right, middle) = hosts((1500, 1500)).unwrap();
    let appliance = "[dataplane]\nmode = \"gateway\"\nworkers = 1\n\
         [[port]]\ndevice = \"right\"\nprepare = true\naddresses = [\"10.2.0.1/24\"]\n\
         [[port]]\ndevice = \"lab0\"\ndriver = \"tap\"\naddresses = [\"10.9.0.1/24\"]\n";
    let ruleset = "table ip gw { chain post { type nat hook postrouting priority srcnat
            oifname right masquerade
        }
        }";
    let daemon = Daemon::start(&middle, appliance, ruleset);
    middle.sh("ip tuntap add dev vm0 mode tap").unwrap();
    middle.add_bridge("br0", &["lab0", "vm0"]).unwrap();
    for device in ["lab0", "vm0", "br0"] {
        middle.set_up(device).unwrap();
    }
    // Before the first SYN comes: it would be refused, and the host in user space does not ask twice.
    let listener = right
        .run(|| TcpListener::bind("10.2.0.2:8000"))
        .unwrap()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    let (peer, got) = std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener));
        let got = middle.run(|| fetch("vm0", Ipv4Addr::new(10, 2, 0, 2), 8000));
        let got = got.unwrap().unwrap_or_else(|error| {
            panic!(
                "{error}\n{}\n{}",
                daemon.ok(&["drops"]),
                daemon.ok(&["neighbours"])
            )
        });
        (server.join().unwrap(), got)
    });
    assert!(
        got.iter()
            .enumerate()
            .all(|(at, byte)| *byte == byte_at(at))
    );
    assert_eq!(peer.ip(), Ipv4Addr::new(10, 2, 0, 1), "masqueraded");
}
