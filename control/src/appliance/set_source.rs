//! `[[set-source]]`: sets whose elements come from files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use sluice_config::engine::SetPlace;
use sluice_config::model::Family;
use sluice_config::set_file::{Format, Reading};

use super::SetSource;
use super::section::{Placed, Section};

/// Families of tables, as nft writes them.
const FAMILIES: [(&str, Family); 6] = [
    ("ip", Family::Ip),
    ("ip6", Family::Ip6),
    ("inet", Family::Inet),
    ("arp", Family::Arp),
    ("bridge", Family::Bridge),
    ("netdev", Family::Netdev),
];

/// Reads all of them.
pub(super) fn read(sections: Vec<Section<'_, '_>>) -> Vec<SetSource> {
    let mut sources: Vec<SetSource> = Vec::new();
    for section in sections {
        let (file, span) = (section.source, section.span.clone());
        let Some(source) = one(section) else {
            continue;
        };
        if sources.iter().any(|known| known.place == source.place) {
            let message = format!("set {} has a source already", source.place);
            file.error(span, "set-source.set", message);
        }
        sources.push(source);
    }
    sources
}

fn one(mut section: Section<'_, '_>) -> Option<SetSource> {
    let family = section.word("family", &FAMILIES, &[]).unwrap_or(Family::Ip);
    let table = section.string("table");
    let set = section.string("set");
    let path = section.string("file");
    let format = section.word("format", &Format::NAMES, &[]);
    let countries = section.strings("country").unwrap_or_default();
    let ipset = section.string("ipset");
    let watch = section.boolean("watch").unwrap_or(false);
    let required = section.boolean("required").unwrap_or(false);
    let allow_empty = section.boolean("allow_empty").unwrap_or(false);
    for (key, value, why) in [
        ("table", &table, "the table of the set"),
        ("set", &set, "the set that the file fills"),
        ("file", &path, "the file that has the elements"),
    ] {
        if value.is_none() {
            section.missing(key, why);
        }
    }
    let format = format.unwrap_or_default();
    let alone = |placed: &Placed<String>, wanted, word: &str| {
        if format != wanted {
            let message = format!("only files of format = \"{word}\" have this");
            section
                .source
                .error(placed.span.clone(), &placed.key, message);
        }
    };
    countries
        .iter()
        .for_each(|country| alone(country, Format::Csv, "csv"));
    ipset
        .iter()
        .for_each(|ipset| alone(ipset, Format::Ipset, "ipset"));
    let countries = read_countries(&section, countries);
    section.finish();
    Some(SetSource {
        place: SetPlace {
            family,
            table: table?.value,
            set: set?.value,
        },
        file: PathBuf::from(path?.value),
        reading: Reading {
            format,
            countries,
            ipset: ipset.map(|ipset| ipset.value),
            allow_empty,
        },
        watch,
        required,
    })
}

fn read_countries(section: &Section<'_, '_>, given: Vec<Placed<String>>) -> BTreeSet<String> {
    let mut countries = BTreeSet::new();
    for country in given {
        let letters =
            country.value.len() == 2 && country.value.bytes().all(|b| b.is_ascii_alphabetic());
        if !letters {
            let message = format!("\"{}\" is no country: two letters", country.value);
            section.source.error(country.span, &country.key, message);
        }
        countries.insert(country.value.to_ascii_uppercase());
    }
    countries
}
