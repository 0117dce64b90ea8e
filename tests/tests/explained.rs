//! The numbered differences of `docs/compatibility.md`, each as the experiment that shows it: the same
//! ruleset and frames to the kernel and to sluice, and what each of them makes of it.
//!
//! A test here fails when a difference has gone (the document is out of date) as well as when sluice
//! has come to do something else than the document says. `explained_text.rs` has those of nft's text.

use std::path::Path;

use sluice_tests::frames::{Frame, Layer, tcp, udp};
use sluice_tests::needs;
use sluice_tests::oracle::bases::{dccp, frag6, tcp4, udp4, udp6, vlan};
use sluice_tests::oracle::golden::replay;
use sluice_tests::oracle::kernel::{KernelBridge, Outcome};
use sluice_tests::oracle::sluice;

/// What both sides made of an experiment.
struct Asked {
    kernel: Outcome,
    ours: Outcome,
}

impl Asked {
    /// Packets of each counter in the kernel and in sluice.
    fn packets(&self) -> (Vec<u64>, Vec<u64>) {
        let packets = |side: &Outcome| side.counters.iter().map(|counter| counter.0).collect();
        (packets(&self.kernel), packets(&self.ours))
    }

    /// What left at the right, of the kernel and of sluice.
    fn right(&self) -> (&[Vec<u8>], &[Vec<u8>]) {
        (&self.kernel.right, &self.ours.right)
    }
}

/// Asks both sides; nothing where there is no nft.
fn ask(ruleset: &str, frames: &[Frame]) -> Option<Asked> {
    if !needs(&["nft"]) {
        return None;
    }
    let frames = bytes(frames);
    let bridge = KernelBridge::new().unwrap();
    Some(Asked {
        kernel: bridge.judge(ruleset, &frames).unwrap(),
        ours: sluice::judge(ruleset, &frames).unwrap(),
    })
}

fn bytes(frames: &[Frame]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.bytes.clone()).collect()
}

/// A table with one base chain of these rules.
fn chain(family: &str, hook: &str, rules: &str) -> String {
    format!(
        "table {family} t {{\n\tchain c {{\n\t\ttype filter hook {hook} priority 0; policy accept;\n\
         \t\t{rules}\n\t}}\n}}\n"
    )
}

/// A later fragment of IPv4 at this offset (in units of 8 bytes) with this protocol and content.
fn later4(protocol: u8, offset: u128, content: &[u8]) -> Frame {
    let mut frame = Frame::ipv4(protocol, &[], content);
    frame.set(Layer::Network, 51, 13, offset);
    frame.finish_network();
    frame
}

#[test]
fn explained_01_ports_of_later_fragments() {
    let fragment = later4(17, 4, &[0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 0]);
    let ruleset = chain("ip", "prerouting", "udp dport 2000 counter");
    let Some(asked) = ask(&ruleset, &[fragment]) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![1], vec![0]));

    let mut later = frag6();
    later.set(Layer::Network, 320 + 16, 13, 4);
    let ruleset = chain("ip6", "prerouting", "udp dport 0-8191 counter");
    let asked = ask(&ruleset, &[later]).unwrap();
    assert_eq!(asked.packets(), (vec![1], vec![0]));
}

#[test]
fn explained_02_an_address_written_over_a_cut_off_transport_header() {
    let ruleset = chain("ip", "prerouting", "ip saddr set 192.0.2.1 counter");
    let bare = Frame::ipv4(6, &[], &[]);
    let Some(asked) = ask(&ruleset, std::slice::from_ref(&bare)) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![0], vec![0]));
    assert_eq!(asked.right(), (&[][..], &[bare.bytes][..]));
}

#[test]
fn explained_03_a_checksum_of_zero_in_udp() {
    let mut frame = udp4();
    frame.set(Layer::Transport, 48, 16, 0);
    let ruleset = chain("ip", "prerouting", "udp dport set 53");
    let Some(asked) = ask(&ruleset, &[frame]) else {
        return;
    };
    let checksum = |frames: &[Vec<u8>]| {
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0][36..38], [0, 53]);
        [frames[0][40], frames[0][41]]
    };
    let (kernel, ours) = asked.right();
    assert_ne!(checksum(kernel), [0, 0]);
    assert_eq!(checksum(ours), [0, 0]);
}

#[test]
fn explained_04_validation_between_the_hooks() {
    let ruleset = chain("ip", "prerouting", "@nh,64,8 set 201 counter");
    let Some(asked) = ask(&ruleset, &[udp4()]) else {
        return;
    };
    let mut written = udp4();
    written.set(Layer::Network, 64, 8, 201);
    assert_eq!(asked.packets(), (vec![1], vec![1]));
    assert_eq!(asked.right(), (&[][..], &[written.bytes][..]));
}

#[test]
fn explained_05_a_destination_address_written_in_prerouting() {
    let ruleset = chain("ip", "prerouting", "ip daddr set 192.0.2.1 counter");
    let Some(asked) = ask(&ruleset, &[udp4()]) else {
        return;
    };
    let mut written = udp4();
    written.set(Layer::Network, 128, 32, 0xc000_0201);
    written.finish();
    assert_eq!(asked.packets(), (vec![1], vec![1]));
    assert_eq!(asked.right(), (&[][..], &[written.bytes][..]));
}

#[test]
fn explained_06_what_a_bridge_does_by_itself() {
    let mut from_group = udp4();
    from_group.set(Layer::Link, 48, 48, 0x0100_0000_0001);
    let mut to_bridges = udp4();
    to_bridges.set(Layer::Link, 0, 48, 0x0180_c200_000e);
    let mut short = Frame::ether(0x0806);
    short.bytes.extend([0, 1, 8, 0, 6, 4]);
    let frames = [from_group, to_bridges, short];
    let Some(asked) = ask("", &frames) else {
        return;
    };
    assert_eq!(asked.right(), (&[][..], &bytes(&frames)[..]));
}

#[test]
fn explained_07_padding() {
    let datagram = Frame::ipv4(17, &[], &udp(1000, 2000, b"x"));
    let mut padded = datagram.clone();
    padded.bytes.resize(60, 0);
    let ruleset = chain("ip", "forward", "counter");
    let Some(asked) = ask(&ruleset, std::slice::from_ref(&padded)) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![1], vec![1]));
    assert_eq!(asked.right(), (&[datagram.bytes][..], &[padded.bytes][..]));
}

#[test]
fn explained_08_the_name_of_the_port() {
    let rules = "iifname \"br0\" counter\niifname \"left\" counter";
    let Some(asked) = ask(&chain("ip", "forward", rules), &[udp4()]) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![1, 0], vec![0, 1]));
    let asked = ask(&chain("ip", "postrouting", rules), &[udp4()]).unwrap();
    assert_eq!(asked.packets(), (vec![0, 0], vec![0, 1]));
    let asked = ask(&chain("bridge", "postrouting", rules), &[udp4()]).unwrap();
    assert_eq!(asked.packets(), (vec![0, 0], vec![0, 0]));
}

#[test]
fn explained_09_answers_to_tagged_frames_at_ingress() {
    let ruleset = chain("netdev", "ingress device left", "counter reject");
    let Some(asked) = ask(&ruleset, &[vlan()]) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![1], vec![1]));
    let kinds = |frames: &[Vec<u8>]| -> Vec<Vec<u8>> {
        frames.iter().map(|frame| frame[12..16].to_vec()).collect()
    };
    assert_eq!(kinds(&asked.kernel.left), [[0x08, 0x00, 0x45, 0x00]]);
    assert_eq!(kinds(&asked.ours.left), [[0x81, 0x00, 0x00, 0x05]]);
}

#[test]
fn explained_10_masks_of_fields_that_straddle_bytes() {
    let mut frame = udp6();
    frame.set(Layer::Network, 4, 6, 0x12);
    let ruleset = chain("ip6", "prerouting", "ip6 dscp & 0x12 == 0x12 counter");
    let Some(asked) = ask(&ruleset, &[frame]) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![0], vec![1]));
}

#[test]
fn explained_11_secrets_and_chance() {
    let frames: Vec<Frame> = (1..=64)
        .map(|port| Frame::ipv4(17, &[], &udp(port, 2000, b"x")))
        .collect();
    let rules = "symhash mod 1 0 counter\nnumgen random mod 1 0 counter\n\
                 symhash mod 2 0 counter\nnumgen random mod 2 0 counter";
    let Some(asked) = ask(&chain("ip", "prerouting", rules), &frames) else {
        return;
    };
    let (kernel, ours) = asked.packets();
    for counted in [kernel, ours] {
        assert_eq!(counted[..2], [64, 64]);
        // Each of 64 packets on one side of a coin: once in 2^63.
        assert!((1..64).contains(&counted[2]), "{counted:?}");
        assert!((1..64).contains(&counted[3]), "{counted:?}");
    }
}

#[test]
fn explained_12_the_order_of_generated_frames() {
    let ruleset = chain("netdev", "ingress device left", "dup to \"right\"");
    let frames = [udp4(), tcp4()];
    let Some(asked) = ask(&ruleset, &frames) else {
        return;
    };
    let [one, other] = frames.map(|frame| frame.bytes);
    let (kernel, ours) = asked.right();
    assert_eq!(kernel, [&one, &one, &other, &other].map(Clone::clone));
    assert_eq!(ours, [&one, &other, &one, &other].map(Clone::clone));
}

#[test]
fn explained_13_translations_on_a_wire() {
    if !needs(&["nft"]) {
        return;
    }
    let ruleset = "table ip t {\n\tchain c {\n\t\ttype nat hook postrouting priority srcnat;\n\
                   \t\tsnat to 192.0.2.1\n\t}\n}\n";
    let bridge = KernelBridge::new().unwrap();
    let kernel = bridge.judge(ruleset, &bytes(&[udp4()])).unwrap();
    assert_eq!(kernel.right.len(), 1);
    assert_eq!(kernel.right[0][26..30], [192, 0, 2, 1]);
    let refusal = sluice::judge(ruleset, &[]).unwrap_err();
    assert!(refusal.contains("address translation"), "{refusal}");
}

#[test]
fn explained_14_what_this_kernel_was_built_without() {
    if !needs(&["nft"]) {
        return;
    }
    let bridge = KernelBridge::new().unwrap();
    for (rule, case) in [
        (
            "udp dport 2000 counter reject with icmp port-unreachable",
            "bridge-reject",
        ),
        ("meta ibrname \"br0\" counter", "meta-ibrname"),
    ] {
        let ruleset = chain("bridge", "prerouting", rule);
        match bridge.judge(&ruleset, &bytes(&[udp4()])) {
            // Another kernel than the one of the document has it: then it decides.
            Ok(kernel) => {
                let ours = sluice::judge(&ruleset, &bytes(&[udp4()])).unwrap();
                assert_eq!(kernel.counters, ours.counters, "{rule}");
                assert_eq!(kernel.right, ours.right, "{rule}");
            }
            Err(error) => {
                let words = error.to_string();
                assert!(
                    words.contains("No such file or directory")
                        || words.contains("Operation not supported"),
                    "{words}"
                );
            }
        }
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        replay(&golden.join(case)).unwrap();
    }
}

#[test]
fn explained_15_a_rule_of_connections_that_no_packet_reaches() {
    let fragments = [
        {
            let mut first = Frame::ipv4(17, &[], &udp(1000, 2000, &[7; 24])[..16]);
            first.set(Layer::Network, 50, 1, 1);
            first.finish_network();
            first
        },
        later4(17, 2, &[7; 16]),
    ];
    let input = "\tchain i {\n\t\ttype filter hook input priority 0; policy accept;\n\
                 \t\tct state new counter\n\t}\n}\n";
    let ruleset = chain(
        "ip",
        "forward",
        "counter\n\t\tip frag-off & 0x1fff != 0 counter",
    );
    let ruleset = ruleset.trim_end().trim_end_matches('}').to_owned() + input;
    let Some(asked) = ask(&ruleset, &fragments) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![1, 0, 0], vec![2, 1, 0]));
}

#[test]
fn explained_30_answers_to_dccp() {
    let frames = [dccp(), udp4()];
    let ruleset = chain("netdev", "ingress device left", "counter reject");
    let Some(asked) = ask(&ruleset, &frames) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![2], vec![2]));
    assert_eq!((asked.kernel.left.len(), asked.ours.left.len()), (1, 2));
}

#[test]
fn explained_17_fields_of_one_header_joined_into_one_comparison() {
    let to = |sport, dport| Frame::ipv4(6, &[], &tcp(sport, dport, 2, &[], b""));
    let frames = [to(6, 5), to(6, 7), to(8, 5), to(8, 7)];
    // Written: both differ, which is so of the last one. Joined: one of them does, in three.
    let rule = "tcp sport != 6 tcp dport != 5 counter";
    let Some(asked) = ask(&chain("ip", "prerouting", rule), &frames) else {
        return;
    };
    assert_eq!(asked.packets(), (vec![3], vec![1]));
    // Written: the first counter looks at the destination alone.
    let rule = "tcp dport 5 counter tcp sport 6 counter";
    let asked = ask(&chain("ip", "prerouting", rule), &frames).unwrap();
    assert_eq!(asked.packets(), (vec![4, 1], vec![2, 1]));
}
