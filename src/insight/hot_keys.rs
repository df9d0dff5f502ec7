//! Which keys are asked for most.
//!
//! Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams",
//! 2005): a fixed number of counters; a key without one takes over the smallest, and with it the count, as an error
//! that it may have. A key that makes up more than one in [`COUNTERS`] of what was seen always has a counter.
//!
//! Under load one of several operations is looked at, drawn at random, and counts for all of them, so that this costs a
//! core less than a thousandth of its time however busy it is, once it has been busy for a tick. Two windows take turns,
//! so that an answer covers the last one to two minutes and what was hot yesterday is forgotten. Keys of which less than half of the count is certain are
//! not told: if all keys are asked for alike, none is hot.

use crate::routing::KeyHash;
use crate::time::Mono;

/// Counters of one window.
pub const COUNTERS: usize = 128;
/// How long a window is filled, in milliseconds.
pub const WINDOW_MS: u64 = 60_000;
/// Operations looked at in a second, about, when there are more than these.
const LOOKS_PER_SEC: u64 = 2_000;
/// A counter has room for a key of this many bytes at least, so that keys that take it over find room.
const KEY_BYTES_USUAL: usize = 32;
/// A rate is measured over at least this long, in milliseconds.
const RATE_OVER_MS: u64 = 50;

/// A key that was asked for often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKey {
    /// The key.
    pub key: Vec<u8>,
    /// Operations on it, reads and writes, as estimated.
    pub requests: u64,
    /// By how much that may be too many because the key has taken over a counter. Not in here: the luck of the draw
    /// where only one of several operations was looked at.
    pub error_at_most: u64,
}

/// The hot keys of one shard. Belongs to the shard's core.
#[derive(Debug)]
pub struct HotKeys {
    current: Window,
    previous: Window,
    /// One of so many operations is looked at.
    every: u64,
    /// Operations until the next look, and for how many it stands.
    until_look: u64,
    weight: u64,
    /// Operations since `rated_at`.
    since_rated: u64,
    rated_at: Mono,
    /// The state of the draw: xorshift64 (Marsaglia, 2003). Where a client goes round its keys, a look at each n-th
    /// operation would see the same few again and again.
    draw: u64,
}

impl Default for HotKeys {
    fn default() -> Self {
        Self {
            current: Window::default(),
            previous: Window::default(),
            every: 1,
            until_look: 1,
            weight: 1,
            since_rated: 0,
            rated_at: Mono::default(),
            draw: 0x9e37_79b9_7f4a_7c15,
        }
    }
}

impl HotKeys {
    /// Takes note of an operation on `key`. Allocates nothing once the counters have held keys as long as this one.
    pub fn note(&mut self, key: &[u8], hash: KeyHash) {
        self.since_rated += 1;
        self.until_look -= 1;
        if self.until_look == 0 {
            self.current.add(key, hash.0, self.weight);
            self.draw_pause();
        }
    }

    /// Draws a pause of `every` on average, from 1 to twice that less 1.
    const fn draw_pause(&mut self) {
        self.draw ^= self.draw << 13;
        self.draw ^= self.draw >> 7;
        self.draw ^= self.draw << 17;
        self.until_look = 1 + self.draw % (2 * self.every - 1);
        self.weight = self.every;
    }

    /// Follows the time: how closely to look, and which window to fill. To be called now and then.
    pub fn tick(&mut self, now: Mono) {
        let millis = now.nanos_since(self.rated_at) / 1_000_000;
        if millis >= RATE_OVER_MS {
            self.every = (self.since_rated * 1_000 / millis / LOOKS_PER_SEC).max(1);
            if self.every < self.weight {
                self.draw_pause();
            }
            (self.since_rated, self.rated_at) = (0, now);
        }
        let window = now.as_millis() / WINDOW_MS;
        if window != self.current.number {
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.restart(window);
            if window != self.previous.number + 1 {
                self.previous.restart(window - 1);
            }
        }
    }

    /// What was seen: for how long, in milliseconds, and the keys, in no order.
    #[must_use]
    pub fn report(&self, now: Mono) -> (u64, Vec<HotKey>) {
        let mut found = self.current.clone();
        found.keys.truncate(found.hashes.len());
        for (place, &hash) in self.previous.hashes.iter().enumerate() {
            match found.hashes.iter().position(|&other| other == hash) {
                Some(at) => {
                    found.counts[at] += self.previous.counts[place];
                    found.errors[at] += self.previous.errors[place];
                }
                None => {
                    found.hashes.push(hash);
                    found.counts.push(self.previous.counts[place]);
                    found.errors.push(self.previous.errors[place]);
                    found.keys.push(self.previous.keys[place].clone());
                }
            }
        }
        let counted = found.counts.into_iter().zip(found.errors);
        let keys = found.keys.into_iter().zip(counted);
        let keys = keys.map(|(key, (requests, error_at_most))| HotKey { key, requests, error_at_most });
        // Where no key is hot, all counters are about their errors.
        let keys = keys.filter(|it| it.error_at_most <= it.requests / 2).collect();
        let since = Mono::from_millis(self.previous.number * WINDOW_MS);
        (now.nanos_since(since) / 1_000_000, keys)
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        self.current.footprint() + self.previous.footprint()
    }
}

/// The counters of one window, in parallel lists: they are searched from end to end, which is quicker than a table of so
/// few.
#[derive(Clone, Debug, Default)]
struct Window {
    /// Counted from the start of the clock that all cores share, so that the windows of all cores are the same.
    number: u64,
    /// Hashes under a secret of this process stand for their keys: two keys that share one are as good as never met.
    hashes: Vec<u64>,
    counts: Vec<u64>,
    errors: Vec<u64>,
    keys: Vec<Vec<u8>>,
}

impl Window {
    fn add(&mut self, key: &[u8], hash: u64, weight: u64) {
        if let Some(at) = self.hashes.iter().position(|&known| known == hash) {
            self.counts[at] += weight;
        } else if self.hashes.len() < COUNTERS {
            self.hashes.push(hash);
            self.counts.push(weight);
            self.errors.push(0);
            // A list that was emptied keeps the buffers of its keys behind those in use: see `restart`.
            let at = self.hashes.len() - 1;
            match self.keys.get_mut(at) {
                Some(buffer) => refill(buffer, key),
                None => {
                    let mut buffer = Vec::with_capacity(key.len().max(KEY_BYTES_USUAL));
                    refill(&mut buffer, key);
                    self.keys.push(buffer);
                }
            }
        } else {
            let least = (0..COUNTERS).min_by_key(|&at| self.counts[at]).unwrap_or(0);
            self.hashes[least] = hash;
            self.errors[least] = self.counts[least];
            self.counts[least] += weight;
            refill(&mut self.keys[least], key);
        }
    }

    /// Forgets everything but the buffers.
    fn restart(&mut self, number: u64) {
        self.number = number;
        self.hashes.clear();
        self.counts.clear();
        self.errors.clear();
    }

    fn footprint(&self) -> u64 {
        let numbers = self.hashes.capacity() + self.counts.capacity() + self.errors.capacity();
        let keys: usize = self.keys.iter().map(|key| key.capacity() + size_of::<Vec<u8>>()).sum();
        (numbers * size_of::<u64>() + keys) as u64
    }
}

fn refill(buffer: &mut Vec<u8>, key: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::KeyHasher;

    const SECOND: u64 = 1_000;

    fn hash(key: &str) -> KeyHash {
        KeyHasher::new([1, 2]).hash(key.as_bytes())
    }

    fn note(hot: &mut HotKeys, key: &str, times: u64) {
        (0..times).for_each(|_| hot.note(key.as_bytes(), hash(key)));
    }

    /// The keys by falling count.
    fn top(hot: &HotKeys, now_ms: u64) -> Vec<(String, u64, u64)> {
        let mut keys = hot.report(Mono::from_millis(now_ms)).1;
        keys.sort_by_key(|key| std::cmp::Reverse(key.requests));
        keys.into_iter().map(|it| (String::from_utf8(it.key).unwrap(), it.requests, it.error_at_most)).collect()
    }

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut hot = HotKeys::default();
        hot.tick(Mono::from_millis(SECOND));
        for n in 1..=100 {
            note(&mut hot, &format!("key-{n}"), n);
        }
        let top = top(&hot, 2 * SECOND);
        assert_eq!(top.len(), 100);
        assert_eq!(top[0], ("key-100".into(), 100, 0));
        assert_eq!(top[99], ("key-1".into(), 1, 0));
    }

    #[test]
    fn a_heavy_key_is_found_among_many_and_its_error_is_bounded() {
        let mut hot = HotKeys::default();
        for n in 0..50_000_u64 {
            let key = if n % 20 == 0 { "heavy".to_owned() } else { format!("once-{n}") };
            note(&mut hot, &key, 1);
        }
        let top = top(&hot, SECOND);
        let (key, requests, error) = top[0].clone();
        assert_eq!(key, "heavy");
        assert!(requests - error <= 2_500 && 2_500 <= requests, "{requests} {error}");
        assert!(error <= 50_000 / COUNTERS as u64, "{error}");
    }

    #[test]
    fn where_all_keys_are_alike_none_is_hot() {
        let mut hot = HotKeys::default();
        for n in 0..100_000_u64 {
            note(&mut hot, &format!("key-{}", n % 10_000), 1);
        }
        assert_eq!(top(&hot, SECOND), []);
    }

    #[test]
    fn what_was_hot_is_forgotten_after_two_windows() {
        let mut hot = HotKeys::default();
        hot.tick(Mono::from_millis(WINDOW_MS));
        note(&mut hot, "old", 5);
        hot.tick(Mono::from_millis(2 * WINDOW_MS));
        note(&mut hot, "old", 1);
        note(&mut hot, "new", 2);
        assert_eq!(top(&hot, 2 * WINDOW_MS), [("old".into(), 6, 0), ("new".into(), 2, 0)]);
        assert_eq!(hot.report(Mono::from_millis(2 * WINDOW_MS + 7)).0, WINDOW_MS + 7);

        hot.tick(Mono::from_millis(3 * WINDOW_MS));
        assert_eq!(top(&hot, 3 * WINDOW_MS), [("new".into(), 2, 0), ("old".into(), 1, 0)]);
        // Nobody looked for a long time: what the window holds is older than it may be.
        hot.tick(Mono::from_millis(9 * WINDOW_MS));
        assert_eq!(top(&hot, 9 * WINDOW_MS), []);
    }

    #[test]
    fn under_load_one_of_several_stands_for_all_even_if_keys_go_round() {
        let mut hot = HotKeys::default();
        let names: Vec<String> = (0..16).map(|n| format!("round-{n}")).collect();
        for tick in 1..=50 {
            for n in 0..20_000 {
                let key = &names[n % names.len()];
                hot.note(key.as_bytes(), hash(key));
            }
            hot.tick(Mono::from_millis(tick * 100));
        }
        assert_eq!(hot.every, 100, "200,000 a second are looked at 2,000 times");
        let top = top(&hot, 5 * SECOND);
        assert_eq!(top.len(), 16);
        let total: u64 = top.iter().map(|(_, requests, _)| requests).sum();
        assert!((900_000..1_100_000).contains(&total), "{total}");
        assert!(top.iter().all(|(_, requests, _)| (45_000..85_000).contains(requests)), "{top:?}");
    }

    #[test]
    fn after_a_burst_every_operation_is_looked_at_again() {
        let mut hot = HotKeys::default();
        (0..1_000_000).for_each(|_| hot.note(b"busy", KeyHash(1)));
        hot.tick(Mono::from_millis(100));
        assert!(hot.every > 1);
        hot.tick(Mono::from_millis(200));
        assert_eq!(hot.every, 1);
        (0..4).for_each(|_| hot.note(b"calm", KeyHash(2)));
        assert_eq!(hot.weight, 1);
        assert!(hot.report(Mono::from_millis(201)).1.iter().any(|key| key.key == b"calm" && key.requests == 4));
    }

    #[test]
    fn counters_that_have_held_keys_allocate_nothing() {
        let mut hot = HotKeys::default();
        for n in 0..1_000_u32 {
            hot.note(&n.to_le_bytes(), KeyHash(n.into()));
        }
        let before = hot.footprint();
        for n in 1_000..2_000_u32 {
            hot.note(&n.to_le_bytes(), KeyHash(n.into()));
        }
        assert_eq!(hot.footprint(), before);
        assert!(before < 64 * 1024, "{before}");
    }
}
