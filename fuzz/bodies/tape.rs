//! The first bytes of an input, read as choices.

/// Gives out bytes as choices; 0 for ever when there are none left, so that every input is a good one.
pub struct Tape<'d>(&'d [u8]);

impl<'d> Tape<'d> {
    pub const fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub const fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    pub fn two_bytes(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    /// Places at which a text of `len` bytes is to be cut, in order; at most seven.
    pub fn cuts(&mut self, len: impl FnOnce(&Self) -> usize) -> Vec<usize> {
        let raw: Vec<usize> = (0..self.byte() % 8).map(|_| self.two_bytes()).collect();
        let len = len(self);
        let mut cuts: Vec<usize> = raw.into_iter().map(|place| place % (len + 1)).collect();
        cuts.sort_unstable();
        cuts
    }

    /// What is left.
    pub const fn rest(&self) -> &'d [u8] {
        self.0
    }
}

/// The pieces that `text` falls into at `cuts`, which are in order.
pub fn pieces<'t>(text: &'t [u8], cuts: &[usize]) -> Vec<&'t [u8]> {
    let ends = cuts.iter().copied().chain([text.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| &text[start..end]).collect()
}
