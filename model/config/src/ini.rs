//! The grammar of one file, as Python's configparser reads vdsm.conf.
//!
//! `[section]`; `option = value` or `option: value` (names of options in lower case); whole-line comments
//! with `#` or `;`; no inline comments; a line indented deeper than its option continues the value; empty
//! lines within a value are kept, at its end dropped; a section or option twice in one file is an error.

use crate::error::ConfigError;

/// One option as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Section.
    pub(crate) section: String,
    /// Option, lower case.
    pub(crate) option: String,
    /// Value, lines joined with `\n`, not interpolated.
    pub(crate) value: String,
    /// Line of the option, from 1.
    pub(crate) line: usize,
}

/// One file, read.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Sections in order, with their lines.
    pub(crate) sections: Vec<(String, usize)>,
    /// Options in order.
    pub(crate) entries: Vec<Entry>,
    /// What was wrong.
    pub(crate) errors: Vec<ConfigError>,
}

/// Reads one file; never fails whole, errors are collected.
pub(crate) fn parse(file: &str, text: &str) -> Parsed {
    let mut state = State {
        file,
        parsed: Parsed::default(),
        section: None,
        indent: None,
    };
    for (index, line) in text.lines().enumerate() {
        state.line(index + 1, line);
    }
    let mut parsed = state.parsed;
    for entry in &mut parsed.entries {
        entry.value.truncate(entry.value.trim_end().len());
    }
    parsed
}

struct State<'a> {
    file: &'a str,
    parsed: Parsed,
    section: Option<String>,
    /// Indent of the option that a deeper line would continue.
    indent: Option<usize>,
}

impl State<'_> {
    fn line(&mut self, number: usize, line: &str) {
        let text = line.trim();
        if text.starts_with(['#', ';']) {
            return;
        }
        let indent = line.len() - line.trim_start().len();
        match (self.indent, self.parsed.entries.last_mut()) {
            (Some(_), Some(entry)) if text.is_empty() => entry.value.push('\n'),
            (Some(of_option), Some(entry)) if indent > of_option => {
                entry.value.push('\n');
                entry.value.push_str(text);
            }
            _ if text.is_empty() => {}
            _ => self.header_or_option(number, indent, text),
        }
    }

    fn header_or_option(&mut self, number: usize, indent: usize, text: &str) {
        self.indent = None;
        if let Some(rest) = text.strip_prefix('[') {
            match rest.rfind(']') {
                Some(end) if end > 0 => {
                    self.header(number, rest.get(..end).unwrap_or_default());
                }
                _ => self.error(number, format!("not a section: {}", shorten(text))),
            }
            return;
        }
        let Some(section) = self.section.clone() else {
            return self.error(number, "an option before the first [section]".to_owned());
        };
        match text.split_once(['=', ':']) {
            Some((option, value)) if !option.trim().is_empty() => {
                self.option(number, indent, section, option, value);
            }
            _ => self.error(number, format!("not `option = value`: {}", shorten(text))),
        }
    }

    fn header(&mut self, number: usize, name: &str) {
        if let Some((_, first)) = self.parsed.sections.iter().find(|(n, _)| n == name) {
            let why = format!("section [{name}] is there already, in line {first}");
            self.error(number, why);
        } else {
            self.parsed.sections.push((name.to_owned(), number));
        }
        self.section = Some(name.to_owned());
    }

    fn option(&mut self, line: usize, indent: usize, section: String, option: &str, value: &str) {
        let option = option.trim().to_lowercase();
        let double = self
            .parsed
            .entries
            .iter()
            .find(|e| e.section == section && e.option == option);
        if let Some(first) = double {
            let why = format!("{option} is there already, in line {}", first.line);
            return self.error(line, why);
        }
        self.parsed.entries.push(Entry {
            section,
            option,
            value: value.trim().to_owned(),
            line,
        });
        self.indent = Some(indent);
    }

    fn error(&mut self, line: usize, why: String) {
        self.parsed.errors.push(ConfigError::Syntax {
            file: self.file.to_owned(),
            line,
            why,
        });
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}
