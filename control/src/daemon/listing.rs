//! A compiled program in words: its walks, its keys, and each chain's instructions.

use std::collections::HashMap;
use std::fmt::Write;

use sluice_dataplane::program::{Class, Entry, Program, RuleRef};

/// The listing. `names` says which rule a number stands for.
pub(super) fn listing(program: &Program, names: &HashMap<u32, String>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, program, names);
    text
}

fn write(out: &mut String, program: &Program, names: &HashMap<u32, String>) -> std::fmt::Result {
    let order = if program.ordered() {
        "one packet at a time"
    } else {
        "in batches"
    };
    writeln!(out, "runs {order}")?;
    for class in Class::ALL {
        writeln!(out, "\nwalk {class:?}")?;
        for entry in program.walk(class) {
            match entry {
                Entry::Chain {
                    chain,
                    hook,
                    family,
                    priority,
                    policy,
                    policy_rule,
                    devices,
                } => {
                    let place = names.get(&policy_rule.0).map_or("", String::as_str);
                    write!(out, "    chain {} {family:?} {hook:?} {priority}", chain.0)?;
                    writeln!(
                        out,
                        " policy {policy:?}, {} devices  # {place}",
                        devices.0.len()
                    )?;
                }
                Entry::CheckIp => writeln!(out, "    check IP headers")?,
                Entry::Peer => writeln!(out, "    look up the way out")?,
            }
        }
    }
    writeln!(out, "\nkeys")?;
    for (slot, key) in program.tables().keys().iter().enumerate() {
        writeln!(out, "    {slot}: {key:?}")?;
    }
    for (number, chain) in program.chains().iter().enumerate() {
        writeln!(out, "\nchain {number}, {} blocks", chain.blocks().len())?;
        for block in chain.blocks() {
            for (RuleRef(rule), ops) in block.rules() {
                let place = names.get(&rule).map_or("", String::as_str);
                writeln!(out, "    rule {rule}  # {place}")?;
                for op in ops {
                    writeln!(out, "        {op:?}")?;
                }
            }
        }
    }
    Ok(())
}
