//! What the mock model says: tokens of one length, each with its number and the moment at which it was written. One
//! letter takes two bytes, so that a token cut in its middle would show.

use std::io::Write as _;

/// Bytes of one token.
pub(crate) const TOKEN_BYTES: usize = 24;

/// Appends the token; its moment is on the generator's clock.
pub(crate) fn write(out: &mut Vec<u8>, number: u32, said_ns: u64) {
    // Writing to a Vec can't fail. Five digits hold more tokens than the longest run has.
    let _ = write!(out, "{:05x}ü{said_ns:016x} ", number & 0xf_ffff);
}

/// The number that a token bears; `None` if it is none.
pub(crate) fn number(token: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(token.get(..5)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_length_and_bears_its_number() {
        for (count, ns) in [(0, 0), (7, 123_456_789), (0xf_ffff, u64::MAX)] {
            let mut out = Vec::new();
            write(&mut out, count, ns);
            assert_eq!((out.len(), number(&out)), (TOKEN_BYTES, Some(count)));
        }
        assert_eq!((number(b"00"), number("zzzzz".as_bytes())), (None, None));
    }
}
