//! Frames as a client would build them, or nearly so, from a recipe: mutations keep lengths and masks right, which
//! those of raw bytes hardly ever do.

use weeziq_core::limits::FRAME_BYTES_MAX;
use weeziq_fuzz::Input;

const MASKED: u8 = 0x80;

/// Up to four messages' worth.
pub(crate) fn client_frames(input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() && stream.len() < 4 * FRAME_BYTES_MAX {
        let first = input.byte();
        let shape = input.byte();
        let mask = if shape & 1 == 0 { [0; 4] } else { std::array::from_fn(|_| input.byte()) };
        let payload = match input.byte() {
            0xFF => vec![input.byte(); usize::from(input.u16()) + usize::from(shape >> 6)],
            len => input.take(len.into()).to_vec(),
        };
        frame(first, mask, &payload, shape & 2 != 0, &mut stream);
    }
    stream
}

/// `widely`: with more bytes of length than it takes.
fn frame(first: u8, mask: [u8; 4], payload: &[u8], widely: bool, into: &mut Vec<u8>) {
    into.push(first);
    match payload.len() {
        len @ 0..=125 if !widely => into.push(MASKED | len as u8),
        len @ 0..=0xFFFF if !(widely && len > 125) => {
            into.push(MASKED | 126);
            into.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            into.push(MASKED | 127);
            into.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(&mask);
    into.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
