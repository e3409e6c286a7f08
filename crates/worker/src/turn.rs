//! One at a time, whatever happens to it: a panic in the middle must not leave the place taken for ever.

use std::cell::Cell;

pub(crate) struct Turn<'a>(&'a Cell<bool>);

impl<'a> Turn<'a> {
    /// None while somebody else has it.
    pub(crate) fn take(is_taken: &'a Cell<bool>) -> Option<Self> {
        (!is_taken.replace(true)).then_some(Self(is_taken))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
