//! Files over files: the last value of an option wins; then `%(name)s` is resolved and the value typed.

use std::collections::BTreeMap;

use crate::{
    Source,
    error::{ConfigError, Warning, WarningKind},
    ini, options, upstream,
    value::Kind,
};

/// Values that every section may refer to.
const DEFAULT_SECTION: &str = "DEFAULT";
/// How deep one value may refer to another.
const MAX_DEPTH: usize = 10;
/// Longest value after resolving, bytes.
const MAX_VALUE: usize = 64 << 10;

#[derive(Debug, Clone)]
struct Value {
    text: String,
    file: String,
    line: usize,
}

/// All files as one.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    values: BTreeMap<(String, String), Value>,
    warnings: Vec<Warning>,
}

impl Merged {
    pub(crate) fn of(sources: &[Source], errors: &mut Vec<ConfigError>) -> Self {
        let table = options::table();
        let mut merged = Self::default();
        for source in sources {
            if source.text.len() > crate::MAX_FILE_BYTES {
                errors.push(ConfigError::TooLarge {
                    file: source.name.clone(),
                    bytes: source.text.len(),
                    limit: crate::MAX_FILE_BYTES,
                });
                continue;
            }
            let parsed = ini::parse(&source.name, &source.text);
            errors.extend(parsed.errors.iter().cloned());
            merged.warn(&source.name, &parsed, &table);
            merged.take(&source.name, parsed);
        }
        merged
    }

    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.warnings.clone()
    }

    fn take(&mut self, file: &str, parsed: ini::Parsed) {
        for entry in parsed.entries {
            let value = Value {
                text: entry.value,
                file: file.to_owned(),
                line: entry.line,
            };
            self.values.insert((entry.section, entry.option), value);
        }
    }

    fn warn(&mut self, file: &str, parsed: &ini::Parsed, table: &[options::SectionDoc]) {
        let mut push = |line, section: &str, option: &str, kind| {
            self.warnings.push(Warning {
                file: file.to_owned(),
                line,
                section: section.to_owned(),
                option: option.to_owned(),
                kind,
            });
        };
        for (section, line) in &parsed.sections {
            let known = table.iter().any(|s| s.name == section)
                || upstream::has_section(section)
                || section == DEFAULT_SECTION;
            if !known {
                push(*line, section, "", WarningKind::UnknownSection);
            }
        }
        for entry in &parsed.entries {
            let section = table.iter().find(|s| s.name == entry.section);
            let read = section.is_some_and(|s| s.options.iter().any(|o| o.name == entry.option));
            if read || entry.section == DEFAULT_SECTION {
                continue;
            }
            if upstream::has_option(&entry.section, &entry.option) {
                push(
                    entry.line,
                    &entry.section,
                    &entry.option,
                    WarningKind::NotReadYet,
                );
            } else if section.is_some() || upstream::has_section(&entry.section) {
                push(
                    entry.line,
                    &entry.section,
                    &entry.option,
                    WarningKind::UnknownOption,
                );
            }
        }
    }

    fn value(&self, section: &str, option: &str) -> Option<&Value> {
        self.values.get(&(section.to_owned(), option.to_owned()))
    }

    /// The text that `%(option)s` within `section` stands for, itself not yet resolved.
    fn referred(
        &self,
        section: &str,
        option: &str,
        table: &[options::SectionDoc],
    ) -> Option<String> {
        let default = || {
            let section = table.iter().find(|s| s.name == section)?;
            let option = section.options.iter().find(|o| o.name == option)?;
            Some(option.default.to_owned())
        };
        self.value(section, option)
            .map(|v| v.text.clone())
            .or_else(default)
            .or_else(|| self.value(DEFAULT_SECTION, option).map(|v| v.text.clone()))
    }

    fn resolve(
        &self,
        section: &str,
        raw: &str,
        depth: usize,
        table: &[options::SectionDoc],
    ) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err(format!("refers to others more than {MAX_DEPTH} deep"));
        }
        let mut out = String::new();
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let (name, after) = after
                .strip_prefix('(')
                .and_then(|a| a.split_once(")s"))
                .ok_or("a % must be followed by % or (option)s")?;
            let name = name.to_lowercase();
            let text = self
                .referred(section, &name, table)
                .ok_or_else(|| format!("refers to {name}, which is not set"))?;
            out.push_str(&self.resolve(section, &text, depth + 1, table)?);
            if out.len() > MAX_VALUE {
                return Err(format!("grows beyond {MAX_VALUE} bytes"));
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// Types options one by one and collects what is wrong with them.
pub(crate) struct Reader<'a> {
    merged: &'a Merged,
    table: Vec<options::SectionDoc>,
    errors: &'a mut Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(merged: &'a Merged, errors: &'a mut Vec<ConfigError>) -> Self {
        Self {
            merged,
            table: options::table(),
            errors,
        }
    }

    /// The value of an option; `None` if it is wrong, which has then been noted.
    pub(crate) fn read<T>(
        &mut self,
        section: &str,
        option: &str,
        default: &str,
        kind: &Kind<T>,
    ) -> Option<T> {
        let set = self.merged.value(section, option);
        let raw = set.map_or(default, |v| v.text.as_str());
        let place = || set.map_or("default".to_owned(), |v| format!("{}:{}", v.file, v.line));
        match self.merged.resolve(section, raw, 0, &self.table) {
            Err(why) => self.errors.push(ConfigError::Interpolation {
                place: place(),
                section: section.to_owned(),
                option: option.to_owned(),
                why,
            }),
            Ok(text) => match kind.parse(&text) {
                Some(value) => return Some(value),
                None => self.errors.push(ConfigError::BadValue {
                    place: place(),
                    section: section.to_owned(),
                    option: option.to_owned(),
                    value: text.chars().take(200).collect(),
                    allowed: kind.allowed().to_owned(),
                }),
            },
        }
        None
    }
}
