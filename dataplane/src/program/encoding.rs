//! Words in and out: how instructions, keys and tables become a byte buffer and are read back.
//!
//! A program is a sequence of little-endian 32-bit words. Every field takes one word or more, so
//! the interpreter reads it without shifting bytes. Reading never panics: every read is bounded
//! and every enumeration is checked.

use arrayvec::ArrayVec;

/// What is wrong with bytes that should be a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The words ended inside a field.
    #[error("the program ends inside a field at word {at}")]
    Truncated {
        /// Index of the missing word.
        at: usize,
    },
    /// A word has a value that its field does not know.
    #[error("{what} has the unknown value {value} at word {at}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// The value found.
        value: u32,
        /// Index of the word.
        at: usize,
    },
    /// An index points behind the end of its table.
    #[error("{what} {index} is outside its table of {count}")]
    OutOfRange {
        /// The table.
        what: &'static str,
        /// The index found.
        index: u32,
        /// Entries of the table.
        count: u32,
    },
    /// A value has another number of columns than its place takes.
    #[error("{what} has {found} columns where {expected} are needed")]
    Width {
        /// The place.
        what: &'static str,
        /// Columns found.
        found: u32,
        /// Columns needed.
        expected: u32,
    },
    /// An instruction writes to a key that is read from the packet.
    #[error("an instruction writes to slot {slot}, which is not a work slot")]
    NotWork {
        /// The slot.
        slot: u16,
    },
    /// A jump to a chain that is not deeper: a loop, or more than the depth allowed.
    #[error("chain {from} jumps to chain {to}, which is not on a deeper level")]
    Loop {
        /// The jumping chain.
        from: u32,
        /// Its target.
        to: u32,
    },
    /// More nested jumps than a program may have.
    #[error("jumps are nested deeper than {limit}")]
    TooDeep {
        /// The most levels allowed.
        limit: usize,
    },
    /// Something is larger than the format allows.
    #[error("{what} is too large: {size}, at most {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Size found.
        size: usize,
        /// Largest size.
        limit: usize,
    },
    /// The bytes do not begin as a program of this version does.
    #[error("not a program of this version")]
    NotAProgram,
    /// Anything else that breaks a rule of the format.
    #[error("{0}")]
    Invalid(&'static str),
}

/// A reader over words.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    words: &'a [u32],
    at: usize,
}

impl<'a> Words<'a> {
    /// Reads `words` from the start.
    pub fn new(words: &'a [u32]) -> Self {
        Self { words, at: 0 }
    }

    /// Index of the next word.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether all words are read.
    pub fn is_empty(&self) -> bool {
        self.at >= self.words.len()
    }

    /// The next word.
    ///
    /// # Errors
    /// When there is none.
    #[inline]
    pub fn word(&mut self) -> Result<u32, Malformed> {
        let word = *self
            .words
            .get(self.at)
            .ok_or(Malformed::Truncated { at: self.at })?;
        self.at += 1;
        Ok(word)
    }

    /// The next `count` words.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u32], Malformed> {
        let end = self
            .at
            .checked_add(count)
            .ok_or(Malformed::Truncated { at: self.at })?;
        let taken = self
            .words
            .get(self.at..end)
            .ok_or(Malformed::Truncated { at: self.at })?;
        self.at = end;
        Ok(taken)
    }
}

/// Something that is written as words and read back.
pub trait Field: Sized {
    /// Appends the words.
    fn put(&self, out: &mut Vec<u32>);

    /// Reads the words back.
    ///
    /// # Errors
    /// When the words are not such a field.
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed>;
}

macro_rules! small_number {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn put(&self, out: &mut Vec<u32>) {
                out.push(u32::from(*self));
            }
            #[inline]
            fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
                let at = from.at();
                let word = from.word()?;
                <$type>::try_from(word).map_err(|_| Malformed::Unknown {
                    what: stringify!($type),
                    value: word,
                    at,
                })
            }
        }
    )*};
}
small_number!(u8, u16, u32);

impl Field for u64 {
    fn put(&self, out: &mut Vec<u32>) {
        out.push(*self as u32);
        out.push((*self >> 32) as u32);
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        let low = from.word()?;
        let high = from.word()?;
        Ok(u64::from(low) | u64::from(high) << 32)
    }
}

impl Field for i32 {
    fn put(&self, out: &mut Vec<u32>) {
        out.push(*self as u32);
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        Ok(from.word()? as i32)
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u32>) {
        out.push(u32::from(*self));
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        let at = from.at();
        match from.word()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Malformed::Unknown {
                what: "bool",
                value,
                at,
            }),
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u32>) {
        out.push(u32::from(self.is_some()));
        if let Some(inner) = self {
            inner.put(out);
        }
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        Ok(if bool::get(from)? {
            Some(T::get(from)?)
        } else {
            None
        })
    }
}

impl<T: Field, const N: usize> Field for ArrayVec<T, N> {
    fn put(&self, out: &mut Vec<u32>) {
        out.push(self.len() as u32);
        for item in self {
            item.put(out);
        }
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        let count = from.word()? as usize;
        if count > N {
            return Err(Malformed::TooLarge {
                what: "a list",
                size: count,
                limit: N,
            });
        }
        let mut list = Self::new();
        for _ in 0..count {
            list.push(T::get(from)?);
        }
        Ok(list)
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u32>) {
        out.push(self.len() as u32);
        for piece in self.as_bytes().chunks(4) {
            let mut word = [0; 4];
            word[..piece.len()].copy_from_slice(piece);
            out.push(u32::from_le_bytes(word));
        }
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        let len = from.word()? as usize;
        let words = from.take(len.div_ceil(4))?;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(len);
        Self::from_utf8(bytes).map_err(|_| Malformed::Invalid("a text is not UTF-8"))
    }
}

/// Defines an enumeration without fields and its encoding.
macro_rules! plain_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant = $code),* }

        impl $crate::program::encoding::Field for $name {
            fn put(&self, out: &mut Vec<u32>) {
                out.push(*self as u32);
            }
            #[inline]
            fn get(
                from: &mut $crate::program::encoding::Words<'_>,
            ) -> Result<Self, $crate::program::encoding::Malformed> {
                let at = from.at();
                match from.word()? {
                    $($code => Ok(Self::$variant),)*
                    value => Err($crate::program::encoding::Malformed::Unknown {
                        what: stringify!($name), value, at,
                    }),
                }
            }
        }
    };
}

/// Defines an enumeration whose variants have fields, and its encoding: the code (in the low 16
/// bits of the first word; the high 16 are free for a length), then the fields in order.
macro_rules! tagged_enum {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$vmeta:meta])* $variant:ident = $code:literal
            $({ $($(#[$fmeta:meta])* $field:ident : $type:ty),* $(,)? })?),* $(,)?
    }) => {
        $(#[$meta])*
        pub enum $name {
            $($(#[$vmeta])* $variant $({ $($(#[$fmeta])* $field: $type),* })?),*
        }

        impl $name {
            /// Name of the variant.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant $({ $($field: _),* })? => stringify!($variant),)* }
            }
        }

        impl $crate::program::encoding::Field for $name {
            fn put(&self, out: &mut Vec<u32>) {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        out.push($code);
                        $($($crate::program::encoding::Field::put($field, out);)*)?
                    })*
                }
            }
            fn get(
                from: &mut $crate::program::encoding::Words<'_>,
            ) -> Result<Self, $crate::program::encoding::Malformed> {
                let at = from.at();
                match from.word()? & 0xffff {
                    $($code => Ok(Self::$variant $({
                        $($field: $crate::program::encoding::Field::get(from)?),*
                    })?),)*
                    value => Err($crate::program::encoding::Malformed::Unknown {
                        what: stringify!($name), value, at,
                    }),
                }
            }
        }
    };
}

/// Defines a number that indexes a table.
macro_rules! index_type {
    ($($(#[$meta:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl $crate::program::encoding::Field for $name {
            fn put(&self, out: &mut Vec<u32>) {
                self.0.put(out);
            }
            #[inline]
            fn get(
                from: &mut $crate::program::encoding::Words<'_>,
            ) -> Result<Self, $crate::program::encoding::Malformed> {
                Ok(Self($crate::program::encoding::Field::get(from)?))
            }
        }
    )*};
}

pub(crate) use {index_type, plain_enum, tagged_enum};
