//! What the playground saw: one line per check, as a table or as JSON.

use std::fmt;

use serde::Serialize;

/// One thing that the policy says, and what was seen at the receiving host.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was tried.
    pub name: String,
    /// What the policy says about it.
    pub expected: String,
    /// What the receiving host saw.
    pub observed: String,
    /// Whether the two agree.
    pub ok: bool,
}

impl Check {
    /// A check of something that has to arrive.
    pub fn passes(name: &str, observed: Result<String, String>) -> Self {
        let ok = observed.is_ok();
        let observed = observed.unwrap_or_else(|why| why);
        Self {
            name: name.to_owned(),
            expected: "passes".to_owned(),
            observed,
            ok,
        }
    }

    /// A check of something that must not arrive.
    pub fn blocked(name: &str, observed: Result<String, String>) -> Self {
        let ok = observed.is_ok();
        let observed = observed.unwrap_or_else(|why| why);
        Self {
            name: name.to_owned(),
            expected: "is dropped".to_owned(),
            observed,
            ok,
        }
    }

    /// A check of a counter that has to move.
    pub fn counts(name: &str, packets: Option<u64>) -> Self {
        let observed = match packets {
            Some(packets) => format!("{packets} packets"),
            None => "no such counter".to_owned(),
        };
        Self {
            name: name.to_owned(),
            expected: "counts".to_owned(),
            observed,
            ok: packets.is_some_and(|n| n > 0),
        }
    }
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The playground.
    pub scene: String,
    /// Every check, in the order in which it was made.
    pub checks: Vec<Check>,
    /// Where the firewall's metrics are (inside its namespace).
    pub metrics_url: String,
    /// Whether every check went as the policy says.
    pub passed: bool,
}

impl Report {
    /// A report of these checks.
    pub fn new(scene: &str, checks: Vec<Check>, metrics_url: String) -> Self {
        let passed = checks.iter().all(|check| check.ok);
        Self {
            scene: scene.to_owned(),
            checks,
            metrics_url,
            passed,
        }
    }

    /// Whether every check went as the policy says.
    pub fn passed(&self) -> bool {
        self.passed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Check) -> &str, title: &str| {
            self.checks
                .iter()
                .map(|check| column(check).chars().count())
                .max()
                .unwrap_or(0)
                .max(title.len())
        };
        let name = width(|check| &check.name, "traffic");
        let expected = width(|check| &check.expected, "policy");
        writeln!(
            f,
            "     {:<name$}  {:<expected$}  seen at the receiver",
            "traffic", "policy"
        )?;
        for check in &self.checks {
            let mark = if check.ok { "ok   " } else { "FAIL " };
            writeln!(
                f,
                "{mark}{:<name$}  {:<expected$}  {}",
                check.name, check.expected, check.observed
            )?;
        }
        let failed = self.checks.iter().filter(|check| !check.ok).count();
        writeln!(
            f,
            "\nmetrics: {} (in the firewall's namespace)",
            self.metrics_url
        )?;
        if failed == 0 {
            writeln!(
                f,
                "{}: all {} checks went as the policy says",
                self.scene,
                self.checks.len()
            )
        } else {
            writeln!(
                f,
                "{}: {failed} of {} checks did NOT go as the policy says",
                self.scene,
                self.checks.len()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_fails_the_report_and_is_shown() {
        let good = Check::passes("ping", Ok("3 of 3".into()));
        let bad = Check::blocked("udp/5001", Err("2 datagrams arrived".into()));
        let report = Report::new(
            "wire",
            vec![good.clone(), bad],
            "http://127.0.0.1:1/metrics".into(),
        );
        assert!(!report.passed());
        assert!(report.to_string().contains("FAIL udp/5001"));
        assert!(Report::new("wire", vec![good], String::new()).passed());
    }
}
