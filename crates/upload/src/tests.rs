use futures_executor::block_on;
use futures_util::stream;
use weeziq_core::protocol::error::ErrorCode;

use super::*;

const FORM: &str = "multipart/form-data; boundary=b";

fn upload(content_type: &str) -> Upload {
    Upload { content_type: Some(content_type.into()), ..Upload::default() }
}

/// In pieces of that many bytes.
fn source(body: &[u8], piece: usize) -> Source {
    let pieces: Vec<_> = body.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Source::new(stream::iter(pieces))
}

fn whole(source: &mut Source) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(piece) = block_on(source.read())? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[test]
fn a_body_is_read_as_it_is() {
    let mut raw = source(b"Hello", 2);
    block_on(raw.find_file(&mut upload("text/plain"), 100)).unwrap();
    assert_eq!(whole(&mut raw).unwrap(), b"Hello");
}

#[test]
fn a_form_brings_its_file_however_it_is_cut() {
    let file = "x".repeat(200_000);
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nfirst\r\n--b\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n{file}\r\n--b--\r\n"
    );
    for piece in [1, 7, 1_000, body.len()] {
        let (mut form, mut upload) = (source(body.as_bytes(), piece), upload(FORM));
        block_on(form.find_file(&mut upload, 1_000_000)).unwrap();
        assert_eq!(
            (upload.name.as_deref(), upload.content_type.as_deref()),
            (Some("a.txt"), Some("text/plain"))
        );
        assert_eq!(whole(&mut form).unwrap(), file.as_bytes());
        block_on(form.drain());
    }
}

#[test]
fn a_header_that_does_not_end_is_not_kept_for_long() {
    let body = [&b"--b\r\nX: "[..], &vec![b'a'; 1_000_000]].concat();
    let pieces = body.chunks(1_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    let body = stream::iter(pieces).inspect(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let mut form = Source::new(body);
    let error = block_on(form.find_file(&mut upload(FORM), 1_000_000)).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge, "{}", error.message);
    assert!(asked.load(std::sync::atomic::Ordering::Relaxed) <= 67, "64 KiB and no more");
}

#[test]
fn nor_is_one_behind_the_file() {
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nHello\r\n--b\r\nX: ";
    let body = [head.as_bytes(), &vec![b'a'; 1_000_000]].concat();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    let pieces = body.chunks(1_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
    let mut form = Source::new(stream::iter(pieces).inspect(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    block_on(form.find_file(&mut upload(FORM), 1_000_000)).unwrap();
    assert_eq!(whole(&mut form).unwrap(), b"Hello");
    block_on(form.drain());
    assert!(asked.load(std::sync::atomic::Ordering::Relaxed) <= 70);
}

#[test]
fn a_form_without_a_file_says_so() {
    let body = b"--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nfirst\r\n--b--\r\n";
    let error = block_on(source(body, 10).find_file(&mut upload(FORM), 100)).unwrap_err();
    assert!(error.message.contains("file"), "{}", error.message);
}
