//! The frame codec by properties: round trips, arbitrary bytes, arbitrary splits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use rpc::frame::{Codec, Command, Frame, FrameError, FrameLimits};
use tokio_util::codec::{Decoder, Encoder};

fn decode_all(codec: &mut Codec, src: &mut BytesMut) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    while let Some(frame) = codec.decode(src)? {
        frames.push(frame);
    }
    Ok(frames)
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let text = "[a-z\\\\:\r\n é\u{1f600}]{0,12}";
    (
        select(Command::ALL.to_vec()),
        vec((text, text), 0..6),
        vec(any::<u8>(), 0..200),
    )
        .prop_map(|(command, headers, body)| {
            let frame = Frame::new(command).with_body(body);
            headers
                .into_iter()
                .fold(frame, |frame, (name, value)| frame.with_header(name, value))
        })
}

/// Bytes that look like frames often enough to get deep into the decoder.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        select(Command::ALL.map(Command::as_str).to_vec()).prop_map(|it| it.as_bytes().to_vec()),
        select(vec![
            "\n",
            "\n\n",
            "\r\n",
            "\0",
            ":",
            "\\",
            "content-length:",
            "5",
            "a:b\n",
            "\\c"
        ])
        .prop_map(|it| it.as_bytes().to_vec()),
        vec(any::<u8>(), 0..8),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn outcome(codec: &mut Codec, chunks: &[&[u8]]) -> (Vec<Frame>, Option<String>) {
    let (mut src, mut frames) = (BytesMut::new(), Vec::new());
    for chunk in chunks {
        src.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut src) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

proptest! {
    #[test]
    fn what_can_be_encoded_decodes_to_itself(frames in vec(any_frame(), 0..5)) {
        let (mut codec, mut bytes) = (Codec::default(), BytesMut::new());
        let mut sent = Vec::new();
        for frame in frames {
            let mut one = BytesMut::new();
            match codec.encode(&frame, &mut one) {
                Ok(()) => {
                    bytes.extend_from_slice(&one);
                    bytes.extend_from_slice(b"\n\r\n");
                    sent.push(frame);
                }
                Err(FrameError::Unencodable { .. }) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        prop_assert_eq!(decode_all(&mut codec, &mut bytes).unwrap(), sent);
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn any_bytes_give_frames_or_an_error(bytes in prop_oneof![vec(any::<u8>(), 0..400), nearly_frames()]) {
        let limits = FrameLimits { head: 100, headers: 4, body: 50 };
        let (frames, _) = outcome(&mut Codec::new(limits), &[&bytes]);
        for frame in frames {
            prop_assert!(frame.body.len() <= 50 && frame.headers().count() <= 4);
        }
    }

    #[test]
    fn splits_do_not_matter(
        bytes in prop_oneof![
            nearly_frames(),
            vec(any_frame(), 1..4).prop_map(|frames| {
                frames.iter().filter_map(|frame| frame.to_bytes().ok()).collect::<Vec<_>>().concat()
            }),
        ],
        cuts in prop_oneof![vec(any::<usize>(), 0..10), Just((0..2000).collect())],
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let whole = outcome(&mut Codec::default(), &[&bytes]);
        prop_assert_eq!(outcome(&mut Codec::default(), &chunks), whole);
    }

    #[test]
    fn any_text_gives_an_answer(body in prop_oneof![
        vec(any::<u8>(), 0..200),
        "[\\[\\]{}\",:0-9a-z.\\-\\\\ ]{0,80}".prop_map(String::into_bytes),
        vec(select(vec!["{", "}", "[", "]", ",", ":", "\"jsonrpc\"", "\"2.0\"", "\"method\"", "\"id\"",
            "\"params\"", "null", "1", "\"x\"", "{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":1}"]), 0..20)
            .prop_map(|it| it.concat().into_bytes()),
    ]) {
        use rpc::jsonrpc::{Incoming, parse};
        match parse(&body, 5) {
            Incoming::Single(Err(rejected)) => prop_assert!(rejected.error.code < 0),
            Incoming::Single(Ok(request)) => {
                let structured = request.params.is_none_or(|it| it.get().starts_with(['{', '[']));
                prop_assert!(structured);
            }
            Incoming::Batch(items) => prop_assert!(!items.is_empty() && items.len() <= 5),
        }
    }
}

#[test]
fn a_line_end_split_before_a_frame_is_skipped_whole() {
    let (mut codec, mut src) = (Codec::default(), BytesMut::from(&b"\r"[..]));
    assert_eq!(codec.decode(&mut src).unwrap(), None);
    src.extend_from_slice(b"\nSEND\0");
    assert!(matches!(codec.decode(&mut src), Err(FrameError::NulInHead)));
    let (mut codec, mut src) = (Codec::default(), BytesMut::from(&b"\r"[..]));
    assert_eq!(codec.decode(&mut src).unwrap(), None);
    src.extend_from_slice(b"\n\n\nSEND\n\n\0");
    assert_eq!(
        codec.decode(&mut src).unwrap().unwrap(),
        Frame::new(Command::Send)
    );
}

#[test]
fn the_first_of_repeated_headers_counts() {
    let mut src = BytesMut::from(&b"MESSAGE\nfoo:World\nfoo:Hello\n\n\0"[..]);
    let frame = Codec::default().decode(&mut src).unwrap().unwrap();
    assert_eq!(frame.headers().collect::<Vec<_>>(), [("foo", "World")]);
}

#[test]
fn of_repeated_lengths_the_first_counts() {
    let mut src = BytesMut::from(&b"SEND\ncontent-length:2\ncontent-length:50\n\nab\0"[..]);
    assert_eq!(
        Codec::default().decode(&mut src).unwrap().unwrap().body,
        "ab"
    );
}

#[test]
fn escapes_are_undone_but_not_in_connect() {
    let mut codec = Codec::default();
    let mut src =
        BytesMut::from(&b"SEND\na\\cb:\\n\\r\\\\c\n\n\0CONNECT\npasscode:a\\tb:c\n\n\0"[..]);
    let frames = decode_all(&mut codec, &mut src).unwrap();
    assert_eq!(frames[0].header("a:b"), Some("\n\r\\c"));
    assert_eq!(frames[1].header("passcode"), Some("a\\tb:c"));
}

#[test]
fn a_raw_colon_in_a_value_is_taken() {
    let mut src = BytesMut::from(&b"SEND\ndestination:queue:one\n\n\0"[..]);
    let frame = Codec::default().decode(&mut src).unwrap().unwrap();
    assert_eq!(frame.header("destination"), Some("queue:one"));
}

#[test]
fn an_announced_gigabyte_reserves_nothing() {
    let mut src = BytesMut::from(&b"SEND\ncontent-length:1073741824\n\n"[..]);
    let error = Codec::default().decode(&mut src).unwrap_err();
    assert!(
        matches!(error, FrameError::BodyTooLarge { limit: 33_554_432 }),
        "{error}"
    );
    assert!(src.capacity() < 1000);
}

#[test]
fn error_texts_hold_strings_as_python_writes_them() {
    use rpc::jsonrpc::{RpcError, python_repr};
    // Each pair is what Python 3 prints for the string.
    for (text, python) in [
        ("", "''"),
        ("plain é", "'plain é'"),
        ("it's", "\"it's\""),
        ("say \"x\"", "'say \"x\"'"),
        ("it's \"x\"", "'it\\'s \"x\"'"),
        ("a\\b\n\t\r\u{1}", "'a\\\\b\\n\\t\\r\\x01'"),
    ] {
        assert_eq!(python_repr(text), python);
    }
    let error = RpcError::with_context(1, "No such thing", &[("vmId", "x"), ("why", "it's")]);
    assert_eq!(
        error.message,
        "No such thing: {'vmId': 'x', 'why': \"it's\"}"
    );
}
