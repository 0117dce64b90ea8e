//! Random command lines from a seed, of few names and elements, so that they meet each other.
//!
//! Left out, because both sides are known to differ (docs/ipset.md, docs/compatibility.md): `forceadd`, which
//! this kernel ignores; tables that have grown (`hashsize` is listed as it was asked for); protocols
//! without ports in a bitmap of ports, which crash the original; interfaces whose names begin with
//! another one's in the same network, of which the kernel finds the first; IPv6 addresses that end in
//! `::` in sorted listings with ports; ranges of which the kernel stores addresses that it has not cut
//! to the set's netmask; long sorted listings, in which the original loses characters; ICMP for IPv6 behind
//! lines that wait in `restore`, which crashes the original.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::sides::Line;

const NAMES: &[&str] = &["a", "b", "c", "d", "list", "no-such-set"];
/// Types that this kernel has.
const TYPES: &[&str] = &[
    "bitmap:ip",
    "bitmap:ip,mac",
    "bitmap:port",
    "hash:ip",
    "hash:net",
    "hash:ip,port",
    "hash:net,port",
    "hash:ip,port,ip",
    "hash:ip,port,net",
    "hash:net,iface",
    "list:set",
    "iphash",
    "hash:foo",
];

/// What is known of a set.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its type.
    pub ty: String,
    /// It has IPv6 addresses.
    pub v6: bool,
    /// Its addresses are cut to a netmask.
    pub cut: bool,
    /// Its elements have timeouts.
    pub timed: bool,
}

/// Says what is known of a set.
pub type KnownSets<'a> = dyn Fn(&str) -> Option<Known> + 'a;

/// Makes command lines.
#[derive(Debug)]
pub struct Generator {
    random: SmallRng,
    /// It makes lines of a `restore`.
    restoring: bool,
}

impl Generator {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            restoring: false,
        }
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.random.random_range(0..all.len())]
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// The next command line; elements are mostly such as a known set takes.
    pub fn line(&mut self, known: &KnownSets<'_>) -> Line {
        let mut words: Vec<String> = Vec::new();
        let mut input = String::new();
        match self.random.random_range(0..100) {
            0..=13 => words = self.create(),
            14..=54 => words = self.element(known, &["add", "add", "add", "del"]),
            55..=68 => words = self.element(known, &["test", "test", "del"]),
            69..=82 => words = self.list(),
            83..=85 => words.extend(["flush".into(), self.pick(NAMES).into()]),
            86..=87 => words.extend(["destroy".into(), self.pick(NAMES).into()]),
            88..=90 => {
                let (from, to) = (self.pick(NAMES), self.pick(NAMES));
                words.extend(["rename".into(), from.into(), to.into()]);
            }
            91..=94 => {
                let (from, to) = (self.pick(NAMES), self.pick(NAMES));
                words.extend(["swap".into(), from.into(), to.into()]);
            }
            _ => {
                words.push("restore".into());
                self.restoring = true;
                for _ in 0..self.random.random_range(1..6) {
                    let line = match self.random.random_range(0..10) {
                        0..=1 => self.create(),
                        2 => vec!["flush".into(), self.pick(NAMES).into()],
                        _ => self.element(known, &["add", "add", "del"]),
                    };
                    input.push_str(&line.join(" "));
                    input.push('\n');
                }
                self.restoring = false;
            }
        }
        if self.chance(12) {
            words.push(self.pick(&["-exist", "-!"]).into());
        }
        if self.chance(3) {
            words.push("-q".into());
        }
        Line { words, input }
    }

    fn create(&mut self) -> Vec<String> {
        let (name, ty) = (self.pick(NAMES), self.pick(TYPES));
        let mut words: Vec<String> = vec!["create".into(), name.into(), ty.into()];
        match ty {
            "bitmap:port" => words.extend(["range".into(), self.pick(&["0-1000", "70-90"]).into()]),
            "bitmap:ip" | "bitmap:ip,mac" => {
                let range = self.pick(&["10.0.0.0/24", "10.0.0.0-10.0.1.7", "10.0.0.0/8"]);
                words.extend(["range".into(), range.into()]);
            }
            _ => {}
        }
        if !ty.starts_with("bitmap") && ty != "list:set" {
            if self.chance(30) {
                words.extend([
                    "family".into(),
                    self.pick(&["inet", "inet6", "inet6"]).into(),
                ]);
            }
            for (percent, option) in [(15, "maxelem 6"), (10, "hashsize 64"), (5, "bucketsize 4")] {
                if self.chance(percent) {
                    words.extend(option.split(' ').map(str::to_owned));
                }
            }
        }
        let netmask = matches!(ty, "hash:ip" | "hash:ip,port" | "bitmap:ip");
        for (percent, option) in [
            (if netmask { 20 } else { 2 }, "netmask 24"),
            (25, "timeout 1000"),
            (25, "counters"),
            (20, "comment"),
            (15, "skbinfo"),
            (2, "timeout x"),
            (2, "foo"),
            (3, "initval 0x12345678"),
        ] {
            if self.chance(percent) {
                words.extend(option.split(' ').map(str::to_owned));
            }
        }
        words
    }

    fn list(&mut self) -> Vec<String> {
        let mut words: Vec<String> = vec![self.pick(&["list", "list", "save", "-L"]).into()];
        if self.chance(60) {
            words.push(self.pick(NAMES).into());
        }
        for (percent, option) in [
            (25, "-o xml"),
            (5, "-o save"),
            (5, "-o plain"),
            (15, "-t"),
            (10, "-n"),
            (20, "-s"),
            (2, "extra"),
            (2, "-o foo"),
        ] {
            if self.chance(percent) {
                words.extend(option.split(' ').map(str::to_owned));
            }
        }
        words
    }

    fn element(&mut self, known: &KnownSets<'_>, verbs: &[&str]) -> Vec<String> {
        let (verb, name) = (self.pick(verbs), self.pick(NAMES));
        let (of, other) = (known(name), self.chance(4));
        let cut = of.as_ref().is_some_and(|set| set.cut);
        let timed = of.as_ref().is_some_and(|set| set.timed);
        let set = of.filter(|_| !other).unwrap_or_else(|| Known {
            ty: self.pick(TYPES).to_owned(),
            v6: self.chance(20),
            cut,
            timed,
        });
        let ty = set.ty.clone();
        let element = match (verb, ty.as_str()) {
            // The kernel stops at a network that has the address with another interface.
            ("test", "hash:net,iface") => {
                let length = self.pick(if set.v6 { &["32", "64"] } else { &["8", "24"] });
                format!("{}/{length},eth0", self.ip(set.v6))
            }
            _ => self.parts(&set),
        };
        let mut words: Vec<String> = vec![verb.into(), name.into(), element];
        let options: &[(u32, &str)] = match verb {
            "add" => &[
                (8, "timeout 500"),
                (3, "timeout 0"),
                (8, "packets 5"),
                (5, "bytes 7"),
                (8, "comment x"),
                (5, "skbmark 0x10/0xff"),
                (3, "skbprio 1:2"),
                (3, "skbqueue 3"),
                (2, "foo"),
            ],
            _ => &[(2, "foo"), (1, "timeout 5")],
        };
        for (percent, option) in options {
            // A bitmap of the kernel hands the counters of an element that is gone on to the next one.
            let counter = option.starts_with("packets") || option.starts_with("bytes");
            if self.chance(*percent) && !(counter && ty.starts_with("bitmap")) {
                words.extend(option.split(' ').map(str::to_owned));
            }
        }
        if ty.contains("net") && verb != "del" && self.chance(15) {
            words.push("nomatch".into());
        }
        if ty == "list:set" && self.chance(30) {
            words.extend([
                self.pick(&["before", "after"]).into(),
                self.pick(NAMES).into(),
            ]);
        }
        words
    }

    fn ip(&mut self, v6: bool) -> String {
        let host = self.random.random_range(0..12);
        let written = match (v6, self.random.random_range(0..40)) {
            (false, 0) => "0.0.0.0",
            (false, 1) => "10.0.0.300",
            (false, 2) => "2001:db8::1",
            (false, 3) => "10.0.3",
            (true, 0) => "10.0.0.1",
            (true, 1) => "2001:db8::zz",
            (true, _) => return format!("2001:db8:{}::{:x}", host % 3, host + 1),
            (false, _) => return format!("10.0.{}.{}", host % 3, host),
        };
        written.into()
    }

    fn hosts(&mut self, v6: bool) -> String {
        let ip = self.ip(v6);
        match self.random.random_range(0..20) {
            0 => format!("{ip}/30"),
            1 => self.range(v6),
            2 => format!("{ip}/32"),
            3 => format!("{ip}/0"),
            4 => format!("{ip}/129"),
            _ => ip,
        }
    }

    /// A range of few addresses, upwards or downwards.
    fn range(&mut self, v6: bool) -> String {
        if v6 {
            return format!("{}-{}", self.ip(true), self.ip(true));
        }
        let net = self.random.random_range(0..3);
        let [from, to] = [0, 1].map(|_| self.random.random_range(0..12));
        match self.random.random_range(0..8) {
            0 => format!("10.0.{net}.{from}-10.0.300.{to}"),
            _ => format!("10.0.{net}.{from}-10.0.{net}.{to}"),
        }
    }

    /// Hosts of a set that cuts them: a range only upwards.
    fn cut_hosts(&mut self, set: &Known) -> String {
        match (set.cut, self.random.random_range(0..20)) {
            (false, _) => self.hosts(set.v6),
            (true, 0) if !set.v6 && set.ty == "hash:ip" => {
                let from = self.random.random_range(0..12);
                match self.random.random_range(0..4) {
                    0 => format!("10.0.0.{from}-0.0.0.0"),
                    _ => format!("10.0.0.{from}-10.0.{}.9", from % 3),
                }
            }
            (true, 1) if !set.v6 && set.ty == "hash:ip" => format!("{}/30", self.ip(false)),
            (true, _) => self.ip(set.v6),
        }
    }

    fn net(&mut self, v6: bool) -> String {
        let ip = self.ip(v6);
        let lengths: &[&str] = if v6 {
            &["32", "48", "64", "120", "128"]
        } else {
            &["8", "16", "24", "30", "32"]
        };
        match self.random.random_range(0..20) {
            0..=6 => ip,
            7 => format!("{ip}/0"),
            8 => self.range(v6),
            _ => format!("{ip}/{}", self.pick(lengths)),
        }
    }

    fn port(&mut self, v6: bool) -> &'static str {
        let message = if v6 { "icmpv6:ping" } else { "icmp:ping" };
        match self.random.random_range(0..16) {
            0 => "udp:53",
            1 => "80-83",
            2 => "udp:90-88",
            3 => message,
            4 => "gre:0",
            5 => "http",
            6 => "sctp:5",
            7 => "foo",
            8 => "gre:7",
            9 => "tcp:0",
            10 if !v6 || !self.restoring => "icmp:3/1",
            11 => "0:0",
            12 => "70000",
            _ => "tcp:80",
        }
    }

    fn parts(&mut self, set: &Known) -> String {
        let v6 = set.v6;
        match set.ty.as_str() {
            "bitmap:ip" => self.hosts(false),
            "bitmap:ip,mac" => {
                let ip = self.hosts(false);
                match self.random.random_range(0..4) {
                    // The kernel takes the time that waits for the address for one that is over.
                    0 if !set.timed => ip,
                    1 => format!("{ip},xx"),
                    _ => format!("{ip},02:00:00:00:00:0{}", self.random.random_range(0..3)),
                }
            }
            "bitmap:port" => self
                .pick(&[
                    "80", "81", "75-77", "udp:53", "2000", "http", "foo", "70000",
                ])
                .to_owned(),
            "hash:net" => self.net(v6),
            "hash:ip,port" => format!("{},{}", self.cut_hosts(set), self.port(v6)),
            "hash:net,port" => format!("{},{}", self.net(v6), self.port(v6)),
            "hash:ip,port,ip" => {
                let first = self.hosts(v6);
                format!("{first},{},{}", self.port(v6), self.ip(v6))
            }
            "hash:ip,port,net" => {
                let first = self.hosts(v6);
                format!("{first},{},{}", self.port(v6), self.net(v6))
            }
            "hash:net,iface" => {
                let iface = self.pick(&["eth0", "lo", "physdev:eth0", "wlan1", "abcdefghijklmnop"]);
                format!("{},{iface}", self.net(v6))
            }
            "list:set" => self.pick(NAMES).to_owned(),
            _ => self.cut_hosts(set),
        }
    }
}
