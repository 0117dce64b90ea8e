//! Whole-system tests: what they share (the tests themselves lie in `tests/tests`).

pub mod appliance;
pub mod frames;
pub mod ipset;
pub mod oracle;
pub mod peers;
pub mod proxied;
pub mod raw;
pub mod routed;
pub mod server;
pub mod tracker;
pub mod translated;
pub mod wire;

/// Whether these programs are there. Where they are not, the test that asks says so and is
/// skipped, or fails when `SLUICE_NO_SKIP` is set.
///
/// # Panics
/// When a program is missing and skipping is forbidden.
pub fn needs(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there =
        |program: &&str| std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    let missing: Vec<_> = programs.iter().filter(|program| !there(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("SLUICE_NO_SKIP").is_none(),
        "missing: {missing:?}"
    );
    eprintln!("skipped: missing {missing:?}");
    false
}
