use proptest::prelude::*;

use super::*;

fn rules(bytes_max: u64, types: &str) -> Rules {
    Rules { bytes_max, types: types.parse().unwrap() }
}

fn seen(claimed: &str, bytes: &[u8]) -> Seen {
    let rules = rules(1 << 20, "");
    let mut receiving = Receiving::new(&rules, Some(claimed));
    for chunk in bytes.chunks(7) {
        assert_eq!(receiving.take(chunk), Ok(()));
    }
    receiving.finish()
}

fn kind(claimed: &str, bytes: &[u8]) -> String {
    seen(claimed, bytes).looks.content_type.into_owned()
}

#[test]
fn a_file_is_hashed_as_it_comes() {
    let seen = seen("text/plain; charset=utf-8", b"hello\n");
    assert_eq!(&*seen.sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    assert_eq!((seen.size, &*seen.looks.content_type), (6, "text/plain"));
}

#[test]
fn too_much_is_refused_in_the_middle() {
    let rules = rules(10, "");
    let mut receiving = Receiving::new(&rules, None);
    assert_eq!(receiving.take(&[0; 10]), Ok(()));
    assert!(receiving.take(&[0]).is_err_and(|error| error.code == ErrorCode::TooLarge));
}

#[test]
fn a_type_that_is_not_taken_is_refused_by_what_the_bytes_are() {
    let rules = rules(1 << 20, "image/*");
    let checked = |bytes: &[u8]| {
        let mut receiving = Receiving::new(&rules, Some("image/png"));
        receiving.take(bytes).and_then(|()| receiving.check())
    };
    assert_eq!(checked(b"GIF89a and so on"), Ok(()));
    let error = checked(b"<script>alert(1)</script>").unwrap_err();
    assert_eq!(error.message, "file is text/html; what is taken here is image/*");
    let mut receiving = Receiving::new(&rules, Some("image/png"));
    let long = [b"%PDF-".as_slice(), &[0; FILE_HEAD_BYTES_MAX]].concat();
    assert!(receiving.take(&long).is_err(), "before the rest has come");
}

#[test]
fn bytes_count_for_more_than_claims() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x10\0\0\0\x20";
    for (claimed, bytes, expected) in [
        ("text/html", &png[..], "image/png"),
        ("image/png", b"<script>alert(1)</script>", "text/html"),
        ("image/png", b"\xef\xbb\xbf \n<!DOCTYPE html><p>", "text/html"),
        ("image/jpeg", b"<?xml version='1.0'?><!-- x --><svg onload='alert(1)'/>", "image/svg+xml"),
        ("text/plain", b"<?xml version='1.0'?><a/>", "text/xml"),
        ("image/png", b"no picture", "application/octet-stream"),
        ("application/pdf", b"MZ\x90\0", "application/octet-stream"),
        ("text/plain", b"a\0b", "application/octet-stream"),
        ("multipart/form-data", b"x", "application/octet-stream"),
        ("no type at all", b"x", "application/octet-stream"),
        ("a/b\r\nSet-Cookie: c", b"x", "application/octet-stream"),
        ("text/csv", b"a,b\n<b>,1", "text/csv"),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            b"PK\x03\x04",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            b"x",
            "application/octet-stream",
        ),
        ("image/png", b"PK\x03\x04", "application/zip"),
    ] {
        assert_eq!(kind(claimed, bytes), expected, "{claimed}: {bytes:?}");
    }
}

#[test]
fn images_tell_their_size_and_nothing_unfolds() {
    let size = |claimed, bytes: &[u8]| {
        let looks = seen(claimed, bytes).looks;
        looks.width.zip(looks.height)
    };
    let png = |width: u32| {
        [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", &width.to_be_bytes()[..], &32u32.to_be_bytes()].concat()
    };
    assert_eq!(size("image/png", &png(16)), Some((16, 32)));
    assert_eq!(size("image/png", &png(2_000_000_000)), None, "a bomb's own claim is not passed on");
    assert_eq!(size("image/png", &png(16)[..18]), None);
    assert_eq!(size("image/gif", b"GIF89a\x05\0\x07\0"), Some((5, 7)));
    let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x0b\x08\0\x02\0\x03";
    assert_eq!(size("image/jpeg", jpeg), Some((3, 2)));
    assert_eq!(
        size("image/jpeg", b"\xff\xd8\xff\xe0\0\0\xff\xe0\0\0"),
        None,
        "segments without a length end"
    );
    assert_eq!(size("image/webp", b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x0f\0\0\x1f\0\0"), Some((16, 32)));
    assert_eq!(size("image/webp", b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x0f\xc0\x07\0"), Some((16, 32)));
    let avif = b"\0\0\0\x1cftypavif\0\0\0\0\0\0\0\x14ispe\0\0\0\0\0\0\0\x10\0\0\0\x20";
    assert_eq!(size("image/avif", avif), Some((16, 32)));
}

#[test]
fn names_are_no_paths_and_no_riddles() {
    for name in ["a.png", "Grüße 1.png", ".env", "...", "a\"b;c.png", &"x".repeat(256)] {
        assert!(named(name).is_ok(), "{name}");
    }
    for name in ["", ".", "..", "../a", "a/b", "a\\b", "a\nb", "a\0", "exe.\u{202e}gnp", &"x".repeat(257)] {
        assert!(named(name).is_err(), "{name:?}");
    }
}

#[test]
fn keys_are_letters() {
    let key = FileKey::from_entropy(u64::MAX, 7);
    assert_eq!(FileKey::parse(key.as_str()), Some(key));
    for text in [
        "",
        "../../etc/passwd/aaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaaa.",
        "äaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        assert_eq!(FileKey::parse(text), None, "{text}");
    }
}

#[test]
fn only_what_names_a_key_is_ours() -> Result<(), serde_json::Error> {
    let of = |json: &str| -> Result<_, serde_json::Error> {
        let raw = RawValue::from_string(json.into())?;
        Ok(attached(Some(&raw))
            .map(|files| files.iter().map(|file| file.key.as_str().to_owned()).collect::<Vec<_>>()))
    };
    let key = "a".repeat(26);
    assert_eq!(of(r#"[{"url":"u"},{"key":7},"key",null]"#)?, Ok(Vec::new()));
    assert_eq!(of(&format!(r#"[{{"key":"{key}","size":3}}]"#))?, Ok(vec![key.clone()]));
    assert!(of(r#"[{"key":"../x"}]"#)?.is_err());
    let many = format!("[{}]", vec![format!(r#"{{"key":"{key}"}}"#); FILES_ATTACHED_MAX + 1].join(","));
    assert!(of(&many)?.is_err());
    Ok(())
}

proptest! {
    #[test]
    fn a_key_has_all_the_bits_that_it_was_made_of(one: (u64, u64), other: (u64, u64)) {
        let key = |(high, low)| FileKey::from_entropy(high, low);
        prop_assert_eq!(key(one) == key(other), one == other);
        prop_assert_ne!(key(one), key((one.0 ^ 1, one.1)));
        prop_assert_ne!(key(one), key((one.0, one.1 ^ (1 << 63))));
        let written = key(one);
        prop_assert_eq!(FileKey::parse(written.as_str()), Some(written));
    }
}
