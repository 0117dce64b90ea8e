//! The texts of `help` and `version`.

use std::fmt::Write;

use super::kind::{Families, Kind, TYPES, Type};
use super::names::{ICMP, ICMPV6};
use super::option::Opt;

/// `version`.
pub const VERSION: &str = "ipset v7.17, protocol version: 7\n";

const USAGE: &str = "ipset v7.17

Usage: ipset [options] COMMAND

Commands:
create SETNAME TYPENAME [type-specific-options]
        Create a new set
add SETNAME ENTRY
        Add entry to the named set
del SETNAME ENTRY
        Delete entry from the named set
test SETNAME ENTRY
        Test entry in the named set
destroy [SETNAME]
        Destroy a named set or all sets
list [SETNAME]
        List the entries of a named set or all sets
save [SETNAME]
        Save the named set or all sets to stdout
restore \n        Restore a saved state
flush [SETNAME]
        Flush a named set or all sets
rename FROM-SETNAME TO-SETNAME
        Rename two sets
swap FROM-SETNAME TO-SETNAME
        Swap the contect of two existing sets
help [TYPENAME]
        Print help, and settype specific help
version \n        Print version information
quit \n        Quit interactive mode

Options:
-o plain|save|xml
       Specify output mode for listing sets.
       Default value for \"list\" command is mode \"plain\"
       and for \"save\" command is mode \"save\".
-s \n        Print elements sorted (if supported by the set type).
-q \n        Suppress any notice or warning message.
-r \n        Try to resolve IP addresses in the output (slow!)
-! \n        Ignore errors when creating or adding sets or
        elements that do exist or when deleting elements
        that don't exist.
-n \n        When listing, just list setnames from the kernel.

-t \n        When listing, list setnames and set headers
        from kernel only.
-f \n        Read from the given file instead of standard
        input (restore) or write to given file instead
        of standard output (list/save).
";

const PORTS: &str = "      [PROTO:]PORT is a valid pattern of the following:
           PORTNAME         TCP port name from /etc/services
           PORTNUMBER       TCP port number identifier
           tcp|sctp|udp|udplite:PORTNAME|PORTNUMBER
           icmp:CODENAME    supported ICMP codename
           icmp:TYPE/CODE   ICMP type/code value
           icmpv6:CODENAME  supported ICMPv6 codename
           icmpv6:TYPE/CODE ICMPv6 type/code value
           PROTO:0          all other protocols
";

/// How `add` and `del`, and how `test` names an element.
fn elements(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::BitmapIp => ("IP|IP/CIDR|FROM-TO", "IP"),
        Kind::BitmapIpMac => ("IP[,MAC]", "IP[,MAC]"),
        Kind::BitmapPort => ("[PROTO:]PORT|FROM-TO", "[PROTO:]PORT"),
        Kind::HashIp => ("IP", "IP"),
        Kind::HashMac => ("MAC", "MAC"),
        Kind::HashIpMac => ("IP,MAC", "IP,MAC"),
        Kind::HashNet => ("IP[/CIDR]", "IP[/CIDR]"),
        Kind::HashNetNet => ("IP[/CIDR]|FROM-TO,IP[/CIDR]|FROM-TO", "IP[/CIDR],IP[/CIDR]"),
        Kind::HashIpPort => ("IP,[PROTO:]PORT", "IP,[PROTO:]PORT"),
        Kind::HashNetPort => ("IP[/CIDR]|FROM-TO,[PROTO:]PORT", "IP[/CIDR],[PROTO:]PORT"),
        Kind::HashIpPortIp => ("IP,[PROTO:]PORT,IP", "IP,[PROTO:]PORT,IP"),
        Kind::HashIpPortNet => ("IP,[PROTO:]PORT,IP[/CIDR]", "IP,[PROTO:]PORT,IP[/CIDR]"),
        Kind::HashIpMark => ("IP,MARK", "IP,MARK"),
        Kind::HashNetPortNet => (
            "IP[/CIDR],[PROTO:]PORT,IP[/CIDR]",
            "IP[/CIDR],[PROTO:]PORT,IP[/CIDR]",
        ),
        Kind::HashNetIface => (
            "IP[/CIDR]|FROM-TO,[physdev:]IFACE",
            "IP[/CIDR],[physdev:]IFACE",
        ),
        Kind::ListSet => ("NAME [before|after NAME]", "NAME [before|after NAME]"),
    }
}

const PORT_RANGES: &str = "      Adding/deleting multiple elements with TCP/SCTP/UDP/UDPLITE
      port range is supported both for IPv4 and IPv6.
";
const V4_BITMAP: &str = "where IP, FROM and TO are IPv4 addresses (or hostnames),
      CIDR is a valid IPv4 CIDR prefix.
";
const FAMILY: &str = "where depending on the INET family\n";
const VALID_IP: &str = "      IP is a valid IPv4 or IPv6 address (or hostname)";
const AN_IP: &str = "      IP is an IPv4 or IPv6 address (or hostname),\n";
const VALID_IPS: &str = "      IP are valid IPv4 or IPv6 addresses (or hostnames)";
const CIDR: &str = "      CIDR is a valid IPv4 or IPv6 CIDR prefix.\n";
const RANGES: &str = "      Adding/deleting multiple elements in IP/CIDR or FROM-TO form\n";

/// What the words of an element mean.
fn meaning(kind: Kind) -> String {
    match kind {
        Kind::BitmapIp => V4_BITMAP.to_owned(),
        Kind::BitmapIpMac => format!("{V4_BITMAP}      MAC is a valid MAC address.\n"),
        Kind::BitmapPort => {
            "where PORT, FROM and TO are port numbers or port names from /etc/services.
      PROTO is only needed if a service name is used and it does not exist
      as a TCP service; just the resolved service numer is stored in the set.\n"
                .to_owned()
        }
        Kind::HashIp => {
            format!("{FAMILY}{VALID_IP},\n{CIDR}{RANGES}      is supported for IPv4.\n")
        }
        Kind::HashMac => "\n".to_owned(),
        Kind::HashIpMac => format!("{FAMILY}{VALID_IP},\n      MAC is a MAC address.\n"),
        Kind::HashNet => format!("{FAMILY}{AN_IP}{CIDR}"),
        Kind::HashNetNet => {
            format!("{FAMILY}{AN_IP}{CIDR}      IP range is not supported with IPv6.\n")
        }
        Kind::HashIpPort => format!(
            "{FAMILY}{VALID_IP}.\n{RANGES}      is supported for IPv4.\n{PORT_RANGES}{PORTS}"
        ),
        Kind::HashNetPort => format!("{FAMILY}{VALID_IP},\n{CIDR}{PORT_RANGES}{PORTS}"),
        Kind::HashIpPortIp => format!(
            "{FAMILY}{VALID_IP}.\n{RANGES}      in the first IP component is supported for IPv4.\n\
             {PORT_RANGES}{PORTS}"
        ),
        Kind::HashIpPortNet => format!(
            "{FAMILY}{VALID_IPS},\n{CIDR}{RANGES}      in the first IP component is supported for \
             IPv4.\n{PORT_RANGES}{PORTS}"
        ),
        Kind::HashIpMark => format!(
            "{FAMILY}{VALID_IP}.\n{RANGES}      is supported for IPv4.\n      Adding/deleting \
             single mark element\n      is supported both for IPv4 and IPv6.\n"
        ),
        Kind::HashNetPortNet => format!(
            "{FAMILY}{VALID_IPS},\n{CIDR}{RANGES}      in both IP components are supported for \
             IPv4.\n{PORT_RANGES}{PORTS}"
        ),
        Kind::HashNetIface => format!(
            "{FAMILY}{VALID_IP},\n{CIDR}      Adding/deleting multiple elements with IPv4 is \
             supported.\n"
        ),
        Kind::ListSet => "where NAME are existing set names.\n".to_owned(),
    }
}

fn push_options(out: &mut String, options: &[Opt]) {
    for opt in options {
        // `before` and `after` are one line, and stand where the second of them does.
        let text = match opt {
            Opt::After => Opt::Before.help(),
            Opt::Before | Opt::Range => continue,
            opt => opt.help(),
        };
        let _ = writeln!(out, "               {text}");
    }
}

fn type_help(ty: &Type) -> String {
    let name = ty.name;
    let mut out = format!("\n{name} type specific options:\n\n");
    let range = match ty.kind {
        Kind::BitmapPort => "range [PROTO:]FROM-TO",
        Kind::BitmapIp | Kind::BitmapIpMac => "range IP/CIDR|FROM-TO",
        _ => "",
    };
    let (changed, tested) = elements(ty.kind);
    let _ = writeln!(out, "create SETNAME {name} {range}");
    push_options(&mut out, ty.create);
    let _ = writeln!(out, "add    SETNAME {name} {changed}");
    push_options(&mut out, ty.add);
    let _ = writeln!(out, "del    SETNAME {name} {changed}");
    push_options(&mut out, ty.del);
    let _ = writeln!(out, "test   SETNAME {name} {tested}");
    push_options(&mut out, ty.test);
    let _ = write!(out, "\n{}", meaning(ty.kind));
    if out.ends_with(PORTS) {
        let mut codes = |version: &str, table: &[(&str, u8, u8)]| {
            let _ = writeln!(out, "           Supported {version} codenames:");
            for (name, ..) in table {
                let _ = writeln!(out, "               {name}");
            }
        };
        codes("ICMP", ICMP);
        codes("ICMPv6", ICMPV6);
        let at = out.find("           Supported ICMP codenames").unwrap_or(0);
        out.insert(at, '\n');
    }
    let _ = match ty.families {
        Families::Both => writeln!(out, "\nType {name} supports inet and inet6."),
        Families::Inet => writeln!(out, "\nType {name} supports family inet only."),
        Families::Neutral => writeln!(out, "\nType {name} is family neutral."),
    };
    out
}

/// `help`, or `help TYPE`: the text, and whether the type is known.
pub fn help(ty: Option<&str>) -> (String, bool) {
    let mut out = USAGE.to_owned();
    match ty.map(Type::named) {
        Some(Some(ty)) => out.push_str(&type_help(ty)),
        Some(None) => return (out, false),
        None => {
            out.push_str("\nSupported set types:\n");
            for ty in TYPES {
                let tabs = if ty.name.len() < 12 { "\t\t" } else { "\t" };
                for (at, text) in ty.revisions.iter().enumerate() {
                    let revision = ty.revision() - at;
                    let _ = writeln!(out, "    {}{tabs}{revision}\t{text}", ty.name);
                }
            }
        }
    }
    (out, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_the_originals_for_every_type() {
        let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ipset/help");
        let read = |name: &str| std::fs::read_to_string(format!("{recorded}/{name}.txt"));
        assert_eq!(help(None).0, read("all").expect("the recorded help"));
        for ty in TYPES {
            let name = ty.name.replace([':', ','], "_");
            let wanted = read(&name).expect("the recorded help of a type");
            assert_eq!(help(Some(ty.name)).0, wanted, "{}", ty.name);
        }
    }
}
