//! Any text as a ruleset: it is parsed or complained about, without a panic, a hang or a
//! mountain of memory, and every complaint can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_config::syntax::{Bundle, Input, Options, parse, render_all};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parsed = parse(&Input::CommandLine(text.to_owned()), &Options::default(), &mut Bundle::default());
    let shown = render_all(&parsed.diagnostics, &parsed.sources);
    assert_eq!(shown.is_empty(), parsed.diagnostics.is_empty());
});
