//! `-e`: what was added, as a command that would add it, with the handle that it got.

use std::fmt::Write as _;

use super::Transaction;

impl Transaction<'_> {
    /// A rule.
    pub(super) fn echo_rule(&mut self, index: usize, chain: &str, handle: u64, keyword: &str) {
        let table = &self.ruleset.tables[index];
        let found = table
            .chain(chain)
            .and_then(|chain| chain.rules.iter().find(|rule| rule.handle == handle));
        let Some(rule) = found else { return };
        let printer = self.printer(false);
        let text = printer.rule(rule, table.family);
        let mut line = format!(
            "{keyword} rule {} {} {chain} {text}",
            table.family.keyword(),
            table.name
        );
        if self.options.handles {
            let _ = write!(line, " # handle {handle}");
        }
        line.push('\n');
        self.output.push_str(&line);
    }
}
