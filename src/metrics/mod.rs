//! What a core counts, how the counts of all cores become one, and how a scrape shows them.

/// Everything that one core counts.
#[derive(Clone, Debug, Default)]
pub struct CoreMetrics {}
