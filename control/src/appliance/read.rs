//! Text to [`Appliance`]: one function per section.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::DeTable;

use super::conntrack::conntrack;
use super::error::FileErrors;
use super::section::{Placed, Section, Source};
use super::set_source;
use super::{
    Appliance, Control, Daemon, Dataplane, Driver, Log, Metrics, Mode, Port, Ruleset, Wait, Who,
    gateway,
};

/// Longest device or port name, as IFNAMSIZ allows.
const LONGEST_NAME: usize = 15;

impl Appliance {
    /// Reads the text of an appliance file; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake, in the file's order.
    pub fn read(file: &str, text: &str) -> Result<Self, FileErrors> {
        let source = Source::new(file, text);
        let appliance = match DeTable::parse(text) {
            Ok(table) => {
                let span = table.span();
                read_file(Section::new(
                    &source,
                    String::new(),
                    span,
                    table.into_inner(),
                ))
            }
            Err(error) => {
                source.error(error.span().unwrap_or(0..0), "", error.message().trim_end());
                Self::default()
            }
        };
        let mut errors = source.errors.into_inner();
        if errors.is_empty() {
            return Ok(appliance);
        }
        errors.sort_by_key(|(place, _)| *place);
        Err(FileErrors(
            errors.into_iter().map(|(_, error)| error).collect(),
        ))
    }
}

fn read_file(mut file: Section<'_, '_>) -> Appliance {
    let dataplane = file.section("dataplane").map(dataplane).unwrap_or_default();
    let mode = dataplane.mode;
    let ports = ports(file.sections("port"), mode);
    let routed = mode == Some(Mode::Gateway);
    let (routes, routing) = if routed {
        let routes = gateway::routes(file.sections("route"), &ports);
        let routing = file.section("gateway").map(gateway::gateway);
        (routes, routing.unwrap_or_default())
    } else {
        file.refuse("route", "routes need mode = \"gateway\"");
        file.refuse("gateway", "this section needs mode = \"gateway\"");
        Default::default()
    };
    gateway::refuse_others(&mut file);
    let appliance = Appliance {
        dataplane,
        ports,
        routes,
        gateway: routing,
        ruleset: file.section("ruleset").map(ruleset).unwrap_or_default(),
        set_sources: set_source::read(file.sections("set-source")),
        control: file.section("control").map(control).unwrap_or_default(),
        metrics: file.section("metrics").and_then(metrics),
        log: file.section("log").map(log).unwrap_or_default(),
        daemon: file.section("daemon").map(daemon).unwrap_or_default(),
        conntrack: file.section("conntrack").map(conntrack).unwrap_or_default(),
    };
    file.finish();
    appliance
}

fn dataplane(mut section: Section<'_, '_>) -> Dataplane {
    let mode = section.word(
        "mode",
        &[("wire", Mode::Wire), ("gateway", Mode::Gateway)],
        &[],
    );
    let workers = section.integer("workers", 1..=64);
    let cpus = section.integers("cpus", 0..=4095).unwrap_or_default();
    let waits = [
        ("adaptive", Wait::Adaptive),
        ("poll", Wait::Poll),
        ("busy", Wait::Busy),
    ];
    let wait = section.word("wait", &waits, &[]).unwrap_or_default();
    for (at, cpu) in cpus.iter().enumerate() {
        if cpus[..at].iter().any(|earlier| earlier.value == cpu.value) {
            let message = format!("CPU {} is named twice; a CPU carries one worker", cpu.value);
            section.source.error(cpu.span.clone(), &cpu.key, message);
        }
    }
    if let Some(workers) = &workers
        && !cpus.is_empty()
        && workers.value as usize != cpus.len()
    {
        let message = format!(
            "{} workers, but cpus names {}; name one CPU per worker or leave one of both out",
            workers.value,
            cpus.len()
        );
        section
            .source
            .error(workers.span.clone(), &workers.key, message);
    }
    section.finish();
    Dataplane {
        mode,
        workers: workers.map(|count| count.value as usize),
        cpus: cpus.iter().map(|cpu| cpu.value as usize).collect(),
        wait,
    }
}

fn ports(sections: Vec<Section<'_, '_>>, mode: Option<Mode>) -> Vec<Port> {
    let mut ports = Vec::new();
    let mut peers = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let Some(source) = sections.first().map(|section| section.source) else {
        return ports;
    };
    for section in sections {
        let Some((port, name, peer)) = port(section, mode) else {
            continue;
        };
        *names.entry(port.name.clone()).or_default() += 1;
        if names[&port.name] == 2 {
            let message = format!(
                "a second port is called \"{}\"; names are unique",
                port.name
            );
            source.error(name.span, "port.name", message);
        }
        peers.extend(peer.map(|peer| (port.name.clone(), peer)));
        ports.push(port);
    }
    for (name, peer) in peers {
        let message = if peer.value == name {
            "a port cannot be its own peer".to_owned()
        } else if !names.contains_key(&peer.value) {
            let known: Vec<&str> = names.keys().map(String::as_str).collect();
            format!(
                "no port is called \"{}\"; ports of this file: {}",
                peer.value,
                known.join(", ")
            )
        } else {
            continue;
        };
        source.error(peer.span, &peer.key, message);
    }
    ports
}

type ReadPort = (Port, Placed<String>, Option<Placed<String>>);

fn port(mut section: Section<'_, '_>, mode: Option<Mode>) -> Option<ReadPort> {
    let routed = mode == Some(Mode::Gateway);
    let device = section.string("device");
    let name = section.string("name");
    let unbuilt = [
        ("af-xdp", "AF_XDP ports"),
        ("auto", "choosing a driver by itself"),
    ];
    let drivers = [Driver::AfPacket, Driver::Tap, Driver::Tun].map(|one| (one.word(), one));
    let driver = section
        .word("driver", &drivers, &unbuilt)
        .unwrap_or_default();
    let group = section.integer("group", 0..=i64::from(u32::MAX));
    let prepare = section.boolean("prepare").unwrap_or(false);
    let (mut peer, mut bridge, mut addresses, mut proxy) = Default::default();
    if routed {
        section.refuse("peer", "a peer needs mode = \"wire\"; a gateway routes");
        section.refuse("bridge", "a pair's name needs mode = \"wire\"");
        addresses = gateway::addresses(&mut section);
        proxy = gateway::proxies(&mut section);
        gateway::refuse_others(&mut section);
    } else {
        peer = section.string("peer");
        bridge = section.string("bridge");
        section.refuse("addresses", "addresses need mode = \"gateway\"");
        section.refuse("proxy", "proxy addresses need mode = \"gateway\"");
    }
    if device.is_none() {
        section.missing("device", "the network device that this port opens");
    }
    if peer.is_none() && !routed {
        section.missing(
            "peer",
            "on a wire each port names the port where its frames go",
        );
    }
    let device = device.map(|device| split_device(section.source, device));
    for placed in [name.as_ref(), bridge.as_ref()].into_iter().flatten() {
        check_name(section.source, placed);
    }
    let span = section.span.clone();
    section.finish();
    let (netns, device) = device?;
    let name = name.unwrap_or(Placed {
        value: device.clone(),
        span,
        key: "port.name".into(),
    });
    let port = Port {
        device,
        netns,
        name: name.value.clone(),
        group: group.map_or(0, |group| group.value as u32),
        prepare,
        peer: peer
            .as_ref()
            .map(|peer| peer.value.clone())
            .unwrap_or_default(),
        bridge: bridge.map(|bridge| bridge.value),
        driver,
        addresses,
        proxy,
    };
    Some((port, name, peer))
}

/// `eth0`, or `netns:eth0`.
fn split_device(source: &Source<'_>, device: Placed<String>) -> (Option<String>, String) {
    let (netns, name) = match device.value.split_once(':') {
        Some((netns, name)) => (Some(netns.to_owned()), name.to_owned()),
        None => (None, device.value.clone()),
    };
    if netns.as_deref() == Some("") {
        source.error(
            device.span.clone(),
            &device.key,
            "no namespace before the colon",
        );
    }
    check_name(
        source,
        &Placed {
            value: name.clone(),
            ..device
        },
    );
    (netns, name)
}

fn check_name(source: &Source<'_>, name: &Placed<String>) {
    let text = &name.value;
    let ugly = |c: char| c.is_whitespace() || c == '/' || c == ':' || c.is_control();
    if text.is_empty() || text.len() > LONGEST_NAME || text.contains(ugly) {
        let message = format!(
            "\"{text}\" is no interface name; allowed: 1 to {LONGEST_NAME} bytes without blank, \
             slash and colon"
        );
        source.error(name.span.clone(), &name.key, message);
    }
}

fn ruleset(mut section: Section<'_, '_>) -> Ruleset {
    let default = Ruleset::default();
    let files = section.strings("files").unwrap_or_default();
    let ipsets = section.strings("ipsets").unwrap_or_default();
    let persist = section.boolean("persist").unwrap_or(default.persist);
    let state = section
        .string("state")
        .map_or(default.state, |state| PathBuf::from(state.value));
    section.finish();
    let paths = |files: Vec<Placed<String>>| -> Vec<PathBuf> {
        let paths = files.into_iter().map(|file| PathBuf::from(file.value));
        paths.collect()
    };
    Ruleset {
        files: paths(files),
        ipsets: paths(ipsets),
        persist,
        state,
    }
}

fn control(mut section: Section<'_, '_>) -> Control {
    let default = Control::default();
    let socket = section
        .string("socket")
        .map_or(default.socket, |path| PathBuf::from(path.value));
    let mode = section.string("mode").and_then(|mode| {
        let bits = u32::from_str_radix(&mode.value, 8)
            .ok()
            .filter(|bits| *bits <= 0o777);
        if bits.is_none() {
            let message = format!(
                "\"{}\" is no permission; allowed: \"0000\" to \"0777\", in octal",
                mode.value
            );
            section.source.error(mode.span, &mode.key, message);
        }
        bits
    });
    let group = section.string("group").map(|group| group.value);
    let change = section
        .strings("change")
        .map(|list| who(section.source, list));
    let read = section
        .strings("read")
        .map(|list| who(section.source, list));
    section.finish();
    Control {
        socket,
        mode: mode.unwrap_or(default.mode),
        group,
        change,
        read,
    }
}

fn who(source: &Source<'_>, list: Vec<Placed<String>>) -> Vec<Who> {
    let mut result = Vec::new();
    for entry in list {
        match entry.value.strip_prefix('@') {
            Some("") => source.error(entry.span, &entry.key, "no group after the @"),
            Some(group) => result.push(Who::Group(group.to_owned())),
            None if entry.value.is_empty() => {
                source.error(entry.span, &entry.key, "empty; allowed: a user, or @group");
            }
            None => result.push(Who::User(entry.value)),
        }
    }
    result
}

fn metrics(mut section: Section<'_, '_>) -> Option<Metrics> {
    let listen = section.string("listen");
    if listen.is_none() {
        section.missing("listen", "address and port, as \"127.0.0.1:9473\"");
    }
    let listen = listen.and_then(|listen| {
        let address = listen.value.parse().ok();
        if address.is_none() {
            let message = format!(
                "\"{}\" is no address; allowed: address and port, as \"127.0.0.1:9473\" or \
                 \"[::1]:9473\"",
                listen.value
            );
            section.source.error(listen.span, &listen.key, message);
        }
        address
    });
    section.finish();
    listen.map(|listen| Metrics { listen })
}

fn log(mut section: Section<'_, '_>) -> Log {
    let default = Log::default();
    let log = Log {
        file: section.string("file").map(|file| PathBuf::from(file.value)),
        syslog: section.boolean("syslog").unwrap_or(default.syslog),
        per_second: section
            .integer("per_second", 0..=1_000_000)
            .map_or(default.per_second, |limit| limit.value as u32),
    };
    section.finish();
    log
}

fn daemon(mut section: Section<'_, '_>) -> Daemon {
    let daemon = Daemon {
        user: section.string("user").map(|user| user.value),
    };
    section.finish();
    daemon
}
