//! Tables: add with everything in the block, delete, flush.

use super::echo::News;
use super::suggest::{self, Noun};
use super::{Done, Errno, Transaction, check_name, refuse, shared};
use crate::model::Family;
use crate::store::references::Node;
use crate::store::table::Table;
use crate::syntax::Span;
use crate::syntax::ast::{ItemRef, Name, TableBody, TableFlag, TableRef, Which};
use std::sync::Arc;

impl Transaction<'_> {
    pub(super) fn add_table(
        &mut self,
        table: &TableRef,
        body: Option<&TableBody>,
        create: bool,
        span: Span,
    ) -> Done {
        let Which::Name(name) = &table.which else {
            return refuse(table.which.span(), Errno::NoEntry);
        };
        check_name(name)?;
        let session = self.session;
        let flag =
            |flag| body.is_some_and(|body| body.flags.iter().any(|known| known.value == flag));
        if let Some(known) = self.ruleset.table(table.family, &name.value) {
            if create {
                return refuse(name.span, Errno::Exists);
            }
            if known.owner.is_some_and(|owner| owner != session) {
                return refuse(name.span, Errno::NotPermitted);
            }
            if flag(TableFlag::Owner) && known.owner.is_none() {
                return refuse(span, Errno::NotSupported);
            }
            // The kernel takes a table without a body for a table without flags.
            if known.dormant != flag(TableFlag::Dormant) {
                let dormant = flag(TableFlag::Dormant);
                self.table_mut(table.family, name)?.dormant = dormant;
                self.changed = true;
            }
        } else {
            self.ruleset.last_table_handle += 1;
            let mut new = Table::new(
                table.family,
                shared(&name.value),
                self.ruleset.last_table_handle,
            );
            new.dormant = flag(TableFlag::Dormant);
            new.owner = flag(TableFlag::Owner).then_some(session);
            new.comment = body
                .and_then(|body| body.comment.as_ref())
                .map(|comment| shared(&comment.value));
            self.ruleset.tables.push(Arc::new(new));
            self.changed = true;
            self.announce(self.ruleset.tables.len() - 1, News::Table);
        }
        if let Some(body) = body {
            self.fill_table(table.family, name, body);
        }
        Ok(())
    }

    /// The contents of a block, in the order in which nft takes them apart.
    fn fill_table(&mut self, family: Family, table: &Name, body: &TableBody) {
        let item = |name: &Name| ItemRef {
            family,
            table: table.clone(),
            which: Which::Name(name.clone()),
        };
        for chain in &body.chains {
            let outcome = self.add_chain(
                &item(&chain.name),
                Some(&chain.body),
                false,
                chain.name.span,
            );
            self.keep(outcome);
        }
        for object in &body.objects {
            let outcome = self.add_object(
                object.kind,
                &item(&object.name),
                Some(&object.body),
                false,
                object.name.span,
            );
            self.keep(outcome);
        }
        for set in &body.sets {
            let outcome = self.add_set(
                set.keyword,
                &item(&set.name),
                &set.body,
                false,
                set.name.span,
            );
            self.keep(outcome);
        }
        for flowtable in &body.flowtables {
            let outcome = self.add_flowtable(
                &item(&flowtable.name),
                Some(&flowtable.body),
                false,
                flowtable.name.span,
            );
            self.keep(outcome);
        }
        for chain in &body.chains {
            let place = item(&chain.name);
            for rule in &chain.body.rules {
                let outcome = self.add_rule(&place, None, rule, false, rule.span);
                self.keep(outcome);
            }
        }
    }

    pub(super) fn keep(&mut self, outcome: Done) {
        match outcome {
            Ok(()) => {}
            Err(super::Fail::Check(complaints)) => self.check_errors.extend(complaints),
            Err(super::Fail::Kernel(complaint)) => self.kernel_errors.push(complaint),
        }
    }

    fn find_table(&self, table: &TableRef) -> Done<usize> {
        let found = match &table.which {
            Which::Name(name) => self.ruleset.position(table.family, &name.value),
            Which::Handle(handle) => {
                let fits = |known: &Arc<Table>| {
                    known.handle == handle.value && known.family == table.family
                };
                self.ruleset.tables.iter().position(fits)
            }
        };
        match (found, &table.which) {
            (Some(index), _) => {
                if self.ruleset.tables[index]
                    .owner
                    .is_some_and(|owner| owner != self.session)
                {
                    return refuse(table.which.span(), Errno::NotPermitted);
                }
                Ok(index)
            }
            (None, Which::Name(name)) => Err(suggest::missing_table(&self.ruleset, name)),
            (None, Which::Handle(handle)) => refuse(handle.span, Errno::NoEntry),
        }
    }

    pub(super) fn delete_table(&mut self, table: &TableRef, lenient: bool) -> Done {
        let index = match self.find_table(table) {
            Ok(index) => index,
            Err(_) if lenient => return Ok(()),
            Err(fail) => return Err(fail),
        };
        self.remove_table(index);
        Ok(())
    }

    fn remove_table(&mut self, index: usize) {
        let table = self.ruleset.tables.remove(index);
        for chain in table.chains.values() {
            for rule in chain.rules.iter() {
                self.removed
                    .rule(table.family, &table.name, &chain.name, rule.clone());
            }
        }
        for set in table.sets.values() {
            self.removed.set(table.family, &table.name, set.clone());
        }
        for object in table.objects.values() {
            self.removed
                .object(table.family, &table.name, object.clone());
        }
        self.changed = true;
        self.note_deleted("table", || {
            format!("delete table {} {}", table.family.keyword(), table.name)
        });
    }

    pub(super) fn flush_ruleset(&mut self, family: Option<Family>) -> Done {
        let mut index = 0;
        while let Some(table) = self.ruleset.tables.get(index) {
            let foreign = table.owner.is_some_and(|owner| owner != self.session);
            if foreign || family.is_some_and(|family| family != table.family) {
                index += 1;
            } else {
                self.remove_table(index);
            }
        }
        Ok(())
    }

    /// Removes the rules of all chains.
    pub(super) fn flush_table(&mut self, table: &TableRef) -> Done {
        let index = match (self.find_table(table), &table.which) {
            // nft has no tables in its cache here, so it suggests none.
            (Err(_), Which::Name(name))
                if self.ruleset.table(table.family, &name.value).is_none() =>
            {
                return refuse(name.span, Errno::NoEntry);
            }
            (found, _) => found?,
        };
        let names: Vec<_> = self.ruleset.tables[index]
            .chains
            .values()
            .map(|chain| chain.name.clone())
            .collect();
        for name in names {
            self.empty_chain(index, &name);
        }
        Ok(())
    }

    pub(super) fn flush_chain(&mut self, chain: &ItemRef) -> Done {
        let name = super::named(chain)?;
        self.table_mut(chain.family, &chain.table)?;
        let index = self.ruleset.position(chain.family, &chain.table.value);
        let Some(index) =
            index.filter(|&index| self.ruleset.tables[index].chain(&name.value).is_some())
        else {
            // nft has no chains in its cache here, so it suggests none.
            return refuse(name.span, Errno::NoEntry);
        };
        self.empty_chain(index, &name.value);
        Ok(())
    }

    fn empty_chain(&mut self, index: usize, name: &str) {
        if self.ruleset.tables[index]
            .chain(name)
            .is_none_or(|chain| chain.rules.is_empty())
        {
            return;
        }
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        let (family, table_name) = (table.family, table.name.clone());
        table.references.forget(&Node::Chain(shared(name)));
        let Some(chain) = table.chain_mut(name) else {
            return;
        };
        let (chain_name, chunks) = (chain.name.clone(), chain.rules.clear());
        for rule in chunks.iter().flat_map(|chunk| &chunk.rules) {
            self.removed
                .rule(family, &table_name, &chain_name, rule.clone());
        }
        self.changed = true;
        self.drop_unused_meters(index, &chunks);
    }

    /// The table of an item in the second pass, by place.
    pub(super) fn place_of(&self, item: &ItemRef, noun: Noun) -> Done<usize> {
        let name = item.which.name().map_or("", |name| &name.value);
        match self.ruleset.position(item.family, &item.table.value) {
            Some(index) => {
                if self.ruleset.tables[index]
                    .owner
                    .is_some_and(|owner| owner != self.session)
                {
                    return refuse(item.table.span, Errno::NotPermitted);
                }
                Ok(index)
            }
            None => Err(suggest::missing(
                &self.ruleset,
                noun,
                item.family,
                &item.table,
                name,
                item.table.span,
            )),
        }
    }
}
