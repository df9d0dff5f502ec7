//! The runbook, cut into its blocks.

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The heading above it, and the line where it begins.
    pub place: String,
    pub language: String,
    pub text: String,
}

impl Block {
    /// What its output must contain, each an extended regular expression.
    pub fn expectations(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|line| line.trim_start().strip_prefix("# expect: "))
    }
}

/// All blocks, in order.
pub fn blocks(document: &str) -> Vec<Block> {
    let (mut blocks, mut heading) = (Vec::new(), "");
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(document.lines()) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                let place = format!("{heading}, line {number}");
                open = Some(Block { place, language: language.to_owned(), text: String::new() });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) if line.starts_with('#') => heading = line.trim_start_matches('#').trim(),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    blocks
}

/// The names of settings in the row of the table that says `when` they take effect.
pub fn settings_that_take_effect(document: &str, when: &str) -> Vec<String> {
    let row = document.lines().find_map(|line| line.strip_prefix(&format!("| {when} | ")));
    let row = row.unwrap_or_else(|| panic!("no row `{when}`"));
    row.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
