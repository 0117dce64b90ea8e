//! Listings: plain, save and XML as the original prints them, and JSON as its successors do.

use std::fmt::Write;

use super::address;
use super::create::{Cut, Header};
use super::kind::Kind;
use super::member::{Listed, by_parts, listed, member};
use super::option::Opt;
use super::set::{Content, IpSet};

/// The form of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For people.
    Plain,
    /// Commands for `restore`.
    Save,
    /// XML.
    Xml,
    /// JSON, as versions from 7.19 on print it.
    Json,
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The form.
    pub mode: Mode,
    /// Names only.
    pub names: bool,
    /// Without elements.
    pub terse: bool,
    /// With elements, but nothing that announces them.
    pub bare: bool,
    /// Elements in order.
    pub sorted: bool,
}

/// Options of the header with their values, in the order of the type's row.
fn header_options(header: &Header) -> Vec<(&'static str, Option<String>)> {
    let mut all = Vec::new();
    for &opt in header.ty().create {
        let value = match opt {
            Opt::Family => Some(header.family.word().to_owned()),
            Opt::Hashsize => Some(header.hashsize.to_string()),
            Opt::Maxelem => Some(header.maxelem.to_string()),
            Opt::Netmask => match header.cut {
                Cut::Netmask(netmask) => Some(netmask.to_string()),
                _ => continue,
            },
            Opt::Bitmask => match header.cut {
                Cut::Bitmask(mask) => Some(address::text(mask, header.family)),
                _ => continue,
            },
            Opt::Markmask => match header.markmask {
                Some(mask) => Some(format!("0x{mask:08x}")),
                None => continue,
            },
            Opt::Range => match header.span {
                Some(span) if header.kind == Kind::BitmapPort => {
                    Some(format!("{}-{}", span.first, span.last))
                }
                Some(span) => {
                    let text = |end| address::text(u128::from(end), header.family);
                    Some(format!("{}-{}", text(span.first), text(span.last)))
                }
                None => continue,
            },
            Opt::Size => Some(header.size.to_string()),
            Opt::Timeout => match header.timeout {
                Some(timeout) => Some(timeout.to_string()),
                None => continue,
            },
            Opt::Counters if header.counters => None,
            Opt::CommentFlag if header.comment => None,
            Opt::Skbinfo if header.skbinfo => None,
            Opt::Forceadd if header.forceadd => None,
            Opt::Bucketsize => Some(header.bucketsize.to_string()),
            Opt::Initval => Some(format!("0x{:08x}", header.initval)),
            _ => continue,
        };
        all.push((opt.word(), value));
    }
    all
}

fn push_options(out: &mut String, options: &[(&'static str, Option<String>)]) {
    for (name, value) in options {
        out.push(' ');
        out.push_str(name);
        if let Some(value) = value {
            out.push(' ');
            out.push_str(value);
        }
    }
}

fn push_xml(out: &mut String, options: &[(&'static str, Option<String>)]) {
    for (name, value) in options {
        match value {
            Some(value) => _ = write!(out, "<{name}>{value}</{name}>"),
            None => _ = write!(out, "<{name}/>"),
        }
    }
}

/// What a listing says of a set beside its elements.
struct Facts {
    options: Vec<(&'static str, Option<String>)>,
    memory: usize,
    references: usize,
    entries: usize,
}

/// Hands over every element that has not expired.
fn each_element(set: &IpSet, now_ns: u64, each: &mut dyn FnMut(Listed)) {
    match &set.content {
        Content::Elements(elements) => elements.view().for_each(now_ns, &mut |element| {
            each(listed(&set.header, &element, now_ns))
        }),
        Content::Names(members) => members
            .iter()
            .filter(|one| !one.expired(now_ns))
            .for_each(|one| each(member(&set.header, one, now_ns))),
    }
}

/// Elements that have not expired.
pub fn entries(set: &IpSet, now_ns: u64) -> usize {
    match &set.content {
        Content::Elements(elements) if set.header.timeout.is_none() => elements.view().len(),
        Content::Elements(elements) => {
            let mut count = 0;
            elements.view().for_each(now_ns, &mut |_| count += 1);
            count
        }
        Content::Names(members) => members.iter().filter(|one| !one.expired(now_ns)).count(),
    }
}

fn memory(set: &IpSet) -> usize {
    let fixed = size_of::<IpSet>() + size_of::<Header>();
    fixed
        + match &set.content {
            Content::Elements(elements) => elements.view().memory(),
            Content::Names(members) => members.len() * size_of::<super::set::Member>(),
        }
}

/// Writes listings of sets one after the other.
#[derive(Debug)]
pub struct Lister {
    wanted: Wanted,
    now_ns: u64,
    out: String,
    first: bool,
}

impl Lister {
    /// Begins a listing.
    pub fn new(wanted: Wanted, now_ns: u64) -> Self {
        let out = match wanted.mode {
            Mode::Xml => "<ipsets>\n",
            Mode::Json => "[\n",
            _ => "",
        };
        Self {
            wanted,
            now_ns,
            out: out.to_owned(),
            first: true,
        }
    }

    /// One set, to which so many references lead.
    pub fn set(&mut self, set: &IpSet, references: usize) {
        if self.wanted.names && self.wanted.mode != Mode::Save {
            self.name(set);
        } else {
            let facts = Facts {
                options: header_options(&set.header),
                memory: memory(set),
                references,
                entries: entries(set, self.now_ns),
            };
            match self.wanted.mode {
                Mode::Plain => self.plain(set, &facts),
                Mode::Save => self.save(set, &facts),
                Mode::Xml => self.xml(set, &facts),
                Mode::Json => self.json(set, &facts),
            }
        }
        self.first = false;
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        match self.wanted.mode {
            Mode::Xml => self.out.push_str("</ipsets>\n"),
            Mode::Json => self.out.push_str(if self.first { "]\n" } else { "\n]\n" }),
            _ => {}
        }
        self.out
    }

    fn name(&mut self, set: &IpSet) {
        let name = &set.name;
        match self.wanted.mode {
            Mode::Xml => _ = writeln!(self.out, "<ipset name=\"{name}\"/>"),
            Mode::Json => {
                self.separate();
                _ = write!(self.out, "  {{ \"name\" : {} }}", quoted(name));
            }
            _ => _ = writeln!(self.out, "{name}"),
        }
    }

    /// Elements one after the other, in order where that is asked for and the type has none.
    fn elements(&mut self, set: &IpSet, write: impl Fn(&mut String, &Listed)) {
        let ordered = set.header.ty().is_list() || set.header.ty().is_bitmap();
        let out = &mut self.out;
        if !self.wanted.sorted || ordered {
            each_element(set, self.now_ns, &mut |element| write(out, &element));
            return;
        }
        let mut all = Vec::new();
        // The original compares whole lines: what stands behind an element counts where it ends in a name.
        let lines = set.header.kind == Kind::HashNetIface && self.wanted.mode != Mode::Json;
        each_element(set, self.now_ns, &mut |element| {
            let mut line = String::new();
            if lines {
                write(&mut line, &element);
            } else {
                line.push_str(&element.name);
            }
            all.push((line, element));
        });
        all.sort_by(|(a, _), (b, _)| by_parts(a, b));
        all.iter().for_each(|(_, element)| write(out, element));
    }

    fn plain(&mut self, set: &IpSet, facts: &Facts) {
        if !self.first {
            self.out.push('\n');
        }
        let ty = set.header.ty();
        let _ = write!(
            self.out,
            "Name: {}\nType: {}\nRevision: {}\nHeader:",
            set.name,
            ty.name,
            ty.revision()
        );
        push_options(&mut self.out, &facts.options);
        let _ = writeln!(
            self.out,
            "\nSize in memory: {}\nReferences: {}\nNumber of entries: {}",
            facts.memory, facts.references, facts.entries
        );
        if self.wanted.terse {
            return;
        }
        if !self.wanted.bare {
            self.out.push_str("Members:\n");
        }
        self.elements(set, |out, element| {
            out.push_str(&element.name);
            push_options(out, &element.extras);
            out.push('\n');
        });
    }

    fn save(&mut self, set: &IpSet, facts: &Facts) {
        let _ = write!(self.out, "create {} {}", set.name, set.header.ty().name);
        push_options(&mut self.out, &facts.options);
        self.out.push('\n');
        let name = set.name.clone();
        self.elements(set, |out, element| {
            out.push_str("add ");
            out.push_str(&name);
            out.push(' ');
            out.push_str(&element.name);
            push_options(out, &element.extras);
            out.push('\n');
        });
    }

    fn xml(&mut self, set: &IpSet, facts: &Facts) {
        let ty = set.header.ty();
        let _ = write!(
            self.out,
            "<ipset name=\"{}\">\n<type>{}</type>\n<revision>{}</revision>\n<header>",
            set.name,
            ty.name,
            ty.revision()
        );
        push_xml(&mut self.out, &facts.options);
        let _ = writeln!(
            self.out,
            "\n<memsize>{}</memsize>\n<references>{}</references>\n<numentries>{}</numentries>\n\
             </header>",
            facts.memory, facts.references, facts.entries
        );
        if !self.wanted.terse {
            let tag = |tag: &'static str| if self.wanted.bare { "" } else { tag };
            self.out.push_str(tag("<members>\n"));
            let end = tag("</members>\n");
            self.elements(set, |out, element| {
                let _ = write!(out, "<member><elem>{}</elem>", element.name);
                push_xml(out, &element.extras);
                out.push_str("</member>\n");
            });
            self.out.push_str(end);
        }
        self.out.push_str("</ipset>\n");
    }

    fn separate(&mut self) {
        if !self.first {
            self.out.push_str(",\n");
        }
    }

    fn json(&mut self, set: &IpSet, facts: &Facts) {
        self.separate();
        let ty = set.header.ty();
        let mut fields: Vec<String> = Vec::new();
        fields.extend(facts.options.iter().map(json_field));
        fields.push(format!("\"memsize\" : {}", facts.memory));
        fields.push(format!("\"references\" : {}", facts.references));
        fields.push(format!("\"numentries\" : {}", facts.entries));
        let _ = write!(
            self.out,
            "  {{\n    \"name\" : {},\n    \"type\" : {},\n    \"revision\" : {},\n    \"header\" : {{\n      {}\n    }}",
            quoted(&set.name),
            quoted(ty.name),
            ty.revision(),
            fields.join(",\n      ")
        );
        if !self.wanted.terse {
            self.out.push_str(",\n    \"members\" : [");
            let first = std::cell::Cell::new(true);
            self.elements(set, |out, element| {
                out.push_str(if first.replace(false) { "\n" } else { ",\n" });
                let mut fields = vec![format!("\"elem\" : {}", quoted(&element.name))];
                fields.extend(element.extras.iter().map(json_field));
                let _ = write!(out, "      {{ {} }}", fields.join(", "));
            });
            self.out.push_str("\n    ]");
        }
        self.out.push_str("\n  }");
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An option as a field: numbers as numbers, flags as true.
fn json_field((name, value): &(&'static str, Option<String>)) -> String {
    let value = match value {
        None => "true".to_owned(),
        Some(text) if text.starts_with('"') => quoted(text.trim_matches('"')),
        Some(text) if text.parse::<u64>().is_ok() => text.clone(),
        Some(text) => quoted(text),
    };
    format!("\"{name}\" : {value}")
}
