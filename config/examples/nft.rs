//! nft(8) on a workbench that lives as long as the process: `nft [options] -f FILE`, or commands
//! one a line on standard input with `-i`. For comparisons with the original.

use sluice_config::engine::{Engine, Request};
use std::io::{BufRead, Read};

fn main() {
    let mut engine = Engine::workbench();
    let mut script = String::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        script.push_str(&line);
        script.push('\n');
    }
    let mut failed = false;
    // Lines `$ command` or `$f name` followed by text up to a line `.`.
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        let mut request = if let Some(name) = line.strip_prefix("$f ") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != ".").collect();
            Request::file(name, &(text.join("\n") + "\n"))
        } else {
            let mut words = line.trim_start_matches("$ ");
            let mut options = sluice_config::engine::ListOptions::default();
            while let Some(rest) = words.strip_prefix('-') {
                let (flag, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                match flag {
                    "a" => options.handles = true,
                    "n" => options.numeric = 1,
                    "nn" => options.numeric = 2,
                    "s" => options.stateless = true,
                    "t" => options.terse = true,
                    "y" => options.numeric_priorities = true,
                    "e" => options.echo = true,
                    _ => {}
                }
                words = rest;
            }
            let mut request = Request::command(words);
            request.options = options;
            request
        };
        request.origin.peer = "example".to_owned();
        println!("{line}");
        match engine.run(request) {
            Ok(reply) => {
                for warning in reply.warnings {
                    println!("{warning}");
                }
                println!("{}rc=0", reply.output);
            }
            Err(refusal) => {
                failed = true;
                println!("{}{}rc=1", refusal.output, refusal.rendered);
            }
        }
    }
    let _ = std::io::stdin().read_to_string(&mut script);
    let _ = failed;
}
