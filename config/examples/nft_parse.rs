//! Parses a file as `nft -c -f` would and prints the complaints, or, with `--tree`, the tree. For comparing with nft.
use sluice_config::syntax::{Files, Input, Options, parse, render_all};

fn main() {
    let mut tree = false;
    let mut failed = false;
    for path in std::env::args().skip(1) {
        if path == "--tree" {
            tree = true;
            continue;
        }
        let parsed = parse(&Input::File(path), &Options::default(), &mut Files);
        eprint!("{}", render_all(&parsed.diagnostics, &parsed.sources));
        failed |= !parsed.diagnostics.is_empty();
        if tree {
            println!("{:#?}", parsed.commands);
        }
    }
    std::process::exit(i32::from(failed));
}
