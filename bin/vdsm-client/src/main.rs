//! `vdsm-client`: the API from a shell, in upstream's manner of use.
//!
//! It knows no verb by heart: namespaces, verbs, parameters and help come from the declarations in `schema`.
//! One run is one call (or one stretch of listening to events): read the command line, connect, ask, print, leave
//! with a code that says how it went ([`failure::Failure`]).
//!
//! Look next: `cli.rs` (the command line), `params.rs` (from words to parameters), `call.rs` (the connection),
//! `output.rs` and `table.rs` (printing), `help.rs` and `man.rs` (documentation).
#![forbid(unsafe_code)]

mod call;
mod cli;
mod failure;
mod help;
mod man;
mod output;
mod params;
mod table;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    process::ExitCode,
};

use clap::ArgMatches;

use crate::failure::Failure;

/// What a run reads from and writes to; the terminal, or a test's buffers.
pub(crate) struct Streams<'a> {
    pub(crate) input: &'a mut dyn Read,
    pub(crate) output: &'a mut dyn Write,
    pub(crate) errors: &'a mut dyn Write,
}

fn main() -> ExitCode {
    let mut streams = Streams {
        input: &mut io::stdin(),
        output: &mut io::stdout(),
        errors: &mut io::stderr(),
    };
    ExitCode::from(run(std::env::args_os(), &mut streams))
}

/// Runs one command line; answers the exit code.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> u8 {
    let done = match cli::command().try_get_matches_from(args) {
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

fn act(matches: &ArgMatches, streams: &mut Streams<'_>) -> Result<(), Failure> {
    if matches.get_flag(cli::EVENTS) {
        return call::listen(&cli::listening(matches), streams.output);
    }
    match matches.subcommand() {
        Some((cli::COMPLETION, inner)) => output::text(streams.output, &cli::completion(inner)),
        Some((cli::MAN, _)) => output::text(streams.output, &man::page()?),
        Some((namespace, inner)) => {
            let (verb, inner) = cli::verb(namespace, inner)?;
            let words: Vec<&String> = inner.get_many(cli::PARAMS).into_iter().flatten().collect();
            let file = inner.get_one::<String>(cli::FILE).map(String::as_str);
            let params = params::read(verb, &words, file, streams.input)?;
            let answer = call::once(&cli::connection(inner), verb, &params)?;
            output::answer(streams.output, &answer, verb, cli::format(inner))
        }
        None => Err(Failure::Usage(
            "a namespace and a verb are needed; -h lists them".to_owned(),
        )),
    }
}
