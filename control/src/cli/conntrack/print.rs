//! Flows as conntrack(8) prints them: its own lines, `-o save`, `-o xml`.
//!
//! The lines are those of a kernel that keeps counters and timestamps of flows, as this dataplane
//! always does.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use super::options::Output;
use crate::api::flow::{Expected, Flow, FlowSide};

const SECOND_NS: u64 = 1_000_000_000;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const GRE: u8 = 47;
const TCP: u8 = 6;
const SCTP: u8 = 132;
const DCCP: u8 = 33;

/// What comes before the first flow.
pub(super) const XML_HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<conntrack>\n";
/// What comes behind the last one.
pub(super) const XML_FOOT: &str = "</conntrack>\n";

/// Why a flow is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was listed, got or deleted.
    Listed,
    /// It was changed by hand.
    Changed,
    /// It began.
    New,
    /// It changed.
    Update,
    /// It ended.
    Destroy,
}

impl Why {
    /// Events of flows that live carry neither counters nor times, as those of the kernel.
    fn has_figures(self) -> bool {
        matches!(self, Self::Listed | Self::Changed | Self::Destroy)
    }

    /// Whether it is the answer to a command, and no event.
    fn is_answer(self) -> bool {
        matches!(self, Self::Listed | Self::Changed)
    }

    /// How many hold the flow: whoever changes it does too.
    fn users(self) -> u8 {
        if self == Self::Changed { 2 } else { 1 }
    }
}

/// One flow, as a line without its end. `time_ns` is now, or when the event happened.
pub(super) fn flow(flow: &Flow, why: Why, output: Output, time_ns: u64) -> String {
    if output.save {
        return save(flow, why);
    }
    if output.xml {
        return xml(flow, why, output, time_ns);
    }
    let stamp = if output.timestamp && !why.is_answer() {
        format!(
            "[{}.{:06}]\t",
            time_ns / SECOND_NS,
            time_ns % SECOND_NS / 1000
        )
    } else {
        String::new()
    };
    let event = match why {
        Why::Listed | Why::Changed => "",
        Why::New => "    [NEW] ",
        Why::Update => " [UPDATE] ",
        Why::Destroy => "[DESTROY] ",
    };
    format!("{stamp}{event}{}", line(flow, why, output, time_ns))
}

fn has(flow: &Flow, status: &str) -> bool {
    flow.status.iter().any(|one| one == status)
}

/// Number of a family, as the kernel has it.
fn family_number(family: &str) -> u8 {
    if family == "ipv4" { 2 } else { 10 }
}

/// Seconds since the flow began.
fn age(flow: &Flow, now_ns: u64) -> u64 {
    flow.stop_ns.unwrap_or(now_ns).saturating_sub(flow.start_ns) / SECOND_NS
}

fn line(flow: &Flow, why: Why, output: Output, time_ns: u64) -> String {
    let mut text = String::new();
    if output.extended {
        let _ = write!(text, "{:<8} {} ", flow.family, family_number(&flow.family));
    }
    let _ = write!(text, "{:<8} {} ", flow.protocol_name, flow.protocol);
    if why != Why::Destroy || flow.timeout != 0 {
        let _ = write!(text, "{} ", flow.timeout);
    }
    if let Some(state) = &flow.state {
        let _ = write!(text, "{state} ");
    }
    side(&mut text, flow.protocol, &flow.original);
    let zones = (flow.original.zone, flow.reply.zone);
    if zones.0 != zones.1 && zones.0 != 0 {
        let _ = write!(text, "zone-orig={} ", zones.0);
    }
    if why.has_figures() {
        counters(&mut text, &flow.original);
    }
    if !has(flow, "seen-reply") {
        text += "[UNREPLIED] ";
    }
    side(&mut text, flow.protocol, &flow.reply);
    if zones.0 != zones.1 && zones.1 != 0 {
        let _ = write!(text, "zone-reply={} ", zones.1);
    }
    if why.has_figures() {
        counters(&mut text, &flow.reply);
    }
    if has(flow, "assured") {
        text += "[ASSURED] ";
    }
    if why.is_answer() || flow.mark != 0 {
        let _ = write!(text, "mark={} ", flow.mark);
    }
    if zones.0 == zones.1 && zones.0 != 0 {
        let _ = write!(text, "zone={} ", zones.0);
    }
    if why.has_figures() {
        let _ = write!(text, "delta-time={} ", age(flow, time_ns));
    }
    if output.ktimestamp && why.has_figures() {
        let _ = write!(text, "[start={}] ", calendar(flow.start_ns));
        if let Some(stop) = flow.stop_ns {
            let _ = write!(text, "[stop={}] ", calendar(stop));
        }
    }
    if let Some(helper) = &flow.helper {
        let _ = write!(text, "helper={helper} ");
    }
    if why.is_answer() {
        let _ = write!(text, "use={} ", why.users());
    }
    if output.id {
        let _ = write!(text, "id={} ", flow.id);
    }
    text.truncate(text.trim_end().len());
    text
}

fn side(text: &mut String, protocol: u8, side: &FlowSide) {
    let _ = write!(text, "src={} dst={} ", side.src, side.dst);
    ports(text, protocol, side);
}

fn ports(text: &mut String, protocol: u8, side: &FlowSide) {
    let (sport, dport) = (side.sport.unwrap_or(0), side.dport.unwrap_or(0));
    if let Some(icmp) = side.icmp {
        let _ = write!(
            text,
            "type={} code={} id={} ",
            icmp.kind, icmp.code, icmp.id
        );
    } else if protocol == GRE {
        let _ = write!(text, "srckey=0x{sport:x} dstkey=0x{dport:x} ");
    } else if side.sport.is_some() {
        let _ = write!(text, "sport={sport} dport={dport} ");
    }
}

fn counters(text: &mut String, side: &FlowSide) {
    let _ = write!(text, "packets={} bytes={} ", side.packets, side.bytes);
}

/// A time as ctime(3) writes it, in UTC.
fn calendar(time_ns: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let time = UNIX_EPOCH + Duration::from_nanos(time_ns);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().unwrap_or(1);
    let day = part(8, 10).parse::<u8>().unwrap_or(1);
    let weekday = DAYS[(time_ns / SECOND_NS / 86_400 % 7) as usize];
    format!(
        "{weekday} {} {day:2} {} {}",
        MONTHS[(month - 1).min(11)],
        part(11, 19),
        part(0, 4)
    )
}

fn save(flow: &Flow, why: Why) -> String {
    let command = match why {
        Why::Listed | Why::Changed | Why::New => "-A",
        Why::Update => "-U",
        Why::Destroy => "-D",
    };
    let mut text = format!("{command} -t {} ", flow.timeout);
    let mut status = Vec::new();
    for (name, word) in [
        ("seen-reply", "SEEN_REPLY"),
        ("assured", "ASSURED"),
        ("fixed-timeout", "FIXED_TIMEOUT"),
    ] {
        if has(flow, name) {
            status.push(word);
        }
    }
    let status = if status.is_empty() {
        "UNSET".to_owned()
    } else {
        status.join(",")
    };
    let _ = write!(text, "-u {status} ");
    let (original, reply) = (&flow.original, &flow.reply);
    match (original.zone, reply.zone) {
        (0, 0) => {}
        (both, other) if both == other => {
            let _ = write!(text, "-w {both} ");
        }
        (0, reply) => {
            let _ = write!(text, "--reply-zone {reply} ");
        }
        (original, _) => {
            let _ = write!(text, "--orig-zone {original} ");
        }
    }
    let _ = write!(
        text,
        "-s {} -d {} -r {} -q {} ",
        original.src, original.dst, reply.src, reply.dst
    );
    let name = match flow.protocol_name.as_str() {
        "unknown" => flow.protocol.to_string(),
        name => name.to_owned(),
    };
    let _ = write!(text, "-p {name} ");
    let ports = |side: &FlowSide| (side.sport.unwrap_or(0), side.dport.unwrap_or(0));
    let (there, back) = (ports(original), ports(reply));
    if let Some(icmp) = original.icmp {
        let _ = write!(
            text,
            "--{name}-type {} --{name}-code {} --{name}-id {} ",
            icmp.kind, icmp.code, icmp.id
        );
    } else if flow.protocol == GRE {
        let _ = write!(
            text,
            "--srckey {} --dstkey {} --reply-key-src {} --reply-key-dst {} ",
            there.0, there.1, back.0, back.1
        );
    } else if original.sport.is_some() {
        let _ = write!(
            text,
            "--sport {} --dport {} --reply-port-src {} --reply-port-dst {} ",
            there.0, there.1, back.0, back.1
        );
    }
    if let Some(state) = &flow.state {
        let _ = write!(text, "--state {state} ");
    }
    if flow.protocol == SCTP {
        let tag = |side: &FlowSide| side.vtag.unwrap_or(0);
        let _ = write!(
            text,
            "--orig-vtag {} --reply-vtag {} ",
            tag(original),
            tag(reply)
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn xml(flow: &Flow, why: Why, output: Output, time_ns: u64) -> String {
    let mut text = match why {
        Why::Listed | Why::Changed => "<flow>",
        Why::New => "<flow type=\"new\">",
        Why::Update => "<flow type=\"update\">",
        Why::Destroy => "<flow type=\"destroy\">",
    }
    .to_owned();
    for (direction, side) in [("original", &flow.original), ("reply", &flow.reply)] {
        let _ = write!(
            text,
            "<meta direction=\"{direction}\"><layer3 protonum=\"{}\" protoname=\"{}\">\
             <src>{}</src><dst>{}</dst></layer3><layer4 protonum=\"{}\" protoname=\"{}\">",
            family_number(&flow.family),
            flow.family,
            side.src,
            side.dst,
            flow.protocol,
            flow.protocol_name
        );
        let (sport, dport) = (side.sport.unwrap_or(0), side.dport.unwrap_or(0));
        match flow.protocol {
            ICMP | ICMPV6 => {}
            GRE => {
                let _ = write!(
                    text,
                    "<srckey>0x{sport:x}</srckey><dstkey>0x{dport:x}</dstkey>"
                );
            }
            _ if side.sport.is_some() => {
                let _ = write!(text, "<sport>{sport}</sport><dport>{dport}</dport>");
            }
            _ => {}
        }
        text += "</layer4>";
        if flow.original.zone != flow.reply.zone && side.zone != 0 {
            let _ = write!(text, "<zone>{}</zone>", side.zone);
        }
        if why.has_figures() {
            let _ = write!(
                text,
                "<counters><packets>{}</packets><bytes>{}</bytes></counters>",
                side.packets, side.bytes
            );
        }
        text += "</meta>";
    }
    xml_both(&mut text, flow, why, output, time_ns);
    if output.timestamp && !why.is_answer() {
        when(&mut text, time_ns);
    }
    text + "</flow>"
}

/// What belongs to neither direction.
fn xml_both(text: &mut String, flow: &Flow, why: Why, output: Output, time_ns: u64) {
    *text += "<meta direction=\"independent\">";
    if let Some(state) = &flow.state {
        let _ = write!(text, "<state>{}</state>", xml_state(flow.protocol, state));
    }
    if why != Why::Destroy || flow.timeout != 0 {
        let _ = write!(text, "<timeout>{}</timeout>", flow.timeout);
    }
    if why.is_answer() || flow.mark != 0 {
        let _ = write!(text, "<mark>{}</mark>", flow.mark);
    }
    if flow.original.zone == flow.reply.zone && flow.original.zone != 0 {
        let _ = write!(text, "<zone>{}</zone>", flow.original.zone);
    }
    if why.is_answer() {
        let _ = write!(text, "<use>{}</use>", why.users());
    }
    let _ = write!(text, "<id>{}</id>", flow.id);
    if has(flow, "assured") {
        *text += "<assured/>";
    }
    if !has(flow, "seen-reply") {
        *text += "<unreplied/>";
    }
    if output.ktimestamp && why.has_figures() {
        let _ = write!(text, "<timestamp><start>{}</start>", flow.start_ns);
        if let Some(stop) = flow.stop_ns {
            let _ = write!(text, "<stop>{stop}</stop>");
        }
        *text += "</timestamp>";
    }
    if why.has_figures() {
        let _ = write!(text, "<deltatime>{}</deltatime>", age(flow, time_ns));
    }
    *text += "</meta>";
}

/// When an event happened, in UTC.
fn when(text: &mut String, time_ns: u64) {
    let time = UNIX_EPOCH + Duration::from_nanos(time_ns);
    let stamp = humantime::format_rfc3339_seconds(time).to_string();
    let number = |from: usize, to: usize| {
        let part = stamp.get(from..to).unwrap_or_default();
        part.parse::<u32>().unwrap_or_default()
    };
    // 1970-01-01 was a Thursday, the fifth day of a week that begins with Sunday.
    let weekday = (time_ns / SECOND_NS / 86_400 + 4) % 7 + 1;
    let _ = write!(
        text,
        "<when><hour>{}</hour><min>{}</min><sec>{}</sec><wday>{weekday}</wday><day>{}</day>\
         <month>{}</month><year>{}</year></when>",
        number(11, 13),
        number(14, 16),
        number(17, 19),
        number(8, 10),
        number(5, 7),
        number(0, 4)
    );
}

/// conntrack 1.4.7 writes the number of every protocol's state with TCP's names in XML, and so do we:
/// who reads this output is used to it.
fn xml_state(protocol: u8, state: &str) -> &str {
    const TCP_STATES: [&str; 10] = [
        "NONE",
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSE",
        "SYN_SENT2",
    ];
    const SCTP_STATES: [&str; 9] = [
        "NONE",
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
        "HEARTBEAT_SENT",
    ];
    const DCCP_STATES: [&str; 8] = [
        "NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT",
    ];
    let own: &[&str] = match protocol {
        SCTP => &SCTP_STATES,
        DCCP => &DCCP_STATES,
        TCP => return state,
        _ => return state,
    };
    let number = own.iter().position(|name| *name == state);
    number
        .and_then(|number| TCP_STATES.get(number).copied())
        .unwrap_or(state)
}

/// One expected connection, as a line without its end.
pub(super) fn expected(expected: &Expected) -> String {
    let mut text = format!("{} proto={} ", expected.timeout, expected.protocol);
    side(&mut text, expected.protocol, &expected.tuple);
    let _ = write!(
        text,
        "mask-src={} mask-dst={} ",
        expected.mask.src, expected.mask.dst
    );
    let _ = write!(
        text,
        "sport={} dport={} ",
        expected.mask.sport.unwrap_or(0),
        expected.mask.dport.unwrap_or(0)
    );
    let _ = write!(text, "master-id={} ", expected.master);
    if let Some(helper) = &expected.helper {
        let _ = write!(text, "class=0 helper={helper}");
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
