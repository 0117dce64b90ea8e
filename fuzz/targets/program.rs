//! Any bytes as a program: the verifier takes them or refuses them, and what it takes runs over
//! frames and ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_dataplane::program::Program;

fuzz_target!(|data: &[u8]| {
    if let Ok(program) = Program::from_bytes(data) {
        assert!(Program::from_bytes(&program.to_bytes()).is_ok());
    }
});
