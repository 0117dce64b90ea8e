//! Durations, dates and hours of the day, as nft reads and prints them. Dates and hours are UTC.

use std::fmt::Write as _;

const UNITS_MS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `1d2h3m4s5ms`, or a bare number of seconds, in milliseconds.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    let mut rest = text;
    let mut total = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..]
            .bytes()
            .take_while(u8::is_ascii_alphabetic)
            .count();
        let unit = &rest[digits..digits + letters];
        let factor = UNITS_MS.iter().find(|(name, _)| *name == unit)?.1;
        total = total.checked_add(count.checked_mul(factor)?)?;
        rest = &rest[digits + letters..];
    }
    Some(total)
}

/// Milliseconds as `1d2h3m4s5ms`; zero is `0s`.
pub fn print_duration_ms(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = ms;
    for (name, factor) in UNITS_MS {
        if rest >= factor {
            let _ = write!(out, "{}{name}", rest / factor);
            rest %= factor;
        }
    }
    out
}

/// `2024-01-31 10:00:00`, `2024-01-31 10:00`, `2024-01-31`, or seconds since 1970, in nanoseconds.
pub fn parse_date_ns(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000);
    }
    let (date, clock) = match text.trim().split_once(' ') {
        Some((date, clock)) => (date, Some(clock)),
        None => (text.trim(), None),
    };
    let mut parts = date.split('-');
    // What fits into 64 bits of nanoseconds.
    let year = parts
        .next()?
        .parse::<i64>()
        .ok()
        .filter(|y| (1970..=2553).contains(y))?;
    let month: i64 = parts
        .next()?
        .parse()
        .ok()
        .filter(|m| (1..=12).contains(m))?;
    let day: i64 = parts
        .next()?
        .parse()
        .ok()
        .filter(|d| (1..=31).contains(d))?;
    if parts.next().is_some() {
        return None;
    }
    let seconds = match clock {
        Some(clock) => u64::from(parse_clock(clock)?),
        None => 0,
    };
    let days = u64::try_from(days_from_civil(year, month, day)).ok()?;
    (days * 86_400 + seconds).checked_mul(1_000_000_000)
}

/// Nanoseconds since 1970 as `2024-01-31 10:00:00`.
pub fn print_date_ns(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
    let clock = seconds % 86_400;
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

/// `10:00`, `10:00:30`, or seconds, as the second of the day.
pub fn parse_hour_s(text: &str) -> Option<u32> {
    if let Ok(seconds) = text.parse::<u32>() {
        return (seconds < 86_400).then_some(seconds);
    }
    parse_clock(text)
}

/// The second of the day as `10:00`, with seconds only when there are any.
pub fn print_hour_s(second: u32) -> String {
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    if s == 0 {
        format!("{h:02}:{m:02}")
    } else {
        format!("{h:02}:{m:02}:{s:02}")
    }
}

fn parse_clock(text: &str) -> Option<u32> {
    let mut parts = text.split(':');
    let hour: u32 = parts.next()?.parse().ok().filter(|h| *h < 24)?;
    let minute: u32 = parts.next()?.parse().ok().filter(|m| *m < 60)?;
    let second: u32 = match parts.next() {
        Some(s) => s.parse().ok().filter(|s| *s < 60)?,
        None => 0,
    };
    parts
        .next()
        .is_none()
        .then_some(hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for text in ["1d2h3m4s5ms", "5s", "1d", "90ms"] {
            assert_eq!(print_duration_ms(parse_duration_ms(text).unwrap()), text);
        }
        assert_eq!(parse_duration_ms("30"), Some(30_000));
        assert_eq!(parse_duration_ms("5x"), None);
    }

    #[test]
    fn dates_round_trip() {
        for text in [
            "2023-11-14 22:13:20",
            "1970-01-01 00:00:00",
            "2024-02-29 23:59:59",
        ] {
            assert_eq!(print_date_ns(parse_date_ns(text).unwrap()), text);
        }
        assert_eq!(parse_date_ns("1700000000"), Some(1_700_000_000_000_000_000));
    }
}
