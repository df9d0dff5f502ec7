//! From OpenMetrics to the Prometheus text format 0.0.4, which `prometheus-client` does not write itself.

/// The same samples in the older format, given what `prometheus-client` wrote. The formats differ in that a counter's
/// description carries the `_total` of its samples here, and there are no units and no end mark.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        match line.split_once(' ') {
            Some(("#", comment)) if comment.starts_with("HELP ") => {
                // The type stands on the next line, and the name on both depends on it.
                let is_counter = lines.peek().is_some_and(|next| next.ends_with(" counter"));
                push_description(&mut classic, line, is_counter);
            }
            Some(("#", comment)) if comment.starts_with("TYPE ") => {
                push_description(&mut classic, line, line.ends_with(" counter"));
            }
            Some(("#", _)) => {}
            _ => {
                classic.push_str(line);
                classic.push('\n');
            }
        }
    }
    classic
}

/// Copies `# KEYWORD name rest`, with the name of a counter made that of its samples.
fn push_description(classic: &mut String, line: &str, is_counter: bool) {
    let name_end = line.match_indices(' ').nth(2).map_or(line.len(), |(at, _)| at);
    let (name, rest) = line.split_at(name_end);
    classic.push_str(name);
    if is_counter {
        classic.push_str("_total");
    }
    classic.push_str(rest);
    classic.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_samples() {
        let open = "# HELP hits Reads that found something.\n# TYPE hits counter\nhits_total{shard=\"0\"} 7\n\
                    # HELP load_bytes Now.\n# TYPE load_bytes gauge\n# UNIT load_bytes bytes\nload_bytes 3\n\
                    # EOF\n";
        let classic = "# HELP hits_total Reads that found something.\n# TYPE hits_total counter\n\
                       hits_total{shard=\"0\"} 7\n\
                       # HELP load_bytes Now.\n# TYPE load_bytes gauge\nload_bytes 3\n";
        assert_eq!(from_open_metrics(open), classic);
    }
}
