//! Width and height of an image, read from its header alone: nothing is decoded, so nothing can unfold.

/// A page leaves room for an image before it is there; a size beyond this is not a picture's.
const PIXELS_A_SIDE_MAX: u32 = 65_535;

pub(super) fn size(content_type: &str, head: &[u8]) -> Option<(u32, u32)> {
    let (width, height) = match content_type {
        "image/png" => (be32(head, 16)?, be32(head, 20)?),
        "image/gif" => (le16(head, 6)?, le16(head, 8)?),
        "image/jpeg" => jpeg(head)?,
        "image/webp" => webp(head)?,
        "image/avif" => avif(head)?,
        _ => return None,
    };
    let is_side = |side: u32| (1..=PIXELS_A_SIDE_MAX).contains(&side);
    (is_side(width) && is_side(height)).then_some((width, height))
}

/// The frame header among the segments before the picture itself (ITU-T T.81, B.1.1.4).
fn jpeg(head: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let (mark, marker) = (byte(head, at)?, byte(head, at + 1)?);
        match (mark, marker) {
            (0xff, 0xff) => at += 1, // filling
            (0xff, 0xc0..=0xcf) if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some((be16(head, at + 7)?, be16(head, at + 5)?));
            }
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, 0xd8..=0xda) => return None,
            (0xff, _) => at += 2 + (be16(head, at + 2)?.max(2) as usize),
            _ => return None,
        }
    }
}

fn webp(head: &[u8]) -> Option<(u32, u32)> {
    match head.get(12..16)? {
        b"VP8 " => Some((le16(head, 26)? & 0x3fff, le16(head, 28)? & 0x3fff)),
        b"VP8L" => {
            let bits = le16(head, 21)? | (le16(head, 23)? << 16);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8X" => {
            let le24 = |at| Some(le16(head, at)? | (u32::from(byte(head, at + 2)?) << 16));
            Some((le24(24)? + 1, le24(27)? + 1))
        }
        _ => None,
    }
}

/// The first property that tells a spatial extent (ISO/IEC 23008-12, 6.5.3).
fn avif(head: &[u8]) -> Option<(u32, u32)> {
    let at = memchr::memmem::find(head, b"ispe")?;
    Some((be32(head, at + 8)?, be32(head, at + 12)?))
}

fn byte(head: &[u8], at: usize) -> Option<u8> {
    head.get(at).copied()
}

fn be16(head: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_be_bytes([byte(head, at)?, byte(head, at + 1)?])))
}

fn le16(head: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_le_bytes([byte(head, at)?, byte(head, at + 1)?])))
}

fn be32(head: &[u8], at: usize) -> Option<u32> {
    Some((be16(head, at)? << 16) | be16(head, at + 2)?)
}
