//! ipset of the kernel and ours, asked the same.

pub mod generate;
pub mod normal;
pub mod sides;

/// A first seed of random tests: another one every second.
pub fn clock_seed() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |time| time.as_secs())
}
