//! Commands, executed against a clone of the ruleset.
//!
//! nft works in two passes: it *checks* all commands against what it knows, and complains about all
//! that it does not understand; then the kernel *executes* them in order and each one that fails
//! is reported. Any complaint of the first pass hides those of the second. [`Transaction`] does both in one walk and
//! keeps the complaints apart. A command that failed leaves no trace but the elements before the one that
//! was refused; the ones behind it are tried all the same.

mod chain;
mod echo;
mod element;
pub mod interval;
mod object;
mod priority;
mod refused;
mod rule;
mod set;
mod suggest;
mod table;
pub mod updates;
mod validate;

use std::collections::HashMap;

pub(crate) use chain::rename_verdict;
pub(crate) use priority::print as print_priority;
pub(crate) use suggest::{Listed, table as missing_table, unknown_item};
pub use validate::Demand;

use super::errno::Errno;
use super::identity::Removed;
use super::list::Printer;
use super::live::Live;
use super::references::{MAX_DEPTH, Node};
use super::slots::SlotAllocator;
use super::{Name, Ruleset, Table, Words};
use crate::engine::{Change, ListOptions, Profile};
use crate::model::Family;
use crate::syntax::ast::{self, Command, ItemRef, Object, Op, Which};
use crate::syntax::{Diagnostic, SourceMap, Span};

/// Longest name, in bytes, of anything in a ruleset.
pub const MAX_NAME: usize = 255;

/// Why a command failed.
#[derive(Debug)]
pub enum Fail {
    /// The check complained; it may have several complaints.
    Check(Vec<Diagnostic>),
    /// The kernel would refuse.
    Kernel(Diagnostic),
}

impl From<Diagnostic> for Fail {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Check(vec![diagnostic])
    }
}

/// What a command yields.
pub type Done<T = ()> = Result<T, Fail>;

/// A refusal in the kernel's words.
pub(super) fn refuse<T>(span: Span, errno: Errno) -> Done<T> {
    Err(Fail::Kernel(Diagnostic::error(
        span,
        format!("Could not process rule: {}", errno.text()),
    )))
}

/// One request on its way.
pub struct Transaction<'a> {
    /// What would be committed.
    pub ruleset: Ruleset,
    /// Slots given so far.
    pub slots: SlotAllocator,
    /// What was removed.
    pub removed: Removed,
    /// For standard output.
    pub output: String,
    /// Whether anything would change.
    pub changed: bool,
    /// What would change.
    pub changes: Vec<Change>,
    /// Complaints of the check.
    pub check_errors: Vec<Diagnostic>,
    /// Refusals in the second pass.
    pub kernel_errors: Vec<Diagnostic>,
    /// Where the rules of this request were written.
    pub places: Vec<RulePlace>,
    /// Beside the errors.
    pub warnings: Vec<Diagnostic>,
    sources: &'a SourceMap,
    profile: &'a Profile,
    options: ListOptions,
    session: u64,
    now_ns: u64,
    check_only: bool,
    live: &'a dyn Live,
    lines: LineIndex,
    /// What there was before.
    before: Ruleset,
    /// nft asks the kernel for elements at once; one that is not there ends the request.
    missing: Option<Diagnostic>,
    /// Whether overlaps were looked for in the whole run of commands.
    looked_at: bool,
    /// By set: the timeouts of elements that the request gave others.
    timeouts: HashMap<super::Id, HashMap<Words, Option<u64>>>,
}

/// Where a rule was written.
#[derive(Clone, Copy, Debug)]
pub struct RulePlace {
    /// Its table.
    pub table: super::Id,
    /// Its handle.
    pub handle: u64,
    /// The text.
    pub span: Span,
}

/// What a request brings beside its commands.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What spans count in.
    pub sources: &'a SourceMap,
    /// The daemon.
    pub profile: &'a Profile,
    /// How to print.
    pub options: ListOptions,
    /// Who asks.
    pub session: u64,
    /// Monotonic time.
    pub now_ns: u64,
    /// Nothing may be set to zero.
    pub check_only: bool,
    /// What packets made of sets.
    pub live: &'a dyn Live,
}

impl<'a> Transaction<'a> {
    /// Begins on a clone.
    pub fn new(ruleset: Ruleset, slots: SlotAllocator, request: Surroundings<'a>) -> Self {
        Self {
            before: ruleset.clone(),
            ruleset,
            slots,
            removed: Removed::default(),
            output: String::new(),
            changed: false,
            changes: Vec::new(),
            check_errors: Vec::new(),
            kernel_errors: Vec::new(),
            warnings: Vec::new(),
            places: Vec::new(),
            sources: request.sources,
            profile: request.profile,
            options: request.options,
            session: request.session,
            now_ns: request.now_ns,
            check_only: request.check_only,
            live: request.live,
            lines: LineIndex::default(),
            missing: None,
            looked_at: false,
            timeouts: HashMap::new(),
        }
    }

    /// Why the request ended before the kernel was sent anything: an element that was asked for is not
    /// there.
    pub fn missing(&self) -> Option<&Diagnostic> {
        self.missing.as_ref()
    }

    /// Runs one command; complaints are kept.
    pub fn run(&mut self, command: &Command) {
        let outcome = match command.op {
            Op::Add | Op::Create => self.add(command),
            Op::Insert | Op::Replace => self.place(command),
            Op::Delete | Op::Destroy => self.delete(command),
            Op::Flush => self.flush(command),
            Op::Rename => self.rename(command),
            Op::Get | Op::List | Op::Reset => self.show(command),
            Op::Describe => self.describe(command),
            Op::Import | Op::Export => {
                not_supported(command, "import and export are not supported, use nft -j")
            }
            Op::Monitor => not_supported(command, "monitor cannot be part of a ruleset"),
        };
        match outcome {
            Ok(()) => {}
            Err(Fail::Check(complaints)) => self.check_errors.extend(complaints),
            Err(Fail::Kernel(complaint)) => self.kernel_errors.push(complaint),
        }
    }

    fn add(&mut self, command: &Command) -> Done {
        let create = command.op == Op::Create;
        match &command.object {
            Object::Table { table, body } => {
                self.add_table(table, body.as_deref(), create, command.span)
            }
            Object::Chain { chain, body } => {
                self.add_chain_command(chain, body.as_deref(), create, command.span)
            }
            Object::Rule {
                chain,
                position,
                rule: Some(rule),
            } => self.add_rule(chain, position.as_ref(), rule, false, command.span),
            Object::Set {
                keyword,
                set,
                body: Some(body),
            } => self.add_set(*keyword, set, body, create, command.span),
            Object::Elements { set, elements } => {
                self.add_elements(set, elements, create, command.span)
            }
            Object::Flowtable { flowtable, body } => {
                self.add_flowtable(flowtable, body.as_deref(), create, command.span)
            }
            Object::Stateful { kind, object, body } => self.add_object(
                *kind,
                object,
                body.as_ref().map(|body| &**body),
                create,
                command.span,
            ),
            _ => not_supported(command, "this cannot be added"),
        }
    }

    fn place(&mut self, command: &Command) -> Done {
        match (&command.object, command.op) {
            (
                Object::Rule {
                    chain,
                    position,
                    rule: Some(rule),
                },
                Op::Insert,
            ) => self.add_rule(chain, position.as_ref(), rule, true, command.span),
            (
                Object::Rule {
                    chain,
                    position: Some(position),
                    rule: Some(rule),
                },
                Op::Replace,
            ) => self.replace_rule(chain, position, rule, command.span),
            _ => not_supported(command, "only rules can be inserted or replaced"),
        }
    }

    fn delete(&mut self, command: &Command) -> Done {
        let lenient = command.op == Op::Destroy;
        match &command.object {
            Object::Table { table, .. } => self.delete_table(table, lenient),
            Object::Chain { chain, .. } => self.delete_chain(chain, lenient),
            Object::Rule {
                chain,
                position: Some(position),
                ..
            } => self.delete_rule(chain, position, lenient),
            // The kernel tells sets and maps by name alone.
            Object::Set { set, .. } => self.delete_set(set, lenient),
            Object::Elements { set, elements } => {
                self.delete_elements(set, elements, lenient, command.span)
            }
            Object::Flowtable { flowtable, .. } => self.delete_flowtable(flowtable, lenient),
            Object::Stateful { kind, object, .. } => self.delete_object(*kind, object, lenient),
            _ => not_supported(command, "this cannot be deleted"),
        }
    }

    fn flush(&mut self, command: &Command) -> Done {
        match &command.object {
            Object::Ruleset(family) => self.flush_ruleset(*family),
            Object::Table { table, .. } => self.flush_table(table),
            Object::Chain { chain, .. } => self.flush_chain(chain),
            Object::Set { keyword, set, .. } => self.flush_set(*keyword, set),
            _ => not_supported(command, "this cannot be flushed"),
        }
    }

    fn rename(&mut self, command: &Command) -> Done {
        match &command.object {
            Object::Rename { chain, to } => self.rename_chain(chain, to, command.span),
            _ => not_supported(command, "only chains can be renamed"),
        }
    }

    fn describe(&mut self, command: &Command) -> Done {
        let Object::Expr(expr) = &command.object else {
            return not_supported(command, "only expressions can be described");
        };
        self.output.push_str(&crate::describe::describe(expr));
        Ok(())
    }

    /// nft lists, and asks for elements, while it makes its batch: what it shows is as it was before.
    fn show(&mut self, command: &Command) -> Done {
        let text = if command.op == Op::Get
            && let Object::Elements { set, elements } = &command.object
        {
            match self.get_elements(set, elements, command.span) {
                Err(Fail::Kernel(complaint)) => {
                    self.missing.get_or_insert(complaint);
                    return Ok(());
                }
                other => other?,
            }
        } else {
            let ends = self.check_only || self.missing.is_some();
            let reset = command.op == Op::Reset && !ends && self.check_errors.is_empty();
            let listed = self.listed();
            self.printer_of(&listed, reset)
                .command(command, self.profile)?
        };
        if self.missing.is_none() {
            self.output.push_str(&text);
        }
        Ok(())
    }

    fn printer(&self, reset: bool) -> Printer<'_> {
        self.printer_of(&self.ruleset, reset)
    }

    fn printer_of<'s>(&'s self, ruleset: &'s Ruleset, reset: bool) -> Printer<'s> {
        let counters = self.slots.counters();
        Printer::new(
            ruleset,
            counters,
            self.live,
            self.options,
            self.now_ns,
            reset,
        )
        .with_ports(self.profile)
    }

    /// The table of an item, for change.
    fn table_mut(&mut self, family: Family, name: &ast::Name) -> Done<&mut Table> {
        let session = self.session;
        match self.ruleset.table_mut(family, &name.value) {
            Some(table) if table.owner.is_some_and(|owner| owner != session) => {
                refuse(name.span, Errno::NotPermitted)
            }
            Some(table) => Ok(table),
            None => refuse(name.span, Errno::NoEntry),
        }
    }

    /// The check's "there is no such table".
    fn checked_table(&self, family: Family, name: &ast::Name) -> Done<&Table> {
        match self.ruleset.table(family, &name.value) {
            Some(table) => Ok(table),
            None => Err(suggest::table(&self.ruleset, &name.value, name.span).into()),
        }
    }

    /// Refuses rules and elements that close a loop or nest too deep. `from` has new edges.
    fn check_jumps(&self, table: &Table, from: &Node, span: Span) -> Done {
        if table.references.loops(from) {
            return refuse(span, Errno::TooManyLinks);
        }
        let height = table.references.height(from);
        if height > MAX_DEPTH {
            return refuse(span, Errno::TooManyLinks);
        }
        for node in table.references.ancestors(from) {
            let Node::Chain(name) = &node else { continue };
            let is_base = table.chain(name).is_some_and(|chain| chain.base.is_some());
            if is_base && table.references.height(&node) > MAX_DEPTH {
                return refuse(span, Errno::TooManyLinks);
            }
        }
        Ok(())
    }

    fn line(&mut self, span: Span) -> u32 {
        self.lines.line(self.sources, span)
    }
}

fn not_supported(command: &Command, why: &str) -> Done {
    Err(Diagnostic::error(command.span, why).into())
}

/// The name of an item that is meant by name.
fn named(item: &ItemRef) -> Done<&ast::Name> {
    match &item.which {
        Which::Name(name) => Ok(name),
        Which::Handle(handle) => refuse(handle.span, Errno::NoEntry),
    }
}

fn shared(text: &str) -> Name {
    Name::from(text)
}

fn check_name(name: &ast::Name) -> Done {
    if name.value.len() > MAX_NAME {
        return refuse(name.span, Errno::NameTooLong);
    }
    Ok(())
}

/// Line numbers of spans, without counting from the beginning each time.
#[derive(Debug, Default)]
struct LineIndex {
    starts: HashMap<crate::syntax::SourceId, Vec<u32>>,
}

impl LineIndex {
    fn line(&mut self, sources: &SourceMap, span: Span) -> u32 {
        let starts = self.starts.entry(span.source).or_insert_with(|| {
            let text = sources.get(span.source).map_or("", |source| &*source.text);
            let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0)
                .chain(ends.map(|(at, _)| at as u32 + 1))
                .collect()
        });
        starts.partition_point(|start| *start <= span.start) as u32
    }
}
