//! Numbers that look random and follow from a counter, so that every run draws the same.

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014) over a counter.
#[must_use]
pub const fn scramble(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
