//! Why a command is refused, in the words of the original and with its exit codes.

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command line cannot be understood: exit code 2, and the way to the help.
    Usage(String),
    /// An argument cannot be understood: exit code 1. In `restore` the line's number stands before it.
    Failed(String),
    /// The same, told without the line's number.
    Bare(String),
    /// The kernel would refuse what the command line says; where it stands in `restore`, lines that wait
    /// were sent before.
    Kernel(Kernel),
    /// Exit code 1 and nothing more to say: a tested element is not in the set.
    Silent,
}

impl Refusal {
    /// A syntax error of an argument.
    pub fn syntax(text: impl std::fmt::Display) -> Self {
        Self::Failed(format!("Syntax error: {text}"))
    }

    /// This one after another complaint, which did not end the command at once.
    #[must_use]
    pub fn after(self, before: &str) -> Self {
        match self {
            Self::Failed(text) => Self::Failed(format!("{before}\n{text}")),
            other => other,
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::Bare(_) | Self::Kernel(_) | Self::Silent => 1,
        }
    }

    /// What goes to standard error.
    pub fn text(&self, line: Option<usize>) -> String {
        let at = line.map_or_else(String::new, |line| format!("Error in line {line}: "));
        match self {
            Self::Usage(text) => {
                format!("ipset v7.17: {text}\nTry `ipset help' for more information.\n")
            }
            Self::Failed(text) => {
                // With a number the original writes each complaint over the one before.
                let last = line.and_then(|_| text.lines().last());
                format!("ipset v7.17: {at}{}\n", last.unwrap_or(text))
            }
            Self::Bare(text) => format!("ipset v7.17: {text}\n"),
            Self::Kernel(error) => format!("ipset v7.17: {at}{}\n", error.text()),
            Self::Silent => String::new(),
        }
    }
}

/// What the kernel refuses.
macro_rules! kernel {
    ($($name:ident = $text:literal;)*) => {
        /// What the kernel refuses.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each says itself what it means")]
        pub enum Kernel { $($name),* }

        impl Kernel {
            /// The original's text.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

kernel! {
    NoSet = "The set with the given name does not exist";
    SetExists = "Set cannot be created: set with the same name already exists";
    TooManySets = "Kernel error received: maximal number of sets reached, cannot create more.";
    Exists = "Element cannot be added to the set: it's already added";
    Missing = "Element cannot be deleted from the set: it's not added";
    Full = "Hash is full, cannot add more elements";
    Null = "Null-valued element, cannot be stored in a hash type of set";
    Cidr = "The value of the CIDR parameter of the IP address is invalid";
    Netmask = "The value of the netmask parameter is invalid";
    Markmask = "The value of the markmask parameter is invalid";
    Protocol = "Invalid protocol specified";
    WholeRange = "Invalid range, covers the whole address space";
    OutOfRange = "Element is out of the range of the set";
    RangeTooLarge = "The specified range is too large, split it up into smaller ranges";
    RangeSize = "The range you specified exceeds the size limit of the set type";
    NoTimeout = "Timeout cannot be used: set was created without timeout support";
    NoCounters = "Packet/byte counters cannot be used: set was created without counter support";
    NoComment = "Comment cannot be used: set was created without comment support";
    NoSkbinfo = "Skbinfo mapping cannot be used: set was created without skbinfo support";
    Busy = "Set cannot be destroyed: it is in use by a kernel component";
    NameTaken = "Set cannot be renamed: a set with the new name already exists";
    Referenced = "Set cannot be renamed: it is in use by another system";
    NoSecond = "Sets cannot be swapped: the second set does not exist";
    TypeMismatch = "The sets cannot be swapped: their type does not match";
    NoMember = "Set to be added/deleted/tested as element does not exist.";
    Loop = "Sets with list:set type cannot be added to the set.";
    NoReference = "The set to which you referred with 'before' or 'after' does not exist.";
    NotInList = "The set to which you referred with 'before' or 'after' is not added to the set.";
    ListFull = "The set is full, more elements cannot be added.";
    InvalidArgument = "Kernel error received: Invalid argument";
}

impl From<Kernel> for Refusal {
    fn from(error: Kernel) -> Self {
        Self::Kernel(error)
    }
}
