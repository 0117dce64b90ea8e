//! A set of few elements: ranges compared one after the other over whole columns.
//!
//! For a handful of elements this is cheaper than hashing, and it needs no memory beside the
//! elements. It never changes; anonymous sets of rules are made of it. The first element that
//! holds a key decides; the catch-all comes last.

use super::lane_set::{Change, LaneSet, Moment};
use super::lanes::Column;
use super::tables::{SetData, SetDesc};

/// One element: a range of every field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmallElement {
    /// First value of every field, words side by side; empty for the catch-all.
    pub low: Vec<u32>,
    /// Last value of every field.
    pub high: Vec<u32>,
    /// What a map has for it.
    pub data: Vec<u32>,
}

/// The set.
#[derive(Debug)]
pub struct SmallSet {
    desc: SetDesc,
    /// Words of each field.
    fields: Vec<usize>,
    elements: Vec<SmallElement>,
}

impl SmallSet {
    /// A set with fields of these widths in words. Elements whose words do not fit are not
    /// accepted: `None`.
    pub fn new(fields: &[usize], data: SetData, elements: Vec<SmallElement>) -> Option<Self> {
        let key: usize = fields.iter().sum();
        let data_words = data_words(&data);
        let fits = |element: &SmallElement| {
            let length = element.low.len();
            (length == key || length == 0)
                && element.high.len() == length
                && element.data.len() == data_words
        };
        if !elements.iter().all(fits) {
            return None;
        }
        let desc = SetDesc {
            key_columns: u8::try_from(key).ok()?,
            data,
        };
        Some(Self {
            desc,
            fields: fields.to_vec(),
            elements,
        })
    }

    /// Lanes of `lanes` whose key the element holds.
    fn holding(&self, element: &SmallElement, key: &[&Column], lanes: u64) -> u64 {
        if element.low.is_empty() {
            return lanes;
        }
        let mut held = lanes;
        let mut at = 0;
        for &words in &self.fields {
            let field = at..at + words;
            at += words;
            if held == 0 {
                break;
            }
            held &= within(
                &key[field.clone()],
                &element.low[field.clone()],
                &element.high[field],
                held,
            );
        }
        held
    }
}

/// Words of a map's data.
fn data_words(data: &SetData) -> usize {
    match data {
        SetData::Nothing => 0,
        SetData::Columns { count } => usize::from(*count),
        SetData::Verdict | SetData::Object { .. } => 1,
    }
}

/// Lanes with `low <= key <= high`, numbers of several words, most significant first.
fn within(key: &[&Column], low: &[u32], high: &[u32], lanes: u64) -> u64 {
    if let ([column], [low], [high]) = (key, low, high) {
        let span = high.wrapping_sub(*low);
        let mut held = 0u64;
        for (lane, word) in column.iter().enumerate() {
            held |= u64::from(word.wrapping_sub(*low) <= span) << lane;
        }
        return held & lanes;
    }
    let mut held = 0u64;
    let mut rest = lanes;
    while rest != 0 {
        let lane = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        let number = key.iter().map(|column| column[lane]);
        let inside = number.clone().ge(low.iter().copied()) && number.le(high.iter().copied());
        held |= u64::from(inside) << lane;
    }
    held
}

impl LaneSet for SmallSet {
    fn desc(&self) -> SetDesc {
        self.desc.clone()
    }

    fn look_up(
        &self,
        key: &[&Column],
        lanes: u64,
        _moment: &Moment<'_>,
        data: &mut [Column],
    ) -> u64 {
        let mut left = lanes;
        for element in &self.elements {
            if left == 0 {
                break;
            }
            let held = self.holding(element, key, left);
            left &= !held;
            for (column, &word) in data.iter_mut().zip(&element.data) {
                let mut rest = held;
                while rest != 0 {
                    column[rest.trailing_zeros() as usize] = word;
                    rest &= rest - 1;
                }
            }
        }
        lanes & !left
    }

    fn change(&self, _: &[&Column], _: u64, _: &Moment<'_>, _: &Change<'_>) -> u64 {
        // Not dynamic: as with a full set, the rule ends for every lane.
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(words: &[u32]) -> Column {
        let mut column = Column::default();
        column.0[..words.len()].copy_from_slice(words);
        column
    }

    #[test]
    fn ranges_of_every_field_must_hold_and_the_catch_all_is_last() {
        let element = |low: &[u32], high: &[u32], data| SmallElement {
            low: low.to_vec(),
            high: high.to_vec(),
            data: vec![data],
        };
        let elements = vec![
            element(&[5, 0, 1], &[9, 0, 3], 1),
            element(&[5, 0, 0], &[5, 1, 0], 2),
            element(&[], &[], 3),
        ];
        let set = SmallSet::new(&[1, 2], SetData::Columns { count: 1 }, elements).unwrap();
        let (first, high, low) = (
            column(&[5, 5, 9, 10, 5]),
            column(&[0, 0, 0, 0, 1]),
            column(&[1, 0, 3, 2, 0]),
        );
        let moment = Moment {
            now_ns: 0,
            lengths: &Column::default(),
            worker: 0,
            connections: None,
        };
        let mut data = [Column::default()];
        assert_eq!(
            set.look_up(&[&first, &high, &low], 0b11111, &moment, &mut data),
            0b11111
        );
        assert_eq!(data[0].0[..5], [1, 2, 1, 3, 2]);
    }

    #[test]
    fn a_range_may_reach_the_ends_of_its_word() {
        let all = SmallElement {
            low: vec![0],
            high: vec![u32::MAX],
            data: vec![],
        };
        let set = SmallSet::new(&[1], SetData::Nothing, vec![all]).unwrap();
        let moment = Moment {
            now_ns: 0,
            lengths: &Column::default(),
            worker: 0,
            connections: None,
        };
        assert_eq!(
            set.look_up(&[&column(&[0, u32::MAX])], 0b11, &moment, &mut []),
            0b11
        );
        assert!(SmallSet::new(&[1], SetData::Nothing, vec![SmallElement::default()]).is_some());
        let wide = SmallElement {
            low: vec![0, 0],
            high: vec![0, 0],
            data: vec![],
        };
        assert!(SmallSet::new(&[1], SetData::Nothing, vec![wide]).is_none());
    }
}
