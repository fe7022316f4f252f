//! `vdsm-client`: the API from a shell, in upstream's manner of use.
//!
//! It knows no verb by heart: namespaces, verbs, parameters and help come from the declarations in `schema`.
//! One run is one call (or a batch of calls, or a stretch of listening to events): read the command line, connect,
//! ask, print, leave with a code that says how it went ([`failure::Failure`]).
//!
//! Look next: `cli.rs` (the command line), `params.rs` (from words to parameters), `call.rs` (the connection),
//! `wait.rs` and `progress.rs` (tasks and jobs), `batch.rs`, `output.rs` and `table.rs` (printing), `help.rs`,
//! `man.rs`, `document.rs` and `complete.rs` (what the declarations tell).
#![forbid(unsafe_code)]

mod batch;
mod call;
mod cli;
mod complete;
mod document;
mod dry_run;
mod failure;
mod help;
mod man;
mod output;
mod params;
mod progress;
mod table;
mod wait;
mod words;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Read, Write},
    process::ExitCode,
};

use clap::{ArgMatches, error::ErrorKind};

use crate::{cli::Detail, failure::Failure, progress::Progress};

/// What a run reads from and writes to; the terminal, or a test's buffers.
pub(crate) struct Streams<'a> {
    pub(crate) input: &'a mut dyn Read,
    pub(crate) output: &'a mut dyn Write,
    pub(crate) errors: &'a mut dyn Write,
    /// Are errors read by a person?
    pub(crate) terminal: bool,
}

fn main() -> ExitCode {
    let mut streams = Streams {
        input: &mut io::stdin(),
        output: &mut io::stdout(),
        errors: &mut io::stderr(),
        terminal: io::stderr().is_terminal(),
    };
    ExitCode::from(run(std::env::args_os(), &mut streams))
}

/// Runs one command line; answers the exit code.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> u8 {
    let done = match parsed(args.into_iter().collect()) {
        Ok(matches) => act(&matches, streams),
        Err(error) if error.use_stderr() => Err(Failure::Clap(error.to_string())),
        Err(help) => output::text(streams.output, &help.to_string()),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => {
            // Nothing is left to tell if not even this can be written.
            let _ = failure.tell(streams.errors);
            failure.exit_code()
        }
    }
}

/// The help of all verbs is made only where it is asked for: it takes longer than most calls.
fn parsed(args: Vec<OsString>) -> Result<ArgMatches, clap::Error> {
    match cli::command(Detail::Names).try_get_matches_from(&args) {
        Err(error) if tells_help(error.kind()) => {
            cli::command(Detail::Help).try_get_matches_from(&args)
        }
        matches => matches,
    }
}

fn tells_help(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            | ErrorKind::MissingSubcommand
    )
}

fn act(matches: &ArgMatches, streams: &mut Streams<'_>) -> Result<(), Failure> {
    if matches.get_flag(cli::EVENTS) {
        return call::listen(&cli::listening(matches), streams.output);
    }
    if matches.get_flag(cli::BATCH) {
        return batch::run(&cli::connection(matches), streams.input, streams.output);
    }
    if matches.contains_id(cli::SCHEMA) {
        let of = matches.get_one::<String>(cli::SCHEMA).map(String::as_str);
        return document::schema(streams.output, of, cli::format(matches));
    }
    if matches.get_flag(cli::UNIMPLEMENTED) {
        return document::unimplemented(streams.output, cli::given_format(matches));
    }
    match matches.subcommand() {
        Some((cli::COMPLETION, inner)) => output::text(streams.output, cli::shell(inner).script()),
        Some((cli::COMPLETE, inner)) => {
            let found = complete::candidates(cli::shell(inner), cli::line(inner));
            output::text(streams.output, &found)
        }
        Some((cli::MAN, _)) => output::text(streams.output, &man::page()?),
        Some((namespace, inner)) => call_verb(namespace, inner, streams),
        None => Err(Failure::Usage(
            "a namespace and a verb are needed; -h lists them".to_owned(),
        )),
    }
}

fn call_verb(
    namespace: &str,
    matches: &ArgMatches,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let (verb, matches) = cli::verb(namespace, matches)?;
    let words: Vec<&String> = matches
        .get_many(cli::PARAMS)
        .into_iter()
        .flatten()
        .collect();
    let file = matches.get_one::<String>(cli::FILE).map(String::as_str);
    let mut params = params::read(verb, &words, file, streams.input)?;
    if matches.get_flag(cli::DRY_RUN) {
        dry_run::ask(verb, &mut params)?;
    }
    let connection = cli::connection(matches);
    let format = cli::format(matches);
    match cli::patience(matches) {
        None => {
            let answer = call::once(&connection, verb, &params)?;
            let for_people = matches.get_flag(cli::DRY_RUN) && cli::given_format(matches).is_none();
            match dry_run::plan(&answer).filter(|_| for_people) {
                Some(plan) => output::text(streams.output, &plan),
                None => output::answer(streams.output, &answer, verb, format),
            }
        }
        Some(patience) => {
            let mut progress = Progress::new(streams.terminal, streams.errors);
            let ended = wait::run(&connection, verb, &params, patience, &mut progress);
            progress.end();
            output::state(streams.output, &ended?, format)
        }
    }
}
