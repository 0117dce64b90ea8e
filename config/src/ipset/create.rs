//! The options of `create`.

use super::address::{self, Addresses, Names, addresses};
use super::element::TIMEOUT;
use super::kind::{Families, Family, Form, Kind, Type};
use super::number::{number, u32};
use super::option::Opt;
use super::port;
use super::refusal::{Kernel, Refusal};

/// The range of a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First address or port.
    pub first: u32,
    /// Last address or port.
    pub last: u32,
}

/// How addresses are cut before they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// To a prefix.
    Netmask(u8),
    /// By a mask.
    Bitmask(u128),
}

/// What a set was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its type.
    pub kind: Kind,
    /// Its family.
    pub family: Family,
    /// A bitmap's range.
    pub span: Option<Span>,
    /// What addresses are cut to.
    pub cut: Cut,
    /// Bits of marks that count.
    pub markmask: Option<u32>,
    /// Listed, and of no other account: the table grows by itself.
    pub hashsize: u32,
    /// Most elements.
    pub maxelem: u32,
    /// Listed only.
    pub bucketsize: u8,
    /// Listed only; hashing has a secret of its own.
    pub initval: u32,
    /// A list's, listed only.
    pub size: u32,
    /// The default timeout in seconds; 0 means that elements stay.
    pub timeout: Option<u32>,
    /// Elements count.
    pub counters: bool,
    /// Elements have comments.
    pub comment: bool,
    /// Elements have marks, classes and queues.
    pub skbinfo: bool,
    /// A full set gives up an element for a new one.
    pub forceadd: bool,
}

/// Most elements of a bitmap.
const MOST: u64 = 65536;

impl Header {
    fn new(ty: &Type, family: Family, initval: u32) -> Self {
        Self {
            kind: ty.kind,
            family,
            span: None,
            cut: Cut::Whole,
            markmask: None,
            hashsize: 1024,
            maxelem: 65536,
            bucketsize: 12,
            initval,
            size: 8,
            timeout: None,
            counters: false,
            comment: false,
            skbinfo: false,
            forceadd: false,
        }
    }

    /// The row of its type.
    pub fn ty(&self) -> &'static Type {
        let row = super::kind::TYPES.iter().find(|ty| ty.kind == self.kind);
        row.unwrap_or(&super::kind::TYPES[0])
    }

    /// Whether `create -exist` takes this for the same set: what only concerns the table is of no account,
    /// and as in the kernel neither is the family, unless it says what a mask means.
    pub fn same(&self, other: &Self) -> bool {
        let counted = |header: &Self| Self {
            hashsize: 0,
            bucketsize: 0,
            initval: 0,
            forceadd: false,
            family: match header.cut {
                Cut::Whole => Family::Unspec,
                _ => header.family,
            },
            ..header.clone()
        };
        counted(self) == counted(other)
    }

    /// Addresses of one element of a bitmap.
    pub fn hosts(&self) -> u64 {
        match (self.kind, self.cut) {
            (Kind::BitmapIp, Cut::Netmask(netmask)) => 1 << (32 - u32::from(netmask)),
            _ => 1,
        }
    }

    /// An address as it is stored.
    pub fn cut(&self, address: u128) -> u128 {
        match self.cut {
            Cut::Whole => address,
            Cut::Netmask(netmask) => address & !address::host_mask(netmask, self.family.bits()),
            Cut::Bitmask(mask) => address & mask,
        }
    }
}

/// What was read of a range: addresses or ports.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    from: Option<u32>,
    to: Option<u32>,
    refused: Option<Kernel>,
}

/// What the options of `create` say.
#[derive(Clone, Debug)]
pub struct Read {
    /// The header.
    pub header: Header,
    /// Lines that warn.
    pub warnings: Vec<String>,
    /// What the kernel does not take of it: told after all that cannot be understood.
    pub refused: Option<Kernel>,
}

/// Reads the options of `create`. `initval` is taken when none is given.
///
/// # Errors
/// With the original's words.
pub fn header(
    ty: &Type,
    words: &[String],
    initval: u32,
    names: &dyn Names,
) -> Result<Read, Refusal> {
    let (family, words) = family(ty, words)?;
    let mut header = Header::new(ty, family, initval);
    let mut warnings = Vec::new();
    let mut written = Written::default();
    let mut given: Vec<Opt> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let all = ty.create.iter().chain(ty.hidden);
        let Some(opt) = all.copied().find(|opt| opt.is(word)) else {
            return Err(Refusal::Usage(format!("Unknown argument: `{word}'")));
        };
        if !opt.has_value() {
            flag(&mut header, opt);
            continue;
        }
        let value = words.next().ok_or_else(|| missing(opt))?;
        if is_ignored(ty, opt) {
            let opt = opt.word();
            warnings.push(format!(
                "Option '--{opt} {value}' is ignored. Please upgrade your syntax."
            ));
            continue;
        }
        if given.contains(&opt) {
            let opt = opt.word();
            return Err(Refusal::syntax(format_args!("{opt} already specified")));
        }
        given.push(opt);
        value_of(&mut header, &mut written, opt, value, names)?;
    }
    let mut refused = written.refused;
    if !ty.mandatory.is_empty() {
        let (first, last) = ends(written)?;
        refused = refused.or(span(&mut header, first, last).err());
    }
    Ok(Read {
        header,
        warnings,
        refused,
    })
}

fn missing(opt: Opt) -> Refusal {
    let opt = opt.word();
    Refusal::Usage(format!("Missing mandatory argument of option `{opt}'"))
}

/// The first look at the options: whether all are known and have their values, and the family, on which
/// others depend. Yields the family, and the words that are left.
fn family<'a>(ty: &Type, words: &'a [String]) -> Result<(Family, Vec<&'a String>), Refusal> {
    let (chosen, fixed) = match ty.families {
        Families::Both => (true, Family::Inet),
        Families::Inet => (false, Family::Inet),
        Families::Neutral => (false, Family::Unspec),
    };
    let also: &[Opt] = if chosen {
        &[Opt::Inet, Opt::Inet6]
    } else {
        &[]
    };
    let mut found = None;
    let mut rest = Vec::with_capacity(words.len());
    let mut all = words.iter();
    while let Some(word) = all.next() {
        let mut known = ty.create.iter().chain(ty.hidden).chain(also).copied();
        let Some(opt) = known.find(|opt| opt.is(word)) else {
            return Err(Refusal::Usage(format!("Unknown argument: `{word}'")));
        };
        let value = match opt.has_value() {
            true => Some(all.next().ok_or_else(|| missing(opt))?),
            false => None,
        };
        let read = match (opt, value) {
            (Opt::Family, Some(value)) => family_named(value)?,
            (Opt::Inet, _) => Family::Inet,
            (Opt::Inet6, _) => Family::Inet6,
            _ => {
                rest.push(word);
                rest.extend(value);
                continue;
            }
        };
        if found.replace(read).is_some() {
            return Err(Refusal::syntax("family already specified"));
        }
    }
    Ok((found.unwrap_or(fixed), rest))
}

fn family_named(word: &str) -> Result<Family, Refusal> {
    match word {
        "inet" | "ipv4" | "-4" => Ok(Family::Inet),
        "inet6" | "ipv6" | "-6" => Ok(Family::Inet6),
        _ => Err(Refusal::syntax(format_args!("unknown inet family {word}"))),
    }
}

/// What only versions before 5 heeded.
fn is_ignored(ty: &Type, opt: Opt) -> bool {
    match opt {
        Opt::Probes | Opt::Resize | Opt::Gc => true,
        Opt::From | Opt::To | Opt::Network => !ty.is_bitmap(),
        _ => false,
    }
}

fn flag(header: &mut Header, opt: Opt) {
    match opt {
        Opt::Counters => header.counters = true,
        Opt::CommentFlag => header.comment = true,
        Opt::Skbinfo => header.skbinfo = true,
        Opt::Forceadd => header.forceadd = true,
        _ => {}
    }
}

fn value_of(
    header: &mut Header,
    written: &mut Written,
    opt: Opt,
    value: &str,
    names: &dyn Names,
) -> Result<(), Refusal> {
    match opt {
        Opt::Hashsize => {
            let asked = u32(value)?.max(64);
            header.hashsize = asked.checked_next_power_of_two().unwrap_or(1 << 31);
        }
        Opt::Maxelem => header.maxelem = u32(value)?,
        Opt::Size => header.size = u32(value)?.max(4),
        Opt::Bucketsize => {
            let asked = number(value, 0, 255)? as u8;
            header.bucketsize = (asked.max(2).saturating_add(1) & !1).min(12);
        }
        Opt::Initval => header.initval = u32(value)?,
        Opt::Timeout => header.timeout = Some(number(value, 0, TIMEOUT)? as u32),
        Opt::Markmask => match u32(value)? {
            0 => written.refused = Some(Kernel::Markmask),
            mask => header.markmask = Some(mask),
        },
        Opt::Netmask => netmask(header, value)?,
        Opt::Bitmask => bitmask(header, written, value, names)?,
        Opt::Range => range(header.kind, written, value, names)?,
        Opt::Network => {
            let all = addresses(value, Form::Hosts, Family::Inet, names)?;
            put_addresses(written, all);
        }
        Opt::From => written.from = Some(end(header.kind, value, names)?),
        Opt::To => written.to = Some(end(header.kind, value, names)?),
        _ => {}
    }
    Ok(())
}

/// One end of a range.
fn end(kind: Kind, value: &str, names: &dyn Names) -> Result<u32, Refusal> {
    if kind == Kind::BitmapPort {
        return Ok(u32::from(port::bare_ports(value)?.0));
    }
    addresses(value, Form::Single, Family::Inet, names).map(|all| all.from as u32)
}

fn exclusive(header: &Header) -> Result<(), Refusal> {
    if header.cut == Cut::Whole {
        Ok(())
    } else {
        Err(Refusal::syntax(
            "bitmask and netmask are mutually exclusive, provide only one",
        ))
    }
}

fn netmask(header: &mut Header, value: &str) -> Result<(), Refusal> {
    exclusive(header)?;
    let bits = header.family.bits();
    let netmask = number(value, 1, u64::from(bits)).map_err(|error| match error {
        Refusal::Failed(text) => Refusal::Failed(format!(
            "{text}\nSyntax error: netmask is out of the inclusive range of 1-{bits}"
        )),
        other => other,
    })? as u8;
    // One of all bits is none.
    if netmask != bits {
        header.cut = Cut::Netmask(netmask);
    }
    Ok(())
}

fn bitmask(
    header: &mut Header,
    written: &mut Written,
    value: &str,
    names: &dyn Names,
) -> Result<(), Refusal> {
    exclusive(header)?;
    let family = header.family;
    let mask = address::address(value, family, names).map_err(|error| match error {
        Refusal::Failed(text) => Refusal::Failed(format!(
            "{text}\nSyntax error: bitmask is not valid for family = {}",
            family.word()
        )),
        other => other,
    })?;
    if mask == 0 {
        written.refused = Some(Kernel::Netmask);
    }
    header.cut = Cut::Bitmask(mask);
    Ok(())
}

fn put_addresses(written: &mut Written, all: Addresses) {
    let (first, last) = all.bounds(32);
    (written.from, written.to) = (Some(first as u32), Some(last as u32));
}

fn range(kind: Kind, written: &mut Written, value: &str, names: &dyn Names) -> Result<(), Refusal> {
    if kind == Kind::BitmapPort {
        let (from, to) = port::bare_ports(value)?;
        (written.from, written.to) = (Some(from.into()), to.map(u32::from));
        return Ok(());
    }
    let all = addresses(value, Form::Hosts, Family::Inet, names)?;
    if all.to.is_none() && all.cidr.is_none() {
        return Err(Refusal::syntax(format_args!(
            "IP/cidr or IP-IP range must be specified: {value}"
        )));
    }
    put_addresses(written, all);
    Ok(())
}

/// First and last of a range that must be there.
fn ends(written: Written) -> Result<(u32, u32), Refusal> {
    let absent = |what| Refusal::Usage(format!("Mandatory option `{what}' is missing"));
    match (written.from, written.to) {
        (None, None) => Err(absent("range")),
        (None, Some(_)) => Err(absent("from")),
        (Some(_), None) => Err(absent("to")),
        (Some(from), Some(to)) => Ok((from.min(to), from.max(to))),
    }
}

/// Whether a bitmap may have a range. One with a netmask is widened to whole networks.
fn span(header: &mut Header, mut first: u32, mut last: u32) -> Result<(), Kernel> {
    let mut elements = u64::from(last) - u64::from(first) + 1;
    if let (Kind::BitmapIp, Cut::Netmask(netmask)) = (header.kind, header.cut) {
        let host = address::host_mask(netmask, 32) as u32;
        (first, last) = (first & !host, last | host);
        // The range has to begin where a network begins that has its end too and is larger than the mask's.
        let begins = |cidr: &u8| last & !(address::host_mask(*cidr, 32) as u32) == first;
        let cidr = (0..32).rev().find(begins).ok_or(Kernel::OutOfRange)?;
        if netmask <= cidr || (cidr == 0 && last != u32::MAX) {
            return Err(Kernel::OutOfRange);
        }
        elements = 1 << (netmask - cidr);
    }
    if elements > MOST {
        return Err(Kernel::RangeSize);
    }
    header.span = Some(Span { first, last });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::address::NoNames;
    use super::*;

    fn read(line: &str) -> Result<Header, Refusal> {
        let mut words = line.split(' ').map(str::to_owned);
        let ty = Type::named(&words.next().expect("a type")).expect("a type");
        let words: Vec<String> = words.collect();
        let read = header(ty, &words, 5, &NoNames)?;
        read.refused
            .map_or(Ok(read.header), |error| Err(error.into()))
    }

    #[test]
    fn options_are_rounded_as_the_kernel_rounds_them() {
        let header = read("hash:ip hashsize 1025 maxelem 010 bucketsize 3").expect("a header");
        assert_eq!(
            (header.hashsize, header.maxelem, header.bucketsize),
            (2048, 8, 4)
        );
        let header = read("hash:ip hashsize 1 bucketsize 99").expect("a header");
        assert_eq!((header.hashsize, header.bucketsize), (64, 12));
        assert_eq!(read("list:set size 3").map(|header| header.size), Ok(4));
    }

    #[test]
    fn the_family_counts_wherever_it_stands() {
        let header = read("hash:ip netmask 64 family inet6").expect("a header");
        assert_eq!(
            (header.family, header.cut),
            (Family::Inet6, Cut::Netmask(64))
        );
        let text = "Syntax error: cannot parse 255.0.0.0: resolving to IPv6 address failed\n\
                    Syntax error: bitmask is not valid for family = inet6";
        assert_eq!(
            read("hash:ip bitmask 255.0.0.0 -6"),
            Err(Refusal::Failed(text.to_owned()))
        );
    }

    #[test]
    fn ranges_of_bitmaps_are_checked_as_the_kernel_checks_them() {
        let bitmap = |rest: &str| read(&format!("bitmap:ip range {rest}"));
        assert_eq!(bitmap("10.0.0.0/15"), Err(Kernel::RangeSize.into()));
        assert!(bitmap("10.0.0.0/8 netmask 24").is_ok());
        assert_eq!(
            bitmap("10.0.0.0/24 netmask 16"),
            Err(Kernel::OutOfRange.into())
        );
        let widened = bitmap("10.0.0.5-10.0.2.7 netmask 24").map(|header| header.span);
        let (first, last) = (0x0a00_0000, 0x0a00_02ff);
        assert_eq!(widened, Ok(Some(Span { first, last })));
        for refused in ["10.0.0.5-10.0.0.7", "10.0.1.0-10.0.2.0"] {
            assert_eq!(
                bitmap(&format!("{refused} netmask 24")),
                Err(Kernel::OutOfRange.into())
            );
        }
        assert!(bitmap("0.0.0.0/0 netmask 16").is_ok());
        let half = bitmap("0.0.0.0-128.0.0.1 netmask 8");
        assert_eq!(half, Err(Kernel::OutOfRange.into()));
        let span = bitmap("10.0.0.9-10.0.0.1").map(|header| header.span);
        let (first, last) = (0x0a00_0001, 0x0a00_0009);
        assert_eq!(span, Ok(Some(Span { first, last })));
        // What cannot be understood is told before what the kernel does not take.
        let unknown = Refusal::Usage("Unknown argument: `foo'".to_owned());
        assert_eq!(bitmap("10.0.0.0/15 foo"), Err(unknown.clone()));
        assert_eq!(read("hash:ip timeout x foo"), Err(unknown.clone()));
        assert_eq!(read("hash:ip,mark markmask 0 foo"), Err(unknown));
        assert_eq!(
            read("hash:ip,mark markmask 0"),
            Err(Kernel::Markmask.into())
        );
        let usage = |what: &str| Refusal::Usage(format!("Mandatory option `{what}' is missing"));
        assert_eq!(read("bitmap:port range 5"), Err(usage("to")));
        assert_eq!(read("bitmap:port timeout 5"), Err(usage("range")));
    }
}
