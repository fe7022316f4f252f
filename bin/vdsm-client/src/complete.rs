//! Completion: which words may stand at the cursor, with a word about each.
//!
//! The scripts for shells are small; they ask this program (`vdsm-client complete SHELL LINE`), so that verbs,
//! parameters and their values follow from the declarations here too. Nothing is connected to.

use clap::{Arg, Command as CommandLine, ValueEnum};
use schema::{
    Namespace, VerbDecl,
    desc::{FieldDesc, Type},
};

use crate::{cli, help, output::clean, words};

/// A shell for which there is a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU's.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// What the shell reads once.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("complete/vdsm-client.bash"),
            Self::Zsh => include_str!("complete/vdsm-client.zsh"),
            Self::Fish => include_str!("complete/vdsm-client.fish"),
        }
    }
}

/// A word that may stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    word: String,
    about: String,
}

/// What is typed so far.
#[derive(Default)]
struct Typed<'a> {
    namespace: Option<&'static Namespace>,
    verb: Option<&'static VerbDecl>,
    /// Parameters that have a value.
    given: Vec<&'a str>,
    /// The option whose value is at the cursor.
    option: Option<Arg>,
    /// A subcommand that is no namespace.
    other: Option<&'a str>,
}

/// The candidates for a line, as the shell wants them: a line each.
pub(crate) fn candidates(shell: Shell, line: &str) -> String {
    let words = words::typed(line);
    let Some(([_, before @ ..], current)) = words.split_last().map(|(last, rest)| (rest, last))
    else {
        return String::new();
    };
    let command = cli::command(cli::Detail::Names);
    let typed = Typed::read(&command, before);
    let mut found = typed.candidates(&command, current);
    found.retain(|candidate| candidate.word.starts_with(current.as_str()));
    found
        .iter()
        .map(|candidate| shown(shell, candidate, current))
        .collect()
}

impl<'a> Typed<'a> {
    fn read(command: &CommandLine, words: &'a [String]) -> Self {
        let mut typed = Self::default();
        for word in words {
            typed.take(command, word);
        }
        typed
    }

    fn take(&mut self, command: &CommandLine, word: &'a str) {
        if self.option.take().is_some() {
            return;
        }
        if word.starts_with('-') && word.len() > 1 {
            self.option = wants_value(command, word);
        } else if let Some(namespace) = self.namespace.filter(|_| self.verb.is_none()) {
            self.verb = schema::find(&format!("{}.{word}", namespace.name));
        } else if self.verb.is_some() {
            self.given
                .extend(word.split_once('=').map(|(name, _)| name));
        } else {
            self.namespace = schema::namespace(word);
            self.other = self.namespace.is_none().then_some(word);
        }
    }

    fn candidates(&self, command: &CommandLine, current: &str) -> Vec<Candidate> {
        if let Some(option) = &self.option {
            return values_of_option(option);
        }
        if let Some((option, _)) = current
            .split_once('=')
            .filter(|_| current.starts_with("--"))
        {
            let values = long(command, option).map(values_of_option);
            return prefixed(values.unwrap_or_default(), option);
        }
        if current.starts_with('-') {
            return options(command);
        }
        match (self.namespace, self.verb) {
            (_, Some(verb)) => self.parameters(verb, current),
            (Some(namespace), None) => verbs(namespace),
            (None, None) => self.first(command),
        }
    }

    fn first(&self, command: &CommandLine) -> Vec<Candidate> {
        match self.other {
            None => command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(|sub| {
                    candidate(
                        sub.get_name(),
                        &sub.get_about().map(ToString::to_string).unwrap_or_default(),
                    )
                })
                .collect(),
            Some(cli::COMPLETION) => Shell::value_variants()
                .iter()
                .filter_map(Shell::to_possible_value)
                .map(|shell| candidate(shell.get_name(), ""))
                .collect(),
            Some(_) => Vec::new(),
        }
    }

    fn parameters(&self, verb: &VerbDecl, current: &str) -> Vec<Candidate> {
        let fields = verb.params.fields.iter();
        match current.split_once('=') {
            Some((name, _)) => {
                let values = verb.params.field(name).map(|field| values(field.ty));
                prefixed(values.unwrap_or_default(), name)
            }
            None => fields
                .filter(|field| !self.given.contains(&field.name))
                .map(parameter)
                .collect(),
        }
    }
}

fn parameter(field: &FieldDesc) -> Candidate {
    let need = if field.required() { ", required" } else { "" };
    candidate(
        &format!("{}=", field.name),
        &format!("{}{need}: {}", field.ty.inner(), help::unwrapped(field.doc)),
    )
}

fn verbs(namespace: &Namespace) -> Vec<Candidate> {
    namespace
        .verbs
        .iter()
        .map(|verb| candidate(verb.name, &help::about(verb)))
        .collect()
}

fn options(command: &CommandLine) -> Vec<Candidate> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| {
            let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some(candidate(&format!("--{}", arg.get_long()?), &about))
        })
        .collect()
}

/// Values of a parameter that can be told beforehand.
fn values(ty: &Type) -> Vec<Candidate> {
    match ty.inner() {
        Type::Bool => vec![candidate("true", ""), candidate("false", "")],
        Type::Enum(desc) => desc
            .values
            .iter()
            .filter(|value| !value.name.is_empty())
            .map(|value| candidate(value.name, value.doc))
            .collect(),
        _ => Vec::new(),
    }
}

fn values_of_option(option: &Arg) -> Vec<Candidate> {
    if option.get_id() == cli::SCHEMA {
        let namespaces = schema::NAMESPACES
            .iter()
            .map(|space| candidate(space.name, space.doc));
        let verbs = schema::verbs().map(|verb| candidate(verb.method, &help::about(verb)));
        return namespaces.chain(verbs).collect();
    }
    option
        .get_possible_values()
        .iter()
        .map(|value| candidate(value.get_name(), ""))
        .collect()
}

fn prefixed(values: Vec<Candidate>, name: &str) -> Vec<Candidate> {
    values
        .into_iter()
        .map(|value| Candidate {
            word: format!("{name}={}", value.word),
            about: value.about,
        })
        .collect()
}

/// The option that takes the next word as its value.
fn wants_value(command: &CommandLine, word: &str) -> Option<Arg> {
    if word.contains('=') {
        return None;
    }
    let found = match word.strip_prefix("--") {
        Some(_) => long(command, word),
        None => word
            .chars()
            .nth(1)
            .filter(|_| word.chars().count() == 2)
            .and_then(|short| {
                command
                    .get_arguments()
                    .find(|arg| arg.get_short() == Some(short))
            }),
    };
    found
        .filter(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
        .cloned()
}

fn long<'a>(command: &'a CommandLine, word: &str) -> Option<&'a Arg> {
    let name = word.strip_prefix("--")?;
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name))
}

fn candidate(word: &str, about: &str) -> Candidate {
    let about = about.lines().next().unwrap_or_default().trim();
    Candidate {
        word: word.to_owned(),
        about: clean(about),
    }
}

fn shown(shell: Shell, candidate: &Candidate, current: &str) -> String {
    let Candidate { word, about } = candidate;
    match shell {
        // For bash a word ends at `=`: it replaces only what stands behind.
        Shell::Bash => match current.rfind('=') {
            Some(at) => format!("{}\n", word.get(at + 1..).unwrap_or_default()),
            None => format!("{word}\n"),
        },
        Shell::Zsh | Shell::Fish if about.is_empty() => format!("{word}\n"),
        Shell::Zsh | Shell::Fish => format!("{word}\t{about}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_at(line: &str) -> Vec<String> {
        let found = candidates(Shell::Fish, line);
        found
            .lines()
            .map(|line| line.split('\t').next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_may_stand_at_the_cursor() {
        let cases: [(&str, &[&str]); 12] = [
            ("vdsm-client Ta", &["Task"]),
            ("vdsm-client comp", &["completion"]),
            ("vdsm-client -a host Host ping2", &["ping2"]),
            ("vdsm-client -o ta", &["table"]),
            ("vdsm-client --output=y", &["--output=yaml"]),
            ("vdsm-client --insecure Host --flow", &["--flow-id"]),
            ("vdsm-client Task getStatus ", &["taskID="]),
            ("vdsm-client Task getStatus taskID=x ", &[]),
            ("vdsm-client Host getVMList only", &["onlyUUID="]),
            (
                "vdsm-client Host getVMList onlyUUID=",
                &["onlyUUID=true", "onlyUUID=false"],
            ),
            ("vdsm-client completion z", &["zsh"]),
            ("vdsm-client Host noSuch x", &[]),
        ];
        for (line, words) in cases {
            assert_eq!(words_at(line), words, "{line}");
        }
        assert!(words_at("vdsm-client Host ").len() > 10);
        assert!(words_at("vdsm-client --schema Host.ping").contains(&"Host.ping2".to_owned()));
        let formats = words_at("vdsm-client StorageDomain create domainType=L");
        assert_eq!(formats, ["domainType=LOCALFS"]);
    }

    #[test]
    fn bash_gets_what_stands_behind_the_equals_sign() {
        let found = candidates(Shell::Bash, "vdsm-client Host getVMList onlyUUID=t");
        assert_eq!(found, "true\n");
        let about = candidates(Shell::Zsh, "vdsm-client Host ping2");
        assert!(about.starts_with("ping2\t"), "{about}");
    }
}
