//! Commands, time, upkeep, budgets, leases and reservations on a shard, beside the model of `tests/model`; what that
//! test leaves to chance is read from the input.

#[path = "../../tests/model/ask.rs"]
mod ask;
#[path = "../../tests/model/naive.rs"]
mod naive;
#[path = "../../tests/model/pair.rs"]
#[expect(dead_code, reason = "whether enough has happened is a question to a long run")]
mod pair;
#[path = "../../tests/model/random.rs"]
#[expect(dead_code, reason = "seeds are for the test")]
mod random;

use pair::Pair;
use random::Random;

/// A longer input is cut off here.
const STEPS_MAX: u64 = 300;

pub fn run(data: &[u8]) {
    let mut random = Random::from_bytes(data);
    let round = random.below(2);
    let mut pair = Pair::new(&mut random, round);
    for step in 0..STEPS_MAX {
        if random.is_exhausted() {
            break;
        }
        pair.trace = format!("step {step}");
        pair.step(&mut random);
        pair.compare(step % 16 == 0);
    }
    pair.end();
}
