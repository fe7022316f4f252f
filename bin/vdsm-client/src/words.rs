//! A line as words, as a shell splits it: blanks part words, quotes and backslashes hold them together.
//!
//! Nothing is expanded. Look next: `batch.rs` (calls, a line each) and `complete.rs` (a line that is being typed).

/// A line that ends within a quote.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quote {0} is not closed")]
pub(crate) struct OpenQuote(pub(crate) char);

/// The words of a whole line.
pub(crate) fn split(line: &str) -> Result<Vec<String>, OpenQuote> {
    let mut splitter = Splitter::default();
    splitter.read(line);
    match splitter.quote {
        Some(quote) => Err(OpenQuote(quote)),
        None => Ok(splitter.words.into_iter().chain(splitter.word).collect()),
    }
}

/// The words of a line that is being typed; the last is the one beneath the cursor, perhaps empty.
pub(crate) fn typed(line: &str) -> Vec<String> {
    let mut splitter = Splitter::default();
    splitter.read(line);
    let last = splitter.word.unwrap_or_default();
    splitter.words.push(last);
    splitter.words
}

/// States: between words (`word` is `None`), in a word, in a quote of a word.
#[derive(Default)]
struct Splitter {
    words: Vec<String>,
    word: Option<String>,
    quote: Option<char>,
}

impl Splitter {
    fn read(&mut self, line: &str) {
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match (self.quote, c) {
                (Some(quote), c) if c == quote => self.quote = None,
                // Within double quotes a backslash speaks only to these.
                (Some('"'), '\\') => match chars.next_if(|c| matches!(c, '"' | '\\' | '$' | '`')) {
                    Some(escaped) => self.push(escaped),
                    None => self.push('\\'),
                },
                (None, '\'' | '"') => {
                    self.quote = Some(c);
                    self.word.get_or_insert_default();
                }
                (None, '\\') => self.push(chars.next().unwrap_or('\\')),
                (None, c) if c.is_whitespace() => self.words.extend(self.word.take()),
                (_, c) => self.push(c),
            }
        }
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_splits_them() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  Host\tping2 ", &["Host", "ping2"]),
            (r#"a='b c' d="e f""#, &["a=b c", "d=e f"]),
            (r#"'{"a": 1}' "" ''"#, &[r#"{"a": 1}"#, "", ""]),
            (r"a\ b \\ \'", &["a b", r"\", "'"]),
            (r#""a\"b\\c\d""#, &[r#"a"b\c\d"#]),
            (r"'a\b'", &[r"a\b"]),
            ("end\\", &["end\\"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert_eq!(split("a 'b"), Err(OpenQuote('\'')));
        assert_eq!(split("a \"b'"), Err(OpenQuote('"')));
    }

    #[test]
    fn what_is_being_typed_ends_with_the_word_at_the_cursor() {
        assert_eq!(typed(""), [""]);
        assert_eq!(typed("vdsm-client "), ["vdsm-client", ""]);
        assert_eq!(typed("vdsm-client Ho"), ["vdsm-client", "Ho"]);
        assert_eq!(typed("x a='b c"), ["x", "a=b c"]);
    }

    proptest! {
        #[test]
        fn words_survive_quoting(words in proptest::collection::vec(any::<String>(), 0..5)) {
            let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line).unwrap(), words);
        }

        #[test]
        fn no_line_hurts(line in any::<String>()) {
            let _ = split(&line);
            prop_assert!(!typed(&line).is_empty());
        }
    }
}
