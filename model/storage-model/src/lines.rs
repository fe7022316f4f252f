//! Lines as Python reads them: text is split at more places than `\n`, bytes only at `\n`, `\r`, `\r\n`.
//! A checksum is only right if both sides cut the same lines.

/// Does Python's `str.splitlines` end a line here?
pub(crate) fn ends_line(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r'
            | '\x0b'
            | '\x0c'
            | '\x1c'
            | '\x1d'
            | '\x1e'
            | '\u{85}'
            | '\u{2028}'
            | '\u{2029}'
    )
}

/// `str.splitlines()`.
pub(crate) fn split_text(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some((at, end)) = rest.char_indices().find(|(_, c)| ends_line(*c)) else {
            lines.push(rest);
            break;
        };
        let (line, tail) = rest.split_at(at);
        lines.push(line);
        rest = match (end, tail.strip_prefix("\r\n")) {
            ('\r', Some(after)) => after,
            _ => tail.strip_prefix(end).unwrap_or_default(),
        };
    }
    lines
}

/// `bytes.splitlines()`.
pub(crate) fn split_bytes(data: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let Some(at) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
            lines.push(rest);
            break;
        };
        let (line, tail) = rest.split_at(at);
        lines.push(line);
        rest = tail
            .strip_prefix(b"\r\n")
            .or_else(|| tail.get(1..))
            .unwrap_or_default();
    }
    lines
}

/// Without the NUL bytes that pad a file or block to its size.
pub(crate) fn strip_padding(data: &[u8]) -> &[u8] {
    let end = data.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    data.get(..end).unwrap_or_default()
}

/// May this be stored as the value of a key? Nothing that ends a line, no NUL.
pub(crate) fn storable(value: &str) -> bool {
    !value.chars().any(|c| ends_line(c) || c == '\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_python_cuts() {
        assert_eq!(split_text("a\r\nb\rc\nd"), ["a", "b", "c", "d"]);
        assert_eq!(split_text("a\u{2028}b\x0bc\n\n"), ["a", "b", "c", ""]);
        assert_eq!(split_text("x\u{85}"), ["x"]);
        assert!(split_text("").is_empty());
    }

    #[test]
    fn bytes_are_cut_at_newlines_only() {
        assert_eq!(split_bytes(b"a\r\nb\x0bc\rd"), [&b"a"[..], b"b\x0bc", b"d"]);
        assert_eq!(split_bytes(b"\n"), [&b""[..]]);
    }

    #[test]
    fn padding_goes() {
        assert_eq!(strip_padding(b"a\0b\0\0"), b"a\0b");
        assert_eq!(strip_padding(b"\0\0"), b"");
    }
}
