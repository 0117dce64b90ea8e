//! Runtime sets of named sets and maps, made from the elements that commands gave them.

use std::sync::Arc;

use sluice_dataplane::program::ChainId;
use sluice_dataplane::program::small_set::{SmallElement, SmallSet};

use super::error::Cause;
use super::lower::{Lowering, Shared, StateCursor};
use super::sets::{SetKey, desc_of};
use super::value::columns;
use crate::model::expr::DataType;
use crate::store::{ElementData, Id, RuleSlots, Set, StoredElement};

impl Shared<'_> {
    /// Gives a named set its index, and makes its runtime set if its elements have changed.
    pub(super) fn named(&mut self, set: &Set) -> Result<(), Cause> {
        let desc = desc_of(&set.spec.key, set.spec.data.as_ref())?;
        let id = self
            .sets
            .number(SetKey::Named(set.id), &desc, self.now, self.tables)?;
        if self.sets.is_current(id, &set.elements) {
            return Ok(());
        }
        if set.spec.dynamic || set.spec.timeout || !set.spec.stmts.is_empty() {
            return Err(Cause::unsupported(format!("the dynamic set {}", set.name)));
        }
        let slots = RuleSlots::default();
        let mut cursor = StateCursor::default();
        let mut lowering = Lowering::new(self, Id(0), &slots, &mut cursor);
        let mut chains = Vec::new();
        let mut elements = Vec::with_capacity(set.elements.len());
        for (low, element) in &set.elements.map {
            let data = lowering.element_data(element, set.spec.data.as_ref(), &mut chains)?;
            let high = element.high.as_ref().map_or(low, |high| high);
            elements.push(SmallElement {
                low: low.to_vec(),
                high: high.to_vec(),
                data,
            });
        }
        if let Some(element) = &set.elements.catch_all {
            let data = lowering.element_data(element, set.spec.data.as_ref(), &mut chains)?;
            elements.push(SmallElement {
                low: Vec::new(),
                high: Vec::new(),
                data,
            });
        }
        let fields: Vec<usize> = set
            .spec
            .key
            .parts
            .iter()
            .map(|part| columns(part.bits))
            .collect();
        let refused = || Cause::Set {
            name: set.name.to_string(),
            reason: "elements do not fit its type".to_owned(),
        };
        let built = SmallSet::new(&fields, desc.data, elements).ok_or_else(refused)?;
        self.sets.put(id, Arc::new(built), chains);
        self.sets.set_current(id, &set.elements);
        Ok(())
    }
}

impl Lowering<'_, '_> {
    fn element_data(
        &mut self,
        element: &StoredElement,
        data: Option<&DataType>,
        chains: &mut Vec<ChainId>,
    ) -> Result<Vec<u32>, Cause> {
        let missing = || Cause::Set {
            name: String::new(),
            reason: "an element without data".into(),
        };
        let Some(data) = data else {
            return Ok(Vec::new());
        };
        match (data, element.data.as_deref().ok_or_else(missing)?) {
            (DataType::Interval(_), ElementData::Value(low, high)) => {
                let high = high.as_ref().unwrap_or(low);
                Ok(low.iter().chain(high).copied().collect())
            }
            (_, ElementData::Value(words, _)) => Ok(words.to_vec()),
            (_, ElementData::Verdict(verdict)) => Ok(vec![self.verdict_word(verdict, chains)?]),
            (DataType::Object(kind), ElementData::Object(name)) => {
                Ok(vec![self.object_word(*kind, name)?])
            }
            _ => Err(missing()),
        }
    }
}
