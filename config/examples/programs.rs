//! Programs for `fuzz/run program` to begin with: `programs FOLDER < RULES`. Each line of the input
//! is a rule, or a family in brackets for those behind it; each that compiles is written as bytes.

use std::io::BufRead;
use std::path::Path;

use sluice_config::engine::{Engine, Request};

const DECLARED: &str = "
    counter c1 { }
    quota q1 { 25 mbytes }
    limit l1 { rate 5/second }
    set addrs { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }
    set ports { type inet_service; elements = { 80, 443 }; }
    set seen { type ipv4_addr; flags dynamic,timeout; size 100; timeout 1m; }
    map marks { type inet_service : mark; elements = { 80 : 1 }; }
    map verds { type inet_service : verdict; elements = { 80 : jump other, 81 : drop }; }
    chain other { counter; }";

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let mut family = "inet".to_owned();
    let mut written = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if let Some(named) = line.strip_prefix('[') {
            family = named.trim_end_matches(']').to_owned();
            continue;
        }
        let hook = match family.as_str() {
            "netdev" => "ingress device \"eth0\"",
            "arp" => continue,
            _ => "forward",
        };
        let text = format!(
            "table {family} t {{{DECLARED}\nchain c {{ type filter hook {hook} priority 0; policy drop;\n{line}\n}}\n}}\n"
        );
        let mut engine = Engine::workbench();
        if engine.run(Request::file("rule", &text)).is_err() {
            continue;
        }
        let Some(generation) = engine.live() else {
            continue;
        };
        let file = Path::new(&folder).join(format!("{written:04}"));
        std::fs::write(file, generation.program().to_bytes())?;
        written += 1;
    }
    println!("{written} programs");
    Ok(())
}
