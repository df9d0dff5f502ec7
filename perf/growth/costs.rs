//! What things take. Nothing about time is known here beyond these numbers.

use clap::Args;
use serde::Serialize;

/// In nanoseconds of CPU of the core that does it, but for the last two, which pass without any.
#[derive(Args, Clone, Copy, Debug, Serialize)]
pub struct Costs {
    /// A GET of an own key, from its bytes to its answer, both system calls included
    #[arg(long, default_value_t = 7_400)]
    pub request_ns: u64,
    /// Of that: finding the key and copying the value, which its owner does
    #[arg(long, default_value_t = 300)]
    pub lookup_ns: u64,
    /// Of that: sending the answer, which happens at the end of a turn if the key was foreign
    #[arg(long, default_value_t = 4_400)]
    pub answer_ns: u64,
    /// What a key of a batch takes besides, where it is asked for
    #[arg(long, default_value_t = 700)]
    pub batch_key_ns: u64,
    /// A cache line that another core has written, for whoever reads or writes it next
    #[arg(long, default_value_t = 100)]
    pub line_ns: u64,
    /// Packing a parcel and handing it over, cache lines apart
    #[arg(long, default_value_t = 300)]
    pub send_ns: u64,
    /// Taking a parcel, unpacking it and handing it back, at the owner, cache lines apart
    #[arg(long, default_value_t = 300)]
    pub serve_ns: u64,
    /// Taking the parcel back, cache lines apart
    #[arg(long, default_value_t = 300)]
    pub back_ns: u64,
    /// Looking for work once: what each turn takes besides what it does
    #[arg(long, default_value_t = 1_000)]
    pub turn_ns: u64,
    /// The same, for a core that has traded parcels and looks once more before it sleeps
    #[arg(long, default_value_t = 1_500)]
    pub look_ns: u64,
    /// Going to sleep and being woken, for whoever sleeps
    #[arg(long, default_value_t = 5_000)]
    pub sleep_ns: u64,
    /// Ringing at a core that sleeps, for whoever rings
    #[arg(long, default_value_t = 3_000)]
    pub ring_ns: u64,
    /// From when a core is rung at, or is sent a request, until it begins to wake up
    #[arg(long, default_value_t = 5_000)]
    pub wake_ns: u64,
    /// From an answer until the next request of that client, in a closed loop
    #[arg(long, default_value_t = 20_000)]
    pub client_ns: u64,
}

/// What a core has done, to be charged for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Keys that the request named.
    pub keys: u64,
    /// Keys that it applied itself.
    pub own: u64,
    /// Parcels that it sent.
    pub parcels: u64,
    /// Whether it has answered.
    pub is_answered: bool,
}

impl Costs {
    /// Taking a request.
    pub fn of_asking(&self, asked: Asked) -> u64 {
        let answer = if asked.is_answered { self.answer_ns } else { 0 };
        let batch = if asked.keys > 1 { asked.keys * self.batch_key_ns } else { 0 };
        let reading = self.request_ns.saturating_sub(self.lookup_ns + self.answer_ns);
        reading + batch + asked.own * self.lookup_ns + asked.parcels * self.send_ns + answer
    }

    /// Carrying out a parcel for another core, which brings so many cache lines.
    pub const fn of_serving(&self, keys: u64, lines: u64) -> u64 {
        self.serve_ns + keys * self.lookup_ns + lines * self.line_ns
    }

    /// Taking it back.
    pub const fn of_taking_back(&self, lines: u64) -> u64 {
        self.back_ns + lines * self.line_ns
    }
}
