//! The options of `create`, `add`, `del` and `test`: one row each.

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the option of the same name")]
pub enum Opt {
    Family,
    Inet,
    Inet6,
    Hashsize,
    Maxelem,
    Probes,
    Resize,
    Gc,
    From,
    To,
    Network,
    Size,
    Range,
    Netmask,
    Bitmask,
    Before,
    After,
    Forceadd,
    Markmask,
    Nomatch,
    Wildcard,
    Timeout,
    Counters,
    Packets,
    Bytes,
    CommentFlag,
    CommentText,
    Skbinfo,
    Skbmark,
    Skbprio,
    Skbqueue,
    Bucketsize,
    Initval,
}

impl Opt {
    /// How it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Family => "family",
            Self::Inet => "-4",
            Self::Inet6 => "-6",
            Self::Hashsize => "hashsize",
            Self::Maxelem => "maxelem",
            Self::Probes => "probes",
            Self::Resize => "resize",
            Self::Gc => "gc",
            Self::From => "from",
            Self::To => "to",
            Self::Network => "network",
            Self::Size => "size",
            Self::Range => "range",
            Self::Netmask => "netmask",
            Self::Bitmask => "bitmask",
            Self::Before => "before",
            Self::After => "after",
            Self::Forceadd => "forceadd",
            Self::Markmask => "markmask",
            Self::Nomatch => "nomatch",
            Self::Wildcard => "wildcard",
            Self::Timeout => "timeout",
            Self::Counters => "counters",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::CommentFlag | Self::CommentText => "comment",
            Self::Skbinfo => "skbinfo",
            Self::Skbmark => "skbmark",
            Self::Skbprio => "skbprio",
            Self::Skbqueue => "skbqueue",
            Self::Bucketsize => "bucketsize",
            Self::Initval => "initval",
        }
    }

    /// Whether a word follows.
    pub fn has_value(self) -> bool {
        !matches!(
            self,
            Self::Inet
                | Self::Inet6
                | Self::Forceadd
                | Self::Nomatch
                | Self::Wildcard
                | Self::Counters
                | Self::CommentFlag
                | Self::Skbinfo
        )
    }

    /// How help shows it; nothing for what help does not list.
    pub fn help(self) -> &'static str {
        match self {
            Self::Family => "[family inet|inet6]|[-4|-6]",
            Self::Hashsize => "[hashsize VALUE]",
            Self::Maxelem => "[maxelem VALUE]",
            Self::Size => "[size VALUE]",
            Self::Netmask => "[netmask CIDR]",
            Self::Bitmask => "[bitmask bitmask]",
            Self::Before => "[before|after NAME]",
            Self::Forceadd => "[forceadd]",
            Self::Markmask => "markmask VALUE",
            Self::Nomatch => "[nomatch]",
            Self::Wildcard => "[wildcard]",
            Self::Timeout => "[timeout VALUE]",
            Self::Counters => "[counters]",
            Self::Packets => "[packets VALUE]",
            Self::Bytes => "[bytes VALUE]",
            Self::CommentFlag => "[comment]",
            Self::CommentText => "[comment \"string\"]",
            Self::Skbinfo => "[skbinfo]",
            Self::Skbmark => "[skbmark VALUE]",
            Self::Skbprio => "[skbprio VALUE]",
            Self::Skbqueue => "[skbqueue VALUE]",
            Self::Bucketsize => "[bucketsize VALUE]",
            Self::Initval => "[initval VALUE]",
            _ => "",
        }
    }

    /// Whether a word of the command line is this option. Two leading dashes are skipped, as old
    /// scripts write them.
    pub fn is(self, word: &str) -> bool {
        word.strip_prefix("--").unwrap_or(word) == self.word()
    }
}
