//! The `sluice` executable.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// glibc puts what was freed in order at some later request, all at once: the first change behind the
/// load of 100,000 rules waited for that, from a hundredth to a fifth of a second.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    sluice_control::cli::main()
}
