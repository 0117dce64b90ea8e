//! FTP (RFC 959, RFC 2428): PORT and EPRT of the client, 227 and 229 of the server.
//!
//! A line counts only where one is expected to begin: behind the end of a line that was seen, by sequence
//! number, so that nobody can have a file's contents taken for a command. The first line of each side
//! (a greeting, USER) only shows where lines begin. Each line of a segment is looked at. An announcement that is cut
//! off by the segment's end is said to be so: the segment is dropped, as by Linux, and comes again whole.
//!
//! An address other than the sender's own is not believed (the bounce attack, RFC 2577).

use arrayvec::ArrayVec;

use super::Expected;
use crate::conntrack::tuple::{IPV4, Tuple};

/// Most announcements of one segment; more are not looked at.
pub const MOST: usize = 4;
/// Line ends that are remembered of each direction: of a segment and of one that overtook it.
const REMEMBERED: usize = 2;

/// Where lines begin, for each direction: what is kept of a control connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    after: [[u32; REMEMBERED]; 2],
    known: [u8; 2],
}

/// How an announcement is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `PORT 10,0,0,1,4,1`.
    Port,
    /// `EPRT |1|10.0.0.1|1025|`.
    Eprt,
    /// `227 ... (10,0,0,2,4,1)`.
    Passive,
    /// `229 ... (|||1025|)`.
    ExtendedPassive,
}

/// What a line announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The connection that will come.
    pub expected: Expected,
    /// How it was written.
    pub form: Form,
    /// Where in the payload address and port stand: first byte, and how many.
    pub place: (usize, usize),
}

/// What a segment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Connections that will come.
    pub announced: ArrayVec<Announcement, MOST>,
    /// The segment ends in the middle of an announcement: it must not pass.
    pub partial: bool,
}

/// Reads a segment. `reply` says whether it comes from the server; `own` is the flow's tuple of its
/// direction, `other` that of the other one.
pub fn inspect(
    lines: &mut Lines,
    payload: &[u8],
    sequence: u32,
    reply: bool,
    own: &Tuple,
    other: &Tuple,
) -> Said {
    let mut said = Said::default();
    if payload.is_empty() {
        return said;
    }
    let begins = lines.begins_at(sequence, reply);
    let mut at = 0;
    while begins && at < payload.len() && !said.announced.is_full() {
        let rest = &payload[at..];
        match announcement(rest, reply, own.l3) {
            Line::Nothing => {}
            Line::CutOff => {
                said.partial = true;
                return said;
            }
            Line::Announces(found) => {
                let address = found.address.unwrap_or(own.src);
                if address == own.src {
                    said.announced.push(Announcement {
                        expected: Expected::new(other.src, other.dst, found.port, own),
                        form: found.form,
                        place: (at + found.at, found.len),
                    });
                }
            }
        }
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => at += end + 1,
            None => break,
        }
    }
    if payload.ends_with(b"\n") {
        lines.note(sequence.wrapping_add(payload.len() as u32), reply);
    }
    said
}

/// An announcement as it is written: what stands at [`Announcement::place`].
pub fn written(form: Form, address: &[u8; 16], port: u16, l3: u8) -> String {
    let [high, low] = port.to_be_bytes();
    let [a, b, c, d, ..] = *address;
    match form {
        Form::Port | Form::Passive => format!("{a},{b},{c},{d},{high},{low}"),
        Form::Eprt if l3 == IPV4 => format!("|1|{a}.{b}.{c}.{d}|{port}|"),
        Form::Eprt => format!("|2|{}|{port}|", std::net::Ipv6Addr::from(*address)),
        Form::ExtendedPassive => format!("|||{port}|"),
    }
}

impl Lines {
    fn begins_at(&self, sequence: u32, reply: bool) -> bool {
        let direction = usize::from(reply);
        let known = usize::from(self.known[direction]).min(REMEMBERED);
        self.after[direction][..known].contains(&sequence)
    }

    fn note(&mut self, sequence: u32, reply: bool) {
        let direction = usize::from(reply);
        if self.begins_at(sequence, reply) {
            return;
        }
        let known = usize::from(self.known[direction]);
        let after = &mut self.after[direction];
        if known < REMEMBERED {
            after[known] = sequence;
            self.known[direction] += 1;
            return;
        }
        let older = usize::from((after[0].wrapping_sub(after[1]) as i32) > 0);
        if (after[older].wrapping_sub(sequence) as i32) < 0 {
            after[older] = sequence;
        }
    }
}

/// An announcement as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    form: Form,
    /// `None`: the sender's own.
    address: Option<[u8; 16]>,
    port: u16,
    at: usize,
    len: usize,
}

enum Line {
    Nothing,
    /// It may become an announcement.
    CutOff,
    Announces(Found),
}

/// Reads the first line of `text`.
fn announcement(text: &[u8], reply: bool, l3: u8) -> Line {
    let forms: [(&[u8], Form); 2] = if reply {
        [(b"227 ", Form::Passive), (b"229 ", Form::ExtendedPassive)]
    } else {
        [(b"PORT ", Form::Port), (b"EPRT ", Form::Eprt)]
    };
    let end = text.iter().position(|byte| *byte == b'\n');
    let line = &text[..end.unwrap_or(text.len())];
    for (word, form) in forms {
        let same = line.len().min(word.len());
        if !line[..same].eq_ignore_ascii_case(&word[..same]) {
            continue;
        }
        if same < word.len() {
            return if end.is_some() {
                Line::Nothing
            } else {
                Line::CutOff
            };
        }
        let Some(skipped) = begin(&line[word.len()..], form) else {
            return if end.is_some() {
                Line::Nothing
            } else {
                Line::CutOff
            };
        };
        let at = word.len() + skipped;
        return match read(&line[at..], form, l3) {
            // A number that goes on to the end of the segment may go on in the next.
            Some((_, _, len)) if end.is_none() && at + len == line.len() => Line::CutOff,
            Some((address, port, len)) => Line::Announces(Found {
                form,
                address,
                port,
                at,
                len,
            }),
            None if end.is_some() => Line::Nothing,
            None => Line::CutOff,
        };
    }
    Line::Nothing
}

/// Where address and port begin behind the word.
fn begin(rest: &[u8], form: Form) -> Option<usize> {
    match form {
        Form::Port | Form::Eprt => Some(0),
        // RFC 1123, section 4.1.2.6: there need not be parentheses.
        Form::Passive => rest.iter().position(u8::is_ascii_digit),
        Form::ExtendedPassive => Some(rest.iter().position(|byte| *byte == b'(')? + 1),
    }
}

type Read = (Option<[u8; 16]>, u16, usize);

fn read(text: &[u8], form: Form, l3: u8) -> Option<Read> {
    match form {
        Form::Port | Form::Passive => six(text, l3),
        Form::Eprt => eprt(text, l3),
        Form::ExtendedPassive => epsv(text),
    }
}

/// `h1,h2,h3,h4,p1,p2`.
fn six(text: &[u8], l3: u8) -> Option<Read> {
    if l3 != IPV4 {
        return None;
    }
    let (mut bytes, mut at) = ([0u8; 6], 0);
    for (number, byte) in bytes.iter_mut().enumerate() {
        if number != 0 {
            if *text.get(at)? != b',' {
                return None;
            }
            at += 1;
        }
        let (value, len) = decimal(&text[at..], 255)?;
        *byte = value as u8;
        at += len;
    }
    let mut address = [0; 16];
    address[..4].copy_from_slice(&bytes[..4]);
    let port = u16::from_be_bytes([bytes[4], bytes[5]]);
    (port != 0).then_some((Some(address), port, at))
}

/// `|1|10.0.0.1|1025|` or `|2|fd00::1|1025|`; the delimiter is any printable character.
fn eprt(text: &[u8], l3: u8) -> Option<Read> {
    let [delimiter, family, second, ..] = *text else {
        return None;
    };
    let own = if l3 == IPV4 { b'1' } else { b'2' };
    if !delimiter.is_ascii_graphic() || second != delimiter || family != own {
        return None;
    }
    let rest = &text[3..];
    let len = rest.iter().position(|byte| *byte == delimiter)?;
    let written = std::str::from_utf8(&rest[..len]).ok()?;
    let mut address = [0; 16];
    if l3 == IPV4 {
        let parsed: std::net::Ipv4Addr = written.parse().ok()?;
        address[..4].copy_from_slice(&parsed.octets());
    } else {
        address = written.parse::<std::net::Ipv6Addr>().ok()?.octets();
    }
    let (port, end) = port_until(text, 3 + len + 1, delimiter)?;
    Some((Some(address), port, end))
}

/// `|||1025|`.
fn epsv(text: &[u8]) -> Option<Read> {
    let [delimiter, second, third, ..] = *text else {
        return None;
    };
    let usable = delimiter.is_ascii_graphic() && !delimiter.is_ascii_digit();
    if !usable || second != delimiter || third != delimiter {
        return None;
    }
    let (port, end) = port_until(text, 3, delimiter)?;
    Some((None, port, end))
}

/// A port from `at` to a delimiter; yields it and where the text goes on behind the delimiter.
fn port_until(text: &[u8], at: usize, delimiter: u8) -> Option<(u16, usize)> {
    let (port, len) = decimal(text.get(at..)?, 65_535)?;
    let end = at + len;
    (port != 0 && text.get(end) == Some(&delimiter)).then_some((port as u16, end + 1))
}

/// A decimal number up to `most`, and how many digits it has.
fn decimal(text: &[u8], most: u32) -> Option<(u32, usize)> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=5).contains(&len) {
        return None;
    }
    let value = text[..len]
        .iter()
        .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    (value <= most).then_some((value, len))
}

#[cfg(test)]
#[path = "ftp_tests.rs"]
mod tests;
