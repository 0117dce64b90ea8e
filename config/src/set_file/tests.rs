use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn read(format: Format, text: &str) -> Result<Contents, String> {
    let reading = Reading {
        format,
        ..Reading::default()
    };
    parse("f", text.as_bytes(), &reading).map_err(|error| error.to_string())
}

fn v4(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().unwrap().into()
}

fn v6(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

#[test]
fn a_list_has_addresses_prefixes_ranges_and_comments() {
    let text = "\u{feff}# a list\r\n\r\n192.0.2.1\r\n  10.1.2.3/8 ; SBL1\n;x\n\
                198.51.100.7 - 198.51.100.9 # three\n2001:db8::/32\n::1\n203.0.113.0-203.0.113.255";
    let contents = read(Format::List, text).unwrap();
    let ranges = [
        ("10.0.0.0", "10.255.255.255"),
        ("192.0.2.1", "192.0.2.1"),
        ("198.51.100.7", "198.51.100.9"),
        ("203.0.113.0", "203.0.113.255"),
    ];
    assert_eq!(contents.v4, ranges.map(|(a, b)| (v4(a), v4(b))));
    let doc = v6("2001:db8::");
    assert_eq!(contents.v6, [(1, 1), (doc, doc | (u128::MAX >> 32))]);
    assert_eq!(contents.entries, 6);
}

#[test]
fn what_overlaps_is_one_and_what_adjoins_is_not() {
    let text =
        "10.0.0.5-10.0.0.20\n10.0.0.0-10.0.0.9\n10.0.0.21\n10.0.0.21\n10.0.0.22/32\n0.0.0.0/30";
    let contents = read(Format::List, text).unwrap();
    let base = v4("10.0.0.0");
    assert_eq!(
        contents.v4,
        [
            (0, 3),
            (base, base + 20),
            (base + 21, base + 21),
            (base + 22, base + 22)
        ]
    );
    assert_eq!(
        read(Format::List, "0.0.0.0/0\n1.2.3.4").unwrap().v4,
        [(0, u32::MAX)]
    );
}

#[test]
fn errors_name_file_line_and_word() {
    let list = |text: &str| read(Format::List, text).unwrap_err();
    let entry = "expected an address, a prefix or a range first-last";
    assert_eq!(
        list("1.2.3.4\n<html>\n"),
        format!("f:2: \"<html>\": {entry}")
    );
    assert_eq!(list("1.2.3\n"), format!("f:1: \"1.2.3\": {entry}"));
    assert_eq!(list("01.2.3.4"), format!("f:1: \"01.2.3.4\": {entry}"));
    assert_eq!(list("1.2.3.256"), format!("f:1: \"1.2.3.256\": {entry}"));
    assert_eq!(list("1.2.3.4/"), format!("f:1: \"1.2.3.4/\": {entry}"));
    assert_eq!(
        list("\n\n1.2.3.4/33"),
        "f:3: \"1.2.3.4/33\": a prefix has at most 32 bits"
    );
    assert_eq!(
        list("::/129"),
        "f:1: \"::/129\": a prefix has at most 128 bits"
    );
    assert_eq!(
        list("2.0.0.0-1.0.0.0"),
        "f:1: \"2.0.0.0-1.0.0.0\": the range ends before it begins"
    );
    assert_eq!(
        list("1.0.0.0-::1"),
        "f:1: \"1.0.0.0-::1\": first and last address are of different families"
    );
    // A hosts file is no list: it would block 0.0.0.0 only.
    assert_eq!(
        list("0.0.0.0 ads.example"),
        "f:1: \"ads.example\": expected one entry a line"
    );
    let empty = "f:1: no entry in the whole file (allow_empty = true if that is meant)";
    assert_eq!(list("# nothing\n"), empty);
    assert_eq!(list(""), empty);
    let allowed = Reading {
        allow_empty: true,
        ..Reading::default()
    };
    assert_eq!(parse("f", b"", &allowed).unwrap(), Contents::default());
}

#[test]
fn an_ipset_save_file_is_read() {
    let text = "create a hash:net family inet hashsize 1024 maxelem 65536 comment\n\
                add a 10.0.0.0/8 packets 3 bytes 7\nadd a 192.0.2.1 comment \"two words\"\n\
                add a 192.0.2.8-192.0.2.9 timeout 0\n";
    let contents = read(Format::Ipset, text).unwrap();
    assert_eq!((contents.v4.len(), contents.entries), (3, 3));
    let ipset = |text: &str| read(Format::Ipset, text).unwrap_err();
    assert_eq!(
        ipset("create a hash:net\nadd a 10.0.0.0/8 nomatch"),
        "f:2: \"nomatch\": elements of a file cannot have this option"
    );
    assert_eq!(
        ipset("add a 10.0.0.1 timeout 60"),
        "f:1: \"timeout\": elements of a file cannot have this option"
    );
    assert!(ipset("create a hash:ip,port").starts_with("f:1: \"hash:ip,port\": sets of this type"));
    assert!(
        ipset("add a 1.1.1.1\nadd b 1.1.1.2")
            .starts_with("f:2: \"b\": the file has more than one set")
    );
    assert!(ipset("del a 1.1.1.1").starts_with("f:1: \"del a 1.1.1.1\": expected \"create"));
    let reading = Reading {
        format: Format::Ipset,
        ipset: Some("b".into()),
        ..Reading::default()
    };
    let two = b"create a hash:ip,port\nadd a 1.1.1.1,80\nadd b 1.1.1.2\n";
    let contents = parse("f", two, &reading).unwrap();
    assert_eq!((contents.v4.len(), contents.left_out), (1, 1));
}

#[test]
fn a_csv_file_is_filtered_by_country() {
    let reading = |countries: &[&str]| Reading {
        format: Format::Csv,
        countries: countries.iter().map(|&country| country.into()).collect(),
        ..Reading::default()
    };
    let text = "network,country\n1.0.0.0/24,AU\n\"2.0.0.0/16\",\"fr\",\"France\"\n\
                2001:db8::/32,FR\n1.0.1.0,1.0.3.255,CN\n";
    let contents = parse("f", text.as_bytes(), &reading(&["FR", "CN"])).unwrap();
    assert_eq!(
        contents.v4,
        [
            (v4("1.0.1.0"), v4("1.0.3.255")),
            (v4("2.0.0.0"), v4("2.0.255.255"))
        ]
    );
    assert_eq!(
        (contents.v6.len(), contents.left_out, contents.entries),
        (1, 1, 3)
    );
    assert_eq!(
        parse("f", text.as_bytes(), &reading(&[])).unwrap().entries,
        4
    );
    let wrong = |text: &str| {
        parse("f", text.as_bytes(), &reading(&[]))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        wrong("1.0.0.0/24"),
        "f:1: \"1.0.0.0/24\": expected prefix,country or first,last,country"
    );
    assert_eq!(
        wrong("1.0.0.0/24,Austria"),
        "f:1: \"Austria\": expected a country: two letters"
    );
    assert_eq!(
        wrong("1.0.0.0/24,AT\nnetwork,country"),
        "f:2: \"network\": expected an address, a prefix or a range first-last"
    );
    // Nothing of this country: a slip of the pen more likely than an empty country.
    assert!(parse("f", text.as_bytes(), &reading(&["XX"])).is_err());
}

#[test]
fn a_large_file_is_cut_at_line_ends_and_keeps_its_line_numbers() {
    let lines: Vec<String> = (0..100_000u32)
        .map(|n| Ipv4Addr::from(n.wrapping_mul(0x9e37_79b1)).to_string())
        .collect();
    let text = lines.join("\n");
    assert!(text.len() > 4 * PIECE);
    assert_eq!(read(Format::List, &text).unwrap().v4.len(), 100_000);
    let broken = text.replacen(&format!("\n{}\n", lines[77_776]), "\nbroken\n", 1);
    assert!(
        read(Format::List, &broken)
            .unwrap_err()
            .starts_with("f:77777: \"broken\"")
    );
    // The name of the set is held to across pieces.
    let mut saved: Vec<String> = lines.iter().map(|line| format!("add a {line}")).collect();
    assert_eq!(
        read(Format::Ipset, &saved.join("\n")).unwrap().v4.len(),
        100_000
    );
    for line in &mut saved[50_000..] {
        line.replace_range(4..5, "b");
    }
    let error = read(Format::Ipset, &saved.join("\n")).unwrap_err();
    let line: usize = error.split(':').nth(1).unwrap().parse().unwrap();
    assert!(
        (50_001..=60_000).contains(&line) && error.contains("\"b\""),
        "{error}"
    );
}

proptest! {
    #[test]
    fn entries_read_as_the_standard_library_reads_them(first: u32, length in 0u8..=32, span in 0u32..1000) {
        let address = Ipv4Addr::from(first);
        let one = read(Format::List, &address.to_string()).unwrap();
        prop_assert_eq!(one.v4, vec![(first, first)]);
        let host = u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
        let prefix = read(Format::List, &format!("{address}/{length}")).unwrap();
        prop_assert_eq!(prefix.v4, vec![(first & !host, first | host)]);
        let last = first.saturating_add(span);
        let range = read(Format::List, &format!("{address}-{}", Ipv4Addr::from(last))).unwrap();
        prop_assert_eq!(range.v4, vec![(first, last)]);
    }

    #[test]
    fn no_bytes_make_it_fail_otherwise_than_by_an_error(bytes: Vec<u8>, format in 0usize..3) {
        let reading = Reading { format: Format::NAMES[format].1, ..Reading::default() };
        if let Err(error) = parse("f", &bytes, &reading) {
            prop_assert!(error.line >= 1);
        }
    }

    #[test]
    fn a_set_of_ranges_is_the_union_of_its_lines(
        ranges in prop::collection::vec((0u32..300, 0u32..20), 1..40),
        key in 0u32..330,
    ) {
        let text: String = ranges
            .iter()
            .map(|&(first, span)| format!("{}-{}\n", Ipv4Addr::from(first), Ipv4Addr::from(first + span)))
            .collect();
        let contents = read(Format::List, &text).unwrap();
        let within = |&(first, last): &(u32, u32)| (first..=last).contains(&key);
        let expected = ranges.iter().any(|&(first, span)| within(&(first, first + span)));
        prop_assert_eq!(contents.v4.iter().any(within), expected);
        prop_assert!(contents.v4.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}
