//! How the targets read the bytes that the fuzzer gives them.

/// The bytes, taken from the front. What is missing reads as zero, so every input means something.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from(self.byte()) | u16::from(self.byte()) << 8
    }

    /// 0 to `end`, `end` excluded.
    pub fn below(&mut self, end: u8) -> u8 {
        self.byte() % end.max(1)
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// So many bytes, or as many as there are.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// `bytes` as they may come from a network. A cut is a fraction of the whole, so that it stays where it is when bytes
/// are added.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[u16]) -> Vec<&'a [u8]> {
    let place = |cut: &u16| (usize::from(*cut) * (bytes.len() + 1)) >> 16;
    let mut places: Vec<usize> = cuts.iter().map(place).chain([0, bytes.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|window| &bytes[window[0]..window[1]]).collect()
}
