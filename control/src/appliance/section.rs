//! Reading one table of an appliance file key by key, so that what is left over is a mistake.
//!
//! Every getter notes its key as allowed; [`Section::finish`] reports the keys that nobody asked
//! for. Mistakes are collected, not returned: a reader sees all of them at once.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{FileError, did_you_mean};

/// The text that is read and the mistakes found so far.
pub(crate) struct Source<'s> {
    pub(crate) file: &'s str,
    pub(crate) text: &'s str,
    pub(crate) errors: RefCell<Vec<(usize, FileError)>>,
}

impl<'s> Source<'s> {
    pub(crate) fn new(file: &'s str, text: &'s str) -> Self {
        Self {
            file,
            text,
            errors: RefCell::default(),
        }
    }

    /// Notes a mistake at `span`.
    pub(crate) fn error(&self, span: Range<usize>, key: &str, message: impl Into<String>) {
        let start = span.start.min(self.text.len());
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let end = span.end.clamp(start, line_end);
        let error = FileError {
            file: self.file.to_owned(),
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end].chars().count().max(1),
            text: self.text[line_start..line_end].to_owned(),
            key: key.to_owned(),
            message: message.into(),
        };
        self.errors.borrow_mut().push((start, error));
    }
}

/// A value with the place it came from.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
    pub(crate) key: String,
}

/// One table of the file, emptied by its getters.
pub(crate) struct Section<'r, 's> {
    pub(crate) source: &'r Source<'s>,
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    table: DeTable<'s>,
    /// Keys that a getter asked for.
    known: Vec<&'static str>,
    /// Keys of the file's language that do not belong here.
    unbuilt: Vec<&'static str>,
}

impl<'r, 's> Section<'r, 's> {
    pub(crate) fn new(
        source: &'r Source<'s>,
        path: String,
        span: Range<usize>,
        table: DeTable<'s>,
    ) -> Self {
        Self {
            source,
            path,
            span,
            table,
            known: Vec::new(),
            unbuilt: Vec::new(),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Placed<DeValue<'s>>> {
        self.known.push(key);
        self.remove(key)
    }

    fn remove(&mut self, key: &'static str) -> Option<Placed<DeValue<'s>>> {
        let value = self.table.remove(key)?;
        let span = value.span();
        Some(Placed {
            value: value.into_inner(),
            span,
            key: self.path_of(key),
        })
    }

    fn wrong_type(&self, entry: &Placed<DeValue<'s>>, wanted: &str) {
        let message = format!("expected {wanted}, found {}", kind(&entry.value));
        self.source.error(entry.span.clone(), &entry.key, message);
    }

    pub(crate) fn string(&mut self, key: &'static str) -> Option<Placed<String>> {
        let entry = self.take(key)?;
        match entry.value {
            DeValue::String(text) => Some(Placed {
                value: text.into_owned(),
                span: entry.span,
                key: entry.key,
            }),
            _ => {
                self.wrong_type(&entry, "a string");
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let entry = self.take(key)?;
        match entry.value {
            DeValue::Boolean(value) => Some(value),
            _ => {
                self.wrong_type(&entry, "true or false");
                None
            }
        }
    }

    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<i64>,
    ) -> Option<Placed<i64>> {
        let entry = self.take(key)?;
        let value = self.integer_of(&entry, &allowed)?;
        Some(Placed {
            value,
            span: entry.span,
            key: entry.key,
        })
    }

    fn integer_of(
        &self,
        entry: &Placed<DeValue<'s>>,
        allowed: &RangeInclusive<i64>,
    ) -> Option<i64> {
        let wanted = format!("an integer from {} to {}", allowed.start(), allowed.end());
        let DeValue::Integer(number) = &entry.value else {
            self.wrong_type(entry, &wanted);
            return None;
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if allowed.contains(&value) => Some(value),
            _ => {
                let message = format!("{number} is out of range; allowed: {wanted}");
                self.source.error(entry.span.clone(), &entry.key, message);
                None
            }
        }
    }

    /// A span of time in seconds: an integer, or a text with units ("5m", "1h 30m").
    pub(crate) fn duration(&mut self, key: &'static str) -> Option<Placed<u64>> {
        const WANTED: &str = "seconds, or a text with units, as \"5m\" or \"1h 30m\"";
        let entry = self.take(key)?;
        let value = match &entry.value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => humantime::parse_duration(text)
                .ok()
                .filter(|time| time.subsec_nanos() == 0)
                .map(|time| time.as_secs()),
            _ => {
                self.wrong_type(&entry, WANTED);
                return None;
            }
        };
        if value.is_none() {
            let message = format!("no span of whole seconds; allowed: {WANTED}");
            self.source.error(entry.span.clone(), &entry.key, message);
        }
        Some(Placed {
            value: value?,
            span: entry.span,
            key: entry.key,
        })
    }

    fn array(&mut self, key: &'static str, wanted: &str) -> Option<Vec<Placed<DeValue<'s>>>> {
        let entry = self.take(key)?;
        let DeValue::Array(items) = entry.value else {
            self.wrong_type(&entry, wanted);
            return None;
        };
        let placed = |item: Spanned<DeValue<'s>>| Placed {
            span: item.span(),
            value: item.into_inner(),
            key: entry.key.clone(),
        };
        Some(items.into_iter().map(placed).collect())
    }

    pub(crate) fn strings(&mut self, key: &'static str) -> Option<Vec<Placed<String>>> {
        let items = self.array(key, "an array of strings")?;
        let mut strings = Vec::new();
        for item in items {
            match item.value {
                DeValue::String(text) => strings.push(Placed {
                    value: text.into_owned(),
                    span: item.span,
                    key: item.key,
                }),
                _ => self.wrong_type(&item, "a string"),
            }
        }
        Some(strings)
    }

    pub(crate) fn integers(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<i64>,
    ) -> Option<Vec<Placed<i64>>> {
        let items = self.array(key, "an array of integers")?;
        let mut numbers = Vec::new();
        for item in items {
            if let Some(value) = self.integer_of(&item, &allowed) {
                numbers.push(Placed {
                    value,
                    span: item.span,
                    key: item.key,
                });
            }
        }
        Some(numbers)
    }

    /// A word out of a list. `unbuilt` words are known to the file's language, but no built
    /// feature stands behind them: they are refused by name.
    pub(crate) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        allowed: &[(&'static str, T)],
        unbuilt: &[(&str, &str)],
    ) -> Option<T> {
        let found = self.string(key)?;
        if let Some((_, value)) = allowed.iter().find(|(word, _)| *word == found.value) {
            return Some(*value);
        }
        let words: Vec<&str> = allowed.iter().map(|(word, _)| *word).collect();
        let list = words
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let message = match unbuilt.iter().find(|(word, _)| *word == found.value) {
            Some((word, what)) => {
                format!("\"{word}\" is not supported by this version ({what}); allowed: {list}")
            }
            None => {
                let hint = did_you_mean(&found.value, &words)
                    .map(|word| format!("; did you mean \"{word}\"?"))
                    .unwrap_or_default();
                format!("\"{}\" is not known; allowed: {list}{hint}", found.value)
            }
        };
        self.source.error(found.span, &found.key, message);
        None
    }

    /// A key that does not belong here: says why.
    pub(crate) fn refuse(&mut self, key: &'static str, why: &str) {
        self.unbuilt.push(key);
        if let Some(entry) = self.remove(key) {
            self.source.error(entry.span, &entry.key, why);
        }
    }

    /// A table inside this one.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Section<'r, 's>> {
        let entry = self.take(key)?;
        match entry.value {
            DeValue::Table(table) => Some(Section::new(self.source, entry.key, entry.span, table)),
            _ => {
                self.wrong_type(&entry, &format!("a section [{}]", entry.key));
                None
            }
        }
    }

    /// An array of tables inside this one.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section<'r, 's>> {
        let wanted = format!("sections [[{key}]]");
        let mut sections = Vec::new();
        for item in self.array(key, &wanted).unwrap_or_default() {
            match item.value {
                DeValue::Table(table) => {
                    sections.push(Section::new(self.source, item.key, item.span, table));
                }
                _ => self.wrong_type(&item, &wanted),
            }
        }
        sections
    }

    /// Reports a key that must be there and is not.
    pub(crate) fn missing(&self, key: &str, why: &str) {
        let path = self.path_of(key);
        self.source
            .error(self.span.clone(), &path, format!("missing: {why}"));
    }

    /// Reports every key that no getter asked for.
    pub(crate) fn finish(self) {
        let meant = [&self.known[..], &self.unbuilt[..]].concat();
        for (key, _) in &self.table {
            let name: &str = key.get_ref();
            let hint = did_you_mean(name, &meant)
                .map(|known| format!("; did you mean {known}?"))
                .unwrap_or_default();
            let message = format!(
                "unknown key{hint} (allowed here: {})",
                self.known.join(", ")
            );
            self.source.error(key.span(), &self.path_of(name), message);
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
