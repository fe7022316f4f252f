//! Files of `key = value` lines that others own: our values stand in one marked block at the end, and lines of the
//! same keys elsewhere are commented out. Both can be undone from the text alone, so that later edits by the
//! administrator survive.
//!
//! States of a text: without our block, with it. Blocks of the Python VDSM (`## beginning of configuration section by
//! vdsm-4.40.0`) count as ours: whoever configures a host with this tool replaces them.

use std::fmt::Write as _;

const BEGIN: &str = "## beginning of configuration section by vdsm";
const END: &str = "## end of configuration section by vdsm";
/// Before a line that another value of ours replaces.
const COMMENTED: &str = "## commented out by vdsm-rs: ";
/// How the Python VDSM marks such a line: this alone, and `# ` before the line after it.
const COMMENTED_UPSTREAM: &str = "## commented out by vdsm";

/// The text with these values in our block and nowhere else.
pub(crate) fn with_block(text: &str, values: &[(&str, String)]) -> String {
    let mut out = String::new();
    for line in without_block(text).lines() {
        if key_of(line).is_some_and(|key| values.iter().any(|(ours, _)| *ours == key)) {
            let _ = writeln!(out, "{COMMENTED}{line}");
        } else {
            let _ = writeln!(out, "{line}");
        }
    }
    let _ = writeln!(out, "{BEGIN}-rs");
    for (key, value) in values {
        let _ = writeln!(out, "{key} = {value}");
    }
    let _ = writeln!(out, "{END}-rs");
    out
}

/// The text as it was before: no block, and what was commented out is back.
pub(crate) fn without_block(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with(BEGIN) && closes(lines.clone()) {
            lines.by_ref().find(|line| line.starts_with(END));
            continue;
        }
        if line.trim_end() == COMMENTED_UPSTREAM
            && let Some(original) = lines.peek().and_then(|next| next.strip_prefix("# "))
        {
            let _ = writeln!(out, "{original}");
            lines.next();
            continue;
        }
        let line = line.strip_prefix(COMMENTED).unwrap_or(line);
        let _ = writeln!(out, "{line}");
    }
    out
}

/// A block that never ends is no block: the rest of the file is not ours to drop.
fn closes<'a>(mut rest: impl Iterator<Item = &'a str>) -> bool {
    rest.find(|line| line.starts_with(BEGIN) || line.starts_with(END))
        .is_some_and(|line| line.starts_with(END))
}

/// The key that a line sets.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!key.is_empty() && key.chars().all(word)).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> Vec<(&'static str, String)> {
        vec![("a", "1".to_owned()), ("b", "\"x\"".to_owned())]
    }

    #[test]
    fn values_replace_others_and_come_back() {
        let before = "# comment\na = 7\n#b = 0\nother=1\n  b=\"y\"\n";
        let with = with_block(before, &values());
        let ours: Vec<&str> = with.lines().filter(|line| key_of(line).is_some()).collect();
        assert_eq!(ours, ["other=1", "a = 1", "b = \"x\""]);
        assert_eq!(with_block(&with, &values()), with, "idempotent");
        assert_eq!(without_block(&with), before);
    }

    #[test]
    fn a_block_of_python_vdsm_is_replaced() {
        let before = "## commented out by vdsm\n# a = 7\n## beginning of configuration section by vdsm-4.40.0\n\
                      auth_unix_rw=\"sasl\"\n## end of configuration section by vdsm-4.40.0\nz = 1\n";
        assert_eq!(without_block(before), "a = 7\nz = 1\n");
        assert!(!with_block(before, &values()).contains("sasl"));
    }

    #[test]
    fn a_block_without_an_end_loses_nothing() {
        let before = format!("{BEGIN}\na = 1\nprecious = 1\n");
        assert!(without_block(&before).contains("precious"));
        let nested = format!("{BEGIN}\nprecious = 1\n{BEGIN}\na = 1\n{END}\n");
        assert!(without_block(&nested).contains("precious"));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(lines in proptest::collection::vec("[ab#=_ x\"]{0,12}", 0..20)) {
            let mut text = lines.join("\n");
            if !text.is_empty() {
                text.push('\n');
            }
            let with = with_block(&text, &values());
            prop_assert_eq!(with_block(&with, &values()), with.clone());
            prop_assert_eq!(without_block(&with), text);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = with_block(&text, &values());
        }
    }
}
