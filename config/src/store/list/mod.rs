//! Listings: the ruleset as text, byte by byte as nft prints it.

mod element;
mod item;
mod object;

use std::fmt::Write as _;
use std::sync::Arc;

use sluice_dataplane::program::counters::Counters;

use super::errno::Errno;
use super::exec::{Done, Fail, Listed, missing_table, refuse, unknown_item};
use super::live::{self, Live};
use super::{Chain, Ruleset, Set, StoredElement, Table, Words, slots};
use crate::engine::{ListOptions, Profile};
use crate::model::print::print_element;
use crate::model::rule::PortNames;
use crate::model::{Family, ObjectKind, PrintOptions};
use crate::syntax::ast::{self, Command, ItemRef, Object, Scope, SetKeyword, TableRef, Which};
use crate::syntax::{Diagnostic, Span};

/// Prints parts of a ruleset.
pub struct Printer<'a> {
    ruleset: &'a Ruleset,
    counters: &'a Counters,
    live: &'a dyn Live,
    options: ListOptions,
    print: PrintOptions<'a>,
    now_ns: u64,
    reset: bool,
}

impl<'a> Printer<'a> {
    /// Prints with these options; `reset` sets to zero what was printed of counters and quotas.
    pub fn new(
        ruleset: &'a Ruleset,
        counters: &'a Counters,
        live: &'a dyn Live,
        options: ListOptions,
        now_ns: u64,
        reset: bool,
    ) -> Self {
        let print = PrintOptions {
            handle: options.handles,
            stateless: options.stateless,
            terse: options.terse,
            service: options.services,
            reverse_dns: options.names,
            guid: options.guid,
            numeric_priority: options.numeric > 0 || options.numeric_priorities,
            numeric_protocol: options.numeric > 0 || options.numeric_protocols,
            numeric_time: options.numeric > 0 || options.numeric_times,
            numeric_symbol: options.numeric > 0,
            ports: None,
        };
        Self {
            ruleset,
            counters,
            live,
            options,
            print,
            now_ns,
            reset,
        }
    }

    /// The same with interfaces by name instead of by number.
    #[must_use]
    pub fn with_ports(mut self, ports: &'a dyn PortNames) -> Self {
        self.print.ports = Some(ports);
        self
    }

    /// The answer to a `list` or `reset` command.
    ///
    /// # Errors
    /// When what is asked for is not there.
    pub fn command(&self, command: &Command, profile: &Profile) -> Done<String> {
        match &command.object {
            Object::Ruleset(family) => Ok(self.ruleset(*family)),
            Object::Tables(scope) => Ok(self.tables(scope)),
            Object::Table { table, .. } => Ok(self.table(self.find_table(table)?)),
            Object::Chains(scope) => self.each_table(scope, |table, out| {
                table
                    .chains
                    .values()
                    .for_each(|chain| self.chain_declaration(table, chain, out));
            }),
            Object::Chain { chain, .. } => self.chain_command(chain),
            Object::Rules { scope, chain } => self.rules(scope, chain.as_ref()),
            Object::Sets { keyword, scope } => self.each_table(scope, |table, out| {
                let fits = table.sets.values().filter(|set| is(set, *keyword));
                fits.for_each(|set| self.set(set, out));
            }),
            Object::Set { keyword, set, .. } => self.set_command(*keyword, set),
            Object::Statefuls { kind, scope } => self.each_object(*kind, scope),
            Object::Stateful { kind, object, .. } => {
                self.object_command(*kind, object, command.span)
            }
            Object::Flowtables(scope) => self.each_table(scope, |table, out| {
                table
                    .flowtables
                    .values()
                    .for_each(|flowtable| self.flowtable(flowtable, out));
            }),
            Object::Flowtable { flowtable, .. } => {
                let (table, name) = self.find_item(flowtable)?;
                match table.flowtable(&name.value) {
                    Some(found) => Ok(self.in_table(table, |out| self.flowtable(found, out))),
                    None => self.missing(table, Listed::Flowtable, name),
                }
            }
            Object::Hooks { family, device } => Ok(item::hooks(
                self.ruleset,
                *family,
                device.as_ref().map(|name| &*name.value),
                profile,
            )),
            _ => Err(Diagnostic::error(command.span, "this cannot be listed").into()),
        }
    }

    /// All tables, of one family if given.
    pub fn ruleset(&self, family: Option<Family>) -> String {
        let mut out = String::new();
        for table in self.selected(family) {
            out.push_str(&self.table(table));
        }
        out
    }

    fn selected(&self, family: Option<Family>) -> impl Iterator<Item = &'a Arc<Table>> {
        self.ruleset
            .tables
            .iter()
            .filter(move |table| family.is_none_or(|family| family == table.family))
    }

    fn tables(&self, scope: &Scope) -> String {
        let family = match scope {
            Scope::Family(family) => *family,
            Scope::Table(table) => Some(table.family),
        };
        let mut out = String::new();
        for table in self.selected(family) {
            let _ = writeln!(out, "table {} {}", table.family.keyword(), table.name);
        }
        out
    }

    fn find_table(&self, table: &TableRef) -> Done<&'a Arc<Table>> {
        let found = match &table.which {
            Which::Name(name) => self.ruleset.table(table.family, &name.value),
            Which::Handle(handle) => self
                .ruleset
                .tables
                .iter()
                .find(|known| known.handle == handle.value),
        };
        match (found, &table.which) {
            (Some(found), _) => Ok(found),
            (None, Which::Name(name)) => Err(no_entry(name.span)),
            (None, Which::Handle(handle)) => Err(no_entry(handle.span)),
        }
    }

    fn find_item<'b>(&self, item: &'b ItemRef) -> Done<(&'a Arc<Table>, &'b ast::Name)> {
        let Some(table) = self.ruleset.table(item.family, &item.table.value) else {
            return Err(no_entry(item.table.span));
        };
        match &item.which {
            Which::Name(name) => Ok((table, name)),
            Which::Handle(handle) => Err(no_entry(handle.span)),
        }
    }

    fn missing<T>(&self, table: &Arc<Table>, what: Listed, name: &ast::Name) -> Done<T> {
        Err(unknown_item(table, what, &name.value, name.span).into())
    }

    fn each_table(&self, scope: &Scope, f: impl Fn(&'a Table, &mut String)) -> Done<String> {
        let one = |table: &'a Arc<Table>| self.in_table(table, |out| f(table, out));
        match scope {
            Scope::Family(family) => Ok(self.selected(*family).map(one).collect()),
            Scope::Table(table) => Ok(one(self.find_table(table)?)),
        }
    }

    /// `table ip x {`, what `f` says, `}`.
    fn in_table(&self, table: &Table, f: impl FnOnce(&mut String)) -> String {
        let mut out = format!("table {} {} {{\n", table.family.keyword(), table.name);
        f(&mut out);
        out.push_str("}\n");
        out
    }

    /// A whole table.
    pub fn table(&self, table: &Table) -> String {
        let mut out = format!("table {} {} {{", table.family.keyword(), table.name);
        if self.options.handles {
            let _ = write!(out, " # handle {}", table.handle);
        }
        out.push('\n');
        let mut gap = "";
        if table.dormant || table.owner.is_some() {
            let flags = [(table.dormant, "dormant"), (table.owner.is_some(), "owner")];
            let names: Vec<&str> = flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, name)| *name)
                .collect();
            let _ = writeln!(out, "\tflags {}", names.join(","));
            gap = "\n";
        }
        if let Some(comment) = &table.comment {
            let _ = writeln!(out, "\tcomment \"{comment}\"");
        }
        let mut part = |out: &mut String| {
            out.push_str(gap);
            gap = "\n";
        };
        for object in table.objects.values() {
            part(&mut out);
            self.object(object, &mut out);
        }
        for set in table.sets.values().filter(|set| !set.spec.meter) {
            part(&mut out);
            self.set(set, &mut out);
        }
        for flowtable in table.flowtables.values() {
            part(&mut out);
            self.flowtable(flowtable, &mut out);
        }
        for chain in table.chains.values() {
            part(&mut out);
            self.chain(table, chain, &mut out);
        }
        out.push_str("}\n");
        out
    }

    fn chain_command(&self, chain: &ItemRef) -> Done<String> {
        let (table, name) = self.find_item(chain)?;
        match table.chain(&name.value) {
            Some(found) => Ok(self.in_table(table, |out| self.chain(table, found, out))),
            None => self.missing(table, Listed::Chain, name),
        }
    }

    fn rules(&self, scope: &Scope, chain: Option<&ast::Name>) -> Done<String> {
        match (scope, chain) {
            (Scope::Table(table), Some(name)) => {
                let table = self.find_table(table)?;
                match table.chain(&name.value) {
                    Some(found) => Ok(self.in_table(table, |out| self.chain(table, found, out))),
                    None => self.missing(table, Listed::Chain, name),
                }
            }
            _ => self.each_table(scope, |table, out| {
                let mut gap = "";
                for chain in table.chains.values() {
                    out.push_str(gap);
                    gap = "\n";
                    self.chain(table, chain, out);
                }
            }),
        }
    }

    fn chain(&self, table: &Table, chain: &Chain, out: &mut String) {
        item::chain_head(table, chain, &self.print, out);
        for rule in chain.rules.iter() {
            let body = slots::with_state(rule, self.counters, self.now_ns);
            out.push_str("\t\t");
            item::rule(&body, table.family, &self.print, out);
            if self.options.handles {
                let _ = write!(out, " # handle {}", rule.handle);
            }
            out.push('\n');
            if self.reset {
                slots::reset(rule, self.counters);
            }
        }
        out.push_str("\t}\n");
    }

    /// A rule as it stands now, without its handle.
    pub fn rule(&self, rule: &super::StoredRule, family: Family) -> String {
        let mut out = String::new();
        item::rule(
            &slots::with_state(rule, self.counters, self.now_ns),
            family,
            &self.print,
            &mut out,
        );
        out
    }

    /// What makes a chain a base chain, in one line.
    pub(super) fn hook(&self, table: &Table, chain: &Chain) -> Option<String> {
        let mut text = String::new();
        item::chain_head(table, chain, &self.print, &mut text);
        chain.base.as_ref()?;
        text.lines().last().map(|line| line.trim().to_owned())
    }

    /// The declaration of a set, line by line.
    pub(super) fn declaration(&self, set: &Set) -> Vec<String> {
        let terse = PrintOptions {
            terse: true,
            ..self.print
        };
        let mut text = String::new();
        element::set(set, &terse, self.now_ns, &mut text);
        inner_lines(&text)
    }

    /// An object's properties, line by line.
    pub(super) fn object_lines(&self, object: &super::Object) -> Vec<String> {
        let mut text = String::new();
        object::object(object, self.counters, &self.print, &mut text);
        inner_lines(&text)
    }

    /// An element.
    pub(super) fn element(
        &self,
        set: &Set,
        low: Option<&Words>,
        element: &StoredElement,
    ) -> String {
        let element = element::model_element(set, low, element, self.now_ns);
        print_element(&element, &self.print)
    }

    fn chain_declaration(&self, table: &Table, chain: &Chain, out: &mut String) {
        item::chain_head(table, chain, &self.print, out);
        out.push_str("\t}\n");
    }

    fn set_command(&self, keyword: SetKeyword, set: &ItemRef) -> Done<String> {
        let (table, name) = self.find_item(set)?;
        match table.set(&name.value) {
            Some(found) if is(found, keyword) => {
                Ok(self.in_table(table, |out| self.set(found, out)))
            }
            _ => self.missing(table, Listed::Set, name),
        }
    }

    /// A set inside its table, for `get element`.
    pub fn single_set(&self, table: &Table, set: &Set) -> String {
        // The kernel's answer has elements only; nft knows the rest but for the comment.
        let mut shown = set.clone();
        Arc::make_mut(&mut shown.spec).comment = None;
        self.in_table(table, |out| {
            element::set(&shown, &self.print, self.now_ns, out)
        })
    }

    fn set(&self, set: &Set, out: &mut String) {
        let elements = live::elements(set, self.live, self.now_ns);
        let shown = Set {
            elements,
            ..set.clone()
        };
        element::set(&shown, &self.print, self.now_ns, out);
    }

    fn each_object(&self, kind: ObjectKind, scope: &Scope) -> Done<String> {
        let one = |table: &'a Arc<Table>| {
            let found: Vec<_> = table
                .objects
                .values()
                .filter(|object| object.body.kind() == kind)
                .collect();
            // nft shows the tables of which it has got any object; resetting gets only those asked for.
            if table.objects.is_empty() || (self.reset && found.is_empty()) {
                return String::new();
            }
            self.in_table(table, |out| {
                found.iter().for_each(|object| self.object(object, out))
            })
        };
        match scope {
            Scope::Family(family) => Ok(self.selected(*family).map(one).collect()),
            Scope::Table(table) => Ok(one(self.find_table(table)?)),
        }
    }

    fn object_command(&self, kind: ObjectKind, object: &ItemRef, span: Span) -> Done<String> {
        // Of objects nft has all in its cache, so here it has tables to suggest.
        if self
            .ruleset
            .table(object.family, &object.table.value)
            .is_none()
            && !self.reset
        {
            return Err(missing_table(self.ruleset, &object.table.value, object.table.span).into());
        }
        let (table, name) = self.find_item(object)?;
        match table.object(kind, &name.value) {
            Some(found) => Ok(self.in_table(table, |out| self.object(found, out))),
            // The kernel is asked to reset, and it does not say what is missing.
            None if self.reset => refuse(span, Errno::NoEntry),
            None => self.missing(table, Listed::Object(kind), name),
        }
    }

    fn object(&self, object: &super::Object, out: &mut String) {
        object::object(object, self.counters, &self.print, out);
        if self.reset {
            object::reset(object, self.counters);
        }
    }

    fn flowtable(&self, flowtable: &super::Flowtable, out: &mut String) {
        item::flowtable(flowtable, &self.print, out);
    }
}

/// The lines between the first and the last one.
fn inner_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let inner = lines.get(1..lines.len().saturating_sub(1)).unwrap_or(&[]);
    inner.iter().map(|line| line.trim().to_owned()).collect()
}

fn no_entry(span: Span) -> Fail {
    Diagnostic::error(span, "No such file or directory").into()
}

fn is(set: &Set, keyword: SetKeyword) -> bool {
    match keyword {
        SetKeyword::Set => !set.is_map() && !set.spec.meter,
        SetKeyword::Map => set.is_map(),
        SetKeyword::Meter => set.spec.meter,
    }
}
