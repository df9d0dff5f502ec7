//! What a core counts, how the counts of all cores become one, and how a scrape shows them.
//!
//! Every core owns one [`CoreMetrics`] of plain integers. A scrape asks every core for a clone, adds the clones up in a
//! [`Merged`], and [`render`]s that as text.

mod classic;
mod core;
mod durations;
mod durations_text;
mod exposition;
mod merged;
mod text;

pub use self::core::{BackpressureReason, CoreMetrics};
pub use self::durations::{DurationHistogram, RequestDurations, RequestSeries, STATUSES};
pub use self::exposition::Exposition;
pub use self::merged::{ConfigReloads, Merged, ProcessFacts, ProcessStats, ShardLine};
pub use self::text::render;
