//! Elements of named sets and maps.
//!
//! Kept compactly, by smallest key, in a persistent ordered map: an edit of one costs the same among
//! ten and among a million, and a clone costs nothing. What the packet path added or changed is not
//! here but in the runtime set.
//!
//! Limits: whether ranges of a concatenation overlap is looked at up to
//! [`Elements::MAX_COMPARED`] elements; in larger sets only equal elements are found.

mod again;

use std::sync::Arc;

use imbl::OrdMap;
use smallvec::SmallVec;

use super::Name;
use super::exec::rename_verdict;
use crate::model::Element;
use crate::model::expr::{Expr, ExprKind, KeyPart, SetType, Verdict};
use crate::model::stmt::Stmt;

/// The words of a key: each part takes `ceil(bits / 32)`, most significant first, parts side by
/// side. Exactly the columns that the packet path compares.
pub type Words = SmallVec<[u32; 4]>;

/// Elements by smallest key.
#[derive(Clone, Debug, Default)]
pub struct Elements {
    /// All but the catch-all.
    pub map: OrdMap<Words, StoredElement>,
    /// `*`.
    pub catch_all: Option<StoredElement>,
    /// Grows with every edit: same number, same elements.
    pub version: u64,
    /// Grows each time that all were removed, also those that packets had added.
    pub cleared: u64,
    /// What packets had added and a command took away.
    pub gone: Arc<Gone>,
    order: u32,
}

/// Keys of elements that packets had added and that the newest transaction on the set removed.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// Another number, other keys; 0 for none.
    pub number: u64,
    /// First and last words.
    pub keys: Vec<(Words, Words)>,
}

/// An element without its smallest key.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredElement {
    /// Largest key, where it is not the smallest: ranges and prefixes, word by word of the parts.
    pub high: Option<Box<Words>>,
    /// What a map yields.
    pub data: Option<Arc<ElementData>>,
    /// What few elements have.
    pub extra: Option<Arc<ElementExtra>>,
    /// Grows with every element that is added; sets of ranges of concatenations list in this order.
    pub order: u32,
}

/// What an element maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementData {
    /// A value, and the largest one of a range.
    Value(Words, Option<Words>),
    /// A verdict.
    Verdict(Verdict),
    /// An object's name.
    Object(Name),
}

/// What few elements have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementExtra {
    /// Its own `timeout`, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Monotonic time at which it expires.
    pub expires_at_ns: Option<u64>,
    /// Its comment.
    pub comment: Option<Name>,
    /// Its statements.
    pub stmts: Vec<Stmt>,
}

/// Why an element was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The same key is there.
    Same,
    /// The same key is there with other data.
    OtherData,
    /// It overlaps with one that is there.
    Overlap,
}

/// Words of a value of so many bits.
pub fn push_words(words: &mut Words, value: u128, bits: u16) {
    let count = bits.div_ceil(32).max(1);
    for word in (0..count).rev() {
        words.push((value >> (32 * word)) as u32);
    }
}

/// Values of the parts, from their words.
pub fn values(words: &[u32], parts: &[KeyPart]) -> Vec<u128> {
    let mut at = 0;
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        let count = usize::from(part.bits.div_ceil(32).max(1));
        let bytes = words.get(at..at + count).unwrap_or(&[]);
        all.push(
            bytes
                .iter()
                .fold(0, |value, word| value << 32 | u128::from(*word)),
        );
        at += count;
    }
    all
}

/// Smallest and largest value of a constant expression, part by part.
pub fn bounds(expr: &Expr) -> (Words, Option<Words>) {
    let (mut low, mut high) = (Words::new(), Words::new());
    push_bounds(expr, &mut low, &mut high);
    let range = low != high;
    (low, range.then_some(high))
}

fn push_bounds(expr: &Expr, low: &mut Words, high: &mut Words) {
    match &expr.kind {
        ExprKind::Concat(parts) => parts.iter().for_each(|part| push_bounds(part, low, high)),
        ExprKind::Prefix { value, len } => {
            let free = expr.bits.saturating_sub(*len);
            let host = if free >= 128 {
                u128::MAX
            } else {
                (1 << free) - 1
            };
            push_words(low, value & !host, expr.bits);
            push_words(high, value | host, expr.bits);
        }
        ExprKind::Range { lo, hi } => {
            push_words(low, *lo, expr.bits);
            push_words(high, *hi, expr.bits);
        }
        ExprKind::Value(value) => {
            push_words(low, *value, expr.bits);
            push_words(high, *value, expr.bits);
        }
        _ => {}
    }
}

/// The expression that nft shows for smallest and largest words.
pub fn expression(low: &[u32], high: Option<&[u32]>, ty: &SetType) -> Expr {
    let lows = values(low, &ty.parts);
    let highs = high.map_or_else(|| lows.clone(), |high| values(high, &ty.parts));
    let mut parts: Vec<Expr> = ty
        .parts
        .iter()
        .zip(lows)
        .zip(highs)
        .map(|((part, lo), hi)| part_expression(part, lo, hi))
        .collect();
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let bits = parts.iter().map(|part| part.bits).sum();
    Expr {
        ty: crate::model::TypeId::Concat,
        bits,
        order: crate::model::ByteOrder::Big,
        kind: ExprKind::Concat(parts),
    }
}

fn part_expression(part: &KeyPart, lo: u128, hi: u128) -> Expr {
    let like = Expr {
        ty: part.ty,
        bits: part.bits,
        order: part.order,
        kind: ExprKind::CatchAll,
    };
    crate::model::elements::from_bounds(&like, lo, hi)
}

impl StoredElement {
    /// From a checked element; times count from now.
    pub fn new(
        element: &Element,
        default_timeout_ms: Option<u64>,
        now_ns: u64,
    ) -> (Option<Words>, Self) {
        let catch_all = matches!(element.key.kind, ExprKind::CatchAll);
        let (low, high) = match catch_all {
            true => (None, None),
            false => {
                let (low, high) = bounds(&element.key);
                (Some(low), high)
            }
        };
        let data = match (&element.object, &element.data) {
            (Some(name), _) => Some(ElementData::Object(Name::from(&**name))),
            (
                None,
                Some(Expr {
                    kind: ExprKind::Verdict(verdict),
                    ..
                }),
            ) => Some(ElementData::Verdict(verdict.clone())),
            (None, Some(data)) => {
                let (low, high) = bounds(data);
                Some(ElementData::Value(low, high))
            }
            (None, None) => None,
        };
        let timeout_ms = element
            .timeout_ms
            .or(default_timeout_ms)
            .filter(|timeout| *timeout > 0);
        let left_ms = element
            .expires_ms
            .filter(|_| timeout_ms.is_some())
            .or(timeout_ms);
        let extra = ElementExtra {
            timeout_ms: element.timeout_ms,
            expires_at_ns: left_ms
                .map(|left| now_ns.saturating_add(left.saturating_mul(1_000_000))),
            comment: element.comment.as_deref().map(Name::from),
            stmts: element.stmts.clone(),
        };
        let plain = extra == ElementExtra::default();
        let stored = Self {
            high: high.map(Box::new),
            data: data.map(Arc::new),
            extra: (!plain).then(|| Arc::new(extra)),
            order: 0,
        };
        (low, stored)
    }

    /// Whether it is over.
    pub fn expired(&self, now_ns: u64) -> bool {
        self.extra
            .as_ref()
            .and_then(|extra| extra.expires_at_ns)
            .is_some_and(|at| at <= now_ns)
    }
}

impl Elements {
    /// Up to so many elements, ranges of concatenations are compared with each other.
    pub const MAX_COMPARED: usize = 4096;

    /// Removes all.
    pub fn clear(&mut self) {
        self.map.clear();
        self.catch_all = None;
        self.version += 1;
        self.cleared += 1;
    }

    /// The elements of the same set in a reloaded file: none yet, and what packets added stays.
    #[must_use]
    pub fn reloaded(&self) -> Self {
        Self {
            version: self.version,
            cleared: self.cleared,
            gone: self.gone.clone(),
            ..Self::default()
        }
    }

    /// Takes away elements that packets had added.
    pub fn forget(&mut self, keys: Vec<(Words, Words)>) {
        self.version += 1;
        self.gone = Arc::new(Gone {
            number: super::Id::fresh().0,
            keys,
        });
    }

    /// The same set with other elements. `anew`: just these bare keys, in order; otherwise without what
    /// is `gone` and with these, sharing the rest.
    #[must_use]
    pub(crate) fn with_keys(
        &self,
        keys: impl Iterator<Item = (Words, Option<Box<Words>>)>,
        gone: &[Words],
        anew: bool,
    ) -> Self {
        let bare = |(low, high)| {
            let element = StoredElement {
                high,
                data: None,
                extra: None,
                order: 0,
            };
            (low, element)
        };
        let map = if anew {
            keys.map(bare).collect()
        } else {
            let mut map = self.map.clone();
            gone.iter().for_each(|low| drop(map.remove(low)));
            map.extend(keys.map(bare));
            map
        };
        Self {
            map,
            catch_all: None,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// The same set with the elements of another one.
    #[must_use]
    pub(crate) fn sharing(&self, other: &Self) -> Self {
        Self {
            map: other.map.clone(),
            catch_all: None,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len() + usize::from(self.catch_all.is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an element that clashes with none.
    pub fn put(&mut self, low: Option<Words>, mut element: StoredElement) {
        self.version += 1;
        self.order += 1;
        element.order = self.order;
        match low {
            Some(low) => drop(self.map.insert(low, element)),
            None => self.catch_all = Some(element),
        }
    }

    /// Takes out the element with just these bounds.
    pub fn take(&mut self, low: Option<&Words>, high: Option<&Words>) -> Option<StoredElement> {
        let Some(low) = low else {
            self.version += u64::from(self.catch_all.is_some());
            return self.catch_all.take();
        };
        if self.map.get(low)?.high.as_deref() != high {
            return None;
        }
        self.version += 1;
        self.map.remove(low)
    }

    /// Takes out the element that begins there.
    pub fn drop_at(&mut self, low: &Words) {
        self.version += 1;
        self.map.remove(low);
    }

    /// Removes what is over.
    pub fn expire(&mut self, now_ns: u64) {
        let over: Vec<Words> = self
            .map
            .iter()
            .filter(|(_, element)| element.expired(now_ns))
            .map(|(low, _)| low.clone())
            .collect();
        for low in over {
            self.map.remove(&low);
            self.version += 1;
        }
    }

    /// What an element to be added meets, in a set without ranges, with ranges, or with ranges of
    /// concatenations.
    pub fn clash(
        &self,
        low: Option<&Words>,
        element: &StoredElement,
        interval: bool,
        parts: &[KeyPart],
    ) -> Option<(Clash, Words)> {
        let Some(low) = low else {
            return self
                .catch_all
                .as_ref()
                .map(|known| (same_data(known, element), Words::new()));
        };
        if let Some(known) = self.map.get(low)
            && known.high == element.high
        {
            return Some((same_data(known, element), low.clone()));
        }
        if !interval {
            return None;
        }
        if parts.len() > 1 {
            return self
                .concat_overlap(low, element, parts)
                .map(|at| (Clash::Overlap, at));
        }
        let high = element.high.as_deref().unwrap_or(low);
        if self.map.contains_key(low) {
            return Some((Clash::Overlap, low.clone()));
        }
        if let Some((known_low, known)) = self.before(low)
            && known.high.as_deref().unwrap_or(known_low) >= low
        {
            return Some((Clash::Overlap, known_low.clone()));
        }
        if let Some((known_low, _)) = self.after(low)
            && known_low <= high
        {
            return Some((Clash::Overlap, known_low.clone()));
        }
        None
    }

    fn before(&self, low: &Words) -> Option<(&Words, &StoredElement)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.map
            .range((Unbounded, Excluded(low.clone())))
            .next_back()
    }

    fn after(&self, low: &Words) -> Option<(&Words, &StoredElement)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.map.range((Excluded(low.clone()), Unbounded)).next()
    }

    /// As the kernel's structure for these sets: the corner of the smallest or of the largest key lies in another element.
    fn concat_overlap(
        &self,
        low: &Words,
        element: &StoredElement,
        parts: &[KeyPart],
    ) -> Option<Words> {
        if self.map.len() > Self::MAX_COMPARED {
            return None;
        }
        let (start, end) = (
            values(low, parts),
            values(element.high.as_deref().unwrap_or(low), parts),
        );
        let inside = |corner: &[u128], known_low: &Words, known: &StoredElement| {
            let low = values(known_low, parts);
            let high = values(known.high.as_deref().unwrap_or(known_low), parts);
            corner
                .iter()
                .zip(low)
                .zip(high)
                .all(|((value, low), high)| (low..=high).contains(value))
        };
        let found = self.map.iter().find(|(known_low, known)| {
            inside(&start, known_low, known) || inside(&end, known_low, known)
        });
        found.map(|(known_low, _)| known_low.clone())
    }

    /// The element whose range has this key.
    pub fn covering(&self, low: &Words, high: &Words) -> Option<(&Words, &StoredElement)> {
        let (known_low, known) = self.map.range(..=low.clone()).next_back()?;
        (known.high.as_deref().unwrap_or(known_low) >= high).then_some((known_low, known))
    }

    /// Bounds of the element of ranges of concatenations that has a key.
    pub fn concat_covering(
        &self,
        low: &Words,
        parts: &[KeyPart],
    ) -> Option<(Words, Option<Words>)> {
        if let Some(known) = self.map.get(low) {
            return Some((low.clone(), known.high.as_deref().cloned()));
        }
        let wanted = values(low, parts);
        let fits = |known_low: &Words, known: &StoredElement| {
            let lows = values(known_low, parts);
            let highs = values(known.high.as_deref().unwrap_or(known_low), parts);
            wanted
                .iter()
                .zip(lows)
                .zip(highs)
                .all(|((value, low), high)| (low..=high).contains(value))
        };
        let (known_low, known) = self
            .map
            .iter()
            .find(|(known_low, known)| fits(known_low, known))?;
        Some((known_low.clone(), known.high.as_deref().cloned()))
    }

    /// Follows the new name of a chain.
    pub fn rename_chain(&mut self, from: &str, to: &str) {
        let rename = |element: &mut StoredElement| {
            if let Some(data) = &mut element.data
                && let ElementData::Verdict(verdict) = Arc::make_mut(data)
            {
                rename_verdict(verdict, from, to);
            }
        };
        let keys: Vec<Words> = self.map.keys().cloned().collect();
        for key in keys {
            if let Some(element) = self.map.get_mut(&key) {
                rename(element);
            }
        }
        self.catch_all.as_mut().map(rename);
        self.version += 1;
    }
}

fn same_data(known: &StoredElement, element: &StoredElement) -> Clash {
    if known.data == element.data {
        Clash::Same
    } else {
        Clash::OtherData
    }
}

/// The next larger key of one part.
pub fn successor(words: &Words) -> Option<Words> {
    let mut next = words.clone();
    for word in next.iter_mut().rev() {
        let (sum, carry) = word.overflowing_add(1);
        *word = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}
