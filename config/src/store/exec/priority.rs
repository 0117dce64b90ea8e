//! Priorities of base chains, by number and by name.

use crate::model::{Family, Hook};

/// A priority that has a name.
struct Named {
    name: &'static str,
    priority: i32,
    hook: Option<Hook>,
}

const STANDARD: &[Named] = &[
    Named {
        name: "raw",
        priority: -300,
        hook: None,
    },
    Named {
        name: "mangle",
        priority: -150,
        hook: None,
    },
    Named {
        name: "dstnat",
        priority: -100,
        hook: Some(Hook::Prerouting),
    },
    Named {
        name: "filter",
        priority: 0,
        hook: None,
    },
    Named {
        name: "security",
        priority: 50,
        hook: None,
    },
    Named {
        name: "srcnat",
        priority: 100,
        hook: Some(Hook::Postrouting),
    },
];

const BRIDGE: &[Named] = &[
    Named {
        name: "dstnat",
        priority: -300,
        hook: Some(Hook::Prerouting),
    },
    Named {
        name: "filter",
        priority: -200,
        hook: None,
    },
    Named {
        name: "out",
        priority: 100,
        hook: Some(Hook::Output),
    },
    Named {
        name: "srcnat",
        priority: 300,
        hook: Some(Hook::Postrouting),
    },
];

/// How far from a name a number may be and still be printed by it.
const MAX_OFFSET: i32 = 10;

fn names(family: Family) -> &'static [Named] {
    if family == Family::Bridge {
        BRIDGE
    } else {
        STANDARD
    }
}

/// Families without IP hooks know `filter` only.
fn known_to(family: Family, name: &str) -> bool {
    !matches!(family, Family::Arp | Family::Netdev) || name == "filter"
}

/// The number of a name at a hook.
pub(crate) fn number(family: Family, hook: Hook, name: &str) -> Option<i32> {
    names(family)
        .iter()
        .find(|known| {
            known.name == name && known_to(family, name) && known.hook.is_none_or(|at| at == hook)
        })
        .map(|known| known.priority)
}

/// How nft prints a priority.
pub(crate) fn print(family: Family, hook: Hook, priority: i32, numeric: bool) -> String {
    if numeric {
        return priority.to_string();
    }
    let near = names(family)
        .iter()
        .filter(|known| known_to(family, known.name) && known.hook.is_none_or(|at| at == hook))
        .find(|known| priority.abs_diff(known.priority) <= MAX_OFFSET as u32);
    match near {
        Some(known) if known.priority == priority => known.name.to_owned(),
        Some(known) if priority > known.priority => {
            format!("{} + {}", known.name, priority - known.priority)
        }
        Some(known) => format!("{} - {}", known.name, known.priority - priority),
        None => priority.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(number(Family::Ip, Hook::Input, "dstnat"), None);
        assert_eq!(number(Family::Bridge, Hook::Forward, "filter"), Some(-200));
        assert_eq!(print(Family::Ip, Hook::Input, 5, false), "filter + 5");
        assert_eq!(print(Family::Ip, Hook::Input, -155, false), "mangle - 5");
        assert_eq!(print(Family::Ip, Hook::Input, 11, false), "11");
        assert_eq!(print(Family::Inet, Hook::Input, -150, true), "-150");
    }
}
