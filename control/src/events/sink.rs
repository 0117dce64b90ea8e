//! Where log statements go beside the event stream: a file, the system log.
//!
//! Both take at most a configured number of lines a second together; what is above is counted
//! and reported in one line at the next second, so a log statement cannot fill a disk unseen.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use super::Follower;
use crate::api::wire::{Event, Happening};
use crate::appliance::Log;

/// Lets a bounded number of lines pass in each second.
#[derive(Debug)]
struct Limit {
    per_second: u32,
    second: u64,
    passed: u32,
    held: u64,
}

impl Limit {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            second: 0,
            passed: 0,
            held: 0,
        }
    }

    /// Whether a line at `time_ns` may pass, and how many were held back in earlier seconds.
    fn take(&mut self, time_ns: u64) -> (bool, u64) {
        let second = time_ns / 1_000_000_000;
        let mut reported = 0;
        if second != self.second {
            (self.second, self.passed) = (second, 0);
            reported = std::mem::take(&mut self.held);
        }
        if self.per_second != 0 && self.passed >= self.per_second {
            self.held += 1;
            return (false, reported);
        }
        self.passed += 1;
        (true, reported)
    }
}

/// The configured sinks.
pub struct Sinks {
    file: Option<File>,
    syslog: Option<Logger<LoggerBackend, Formatter3164>>,
    limit: Limit,
}

impl Sinks {
    /// Opens what `[log]` names; `None` when it names nothing.
    ///
    /// # Errors
    /// When the file cannot be opened or no system log listens.
    pub fn open(log: &Log) -> io::Result<Option<Self>> {
        let file = log.file.as_deref().map(append_to).transpose()?;
        let syslog = log.syslog.then(connect_syslog).transpose()?;
        if file.is_none() && syslog.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            file,
            syslog,
            limit: Limit::new(log.per_second),
        }))
    }

    /// Writes what comes until the hub is gone.
    pub async fn run(mut self, mut follower: Follower) {
        let mut failed = false;
        while let Some(event) = follower.next().await {
            let result = self.take(&event);
            if let Err(error) = &result
                && !failed
            {
                tracing::warn!(%error, "a log sink fails; log statements are lost until it recovers");
            }
            failed = result.is_err();
        }
    }

    fn take(&mut self, event: &Event) -> io::Result<()> {
        let (level, line) = match &event.what {
            Happening::Log { level, text, .. } => (*level, text.clone()),
            Happening::Lost { count } => (4, format!("{count} events lost: the log is too slow")),
            _ => return Ok(()),
        };
        let (pass, held) = self.limit.take(event.time_ns);
        if held > 0 {
            self.write(
                4,
                event.time_ns,
                &format!("{held} log lines held back by the limit"),
            )?;
        }
        if pass {
            self.write(level, event.time_ns, &line)
        } else {
            Ok(())
        }
    }

    fn write(&mut self, level: u8, time_ns: u64, line: &str) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let (seconds, nanos) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
            writeln!(file, "{seconds}.{:06} {line}", nanos / 1000)?;
        }
        if let Some(syslog) = &mut self.syslog {
            let sent = match level {
                0 => syslog.emerg(line),
                1 => syslog.alert(line),
                2 => syslog.crit(line),
                3 => syslog.err(line),
                4 => syslog.warning(line),
                5 => syslog.notice(line),
                6 => syslog.info(line),
                _ => syslog.debug(line),
            };
            sent.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("log.file: {}: {error}", path.display()),
            )
        })
}

fn connect_syslog() -> io::Result<Logger<LoggerBackend, Formatter3164>> {
    let formatter = Formatter3164 {
        facility: Facility::LOG_KERN,
        hostname: None,
        process: "sluice".into(),
        pid: std::process::id(),
    };
    syslog::unix(formatter).map_err(|error| io::Error::other(format!("log.syslog: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_back_and_reports() {
        let mut limit = Limit::new(2);
        let second = 1_000_000_000;
        assert_eq!(limit.take(5 * second), (true, 0));
        assert_eq!(limit.take(5 * second), (true, 0));
        assert_eq!(limit.take(5 * second + 1), (false, 0));
        assert_eq!(limit.take(5 * second + 2), (false, 0));
        assert_eq!(limit.take(6 * second), (true, 2));
        assert_eq!(limit.take(6 * second), (true, 0));
        assert_eq!(limit.take(6 * second), (false, 0));
    }

    #[test]
    fn no_limit_lets_everything_pass() {
        let mut limit = Limit::new(0);
        assert!((0..10_000).all(|_| limit.take(1) == (true, 0)));
    }

    #[test]
    fn log_statements_reach_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log {
            file: Some(path.clone()),
            per_second: 1,
            ..Log::default()
        };
        let mut sinks = Sinks::open(&log).unwrap().unwrap();
        let event = |time_ns, text: &str| Event {
            time_ns,
            what: Happening::Log {
                prefix: String::new(),
                level: 4,
                text: text.into(),
                in_port: String::new(),
                out_port: String::new(),
                length: 0,
            },
        };
        sinks.take(&event(1_000_000_000, "one")).unwrap();
        sinks.take(&event(1_000_000_001, "two")).unwrap();
        sinks.take(&event(2_500_000_000, "three")).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            text,
            "1.000000 one\n2.500000 1 log lines held back by the limit\n2.500000 three\n"
        );
    }
}
