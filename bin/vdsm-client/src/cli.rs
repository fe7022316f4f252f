//! The command line: options as upstream names them, one subcommand per namespace, one beneath it per verb.

use std::{path::PathBuf, time::Duration};

use clap::{
    Arg, ArgAction, ArgMatches, Command as CommandLine, builder::PossibleValuesParser,
    parser::ValueSource, value_parser,
};
use clap_complete::Shell;
use rpc::{DEFAULT_PORT, TlsFiles};
use schema::{Namespace, VerbDecl};

use crate::{call::Connection, call::Listening, failure::Failure, help, output::Format};

/// The words of a call: `arg=value`.
pub(crate) const PARAMS: &str = "params";
/// File with parameters.
pub(crate) const FILE: &str = "file";
/// Listen instead of calling.
pub(crate) const EVENTS: &str = "events";
/// Subcommand that prints completions.
pub(crate) const COMPLETION: &str = "completion";
/// Subcommand that prints the man page.
pub(crate) const MAN: &str = "man";

/// Where upstream keeps the certificates of a host.
const PKI: &str = "/etc/pki/vdsm";

/// The whole command line.
pub(crate) fn command() -> CommandLine {
    CommandLine::new("vdsm-client")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Calls a verb of VDSM and prints its answer")
        .long_about(
            "Calls a verb of VDSM and prints its answer.\n\n\
             -h after a namespace lists its verbs; -h after a verb tells its parameters and how they look as JSON.",
        )
        .after_help(
            "Exit codes: 0 success, 1 the agent answered an error, 2 wrong usage, 3 no connection, 4 no answer in time.",
        )
        .subcommand_value_name("NAMESPACE VERB [arg=value]...")
        .subcommand_help_heading("Namespaces")
        .disable_help_subcommand(true)
        .arg_required_else_help(true)
        .args(connection_options())
        .args(call_options())
        .args(event_options())
        .subcommands(schema::NAMESPACES.iter().map(|namespace| namespace_command(namespace)))
        .subcommand(completion_command())
        .subcommand(CommandLine::new(MAN).about("Prints the man page (roff)"))
}

fn connection_options() -> [Arg; 7] {
    [
        Arg::new("host")
            .short('a')
            .long("host")
            .default_value("localhost")
            .global(true)
            .help("Host address"),
        Arg::new("port")
            .short('p')
            .long("port")
            .default_value(DEFAULT_PORT.to_string())
            .value_parser(value_parser!(u16).range(1..))
            .global(true)
            .help("Port"),
        Arg::new("insecure")
            .long("insecure")
            .alias("unsecure")
            .action(ArgAction::SetTrue)
            .global(true)
            .help("Plain connection, without TLS"),
        pki_option("cert", "certs/vdsmcert.pem", "Own certificate"),
        pki_option("key", "keys/vdsmkey.pem", "Own private key"),
        pki_option(
            "ca",
            "certs/cacert.pem",
            "CA that the host's certificate must chain to",
        ),
        timeout_option(),
    ]
}

fn pki_option(name: &'static str, file: &str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("FILE")
        .default_value(format!("{PKI}/{file}"))
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help(help)
}

fn timeout_option() -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("SECONDS")
        .default_value("60")
        .value_parser(seconds)
        .global(true)
        .help("Longest time to connect, and to wait for the answer")
}

fn call_options() -> [Arg; 3] {
    [
        Arg::new("flow-id")
            .long("flow-id")
            .value_name("ID")
            .global(true)
            .help("Id that marks this call in the agent's log"),
        Arg::new(FILE)
            .short('f')
            .long("file")
            .value_name("FILE")
            .global(true)
            .help("Read parameters as JSON from a file, '-' for standard input (secrets belong there)"),
        Arg::new("output")
            .short('o')
            .long("output")
            .value_name("FORMAT")
            .value_parser(PossibleValuesParser::new(["json", "table"]))
            .default_value("json")
            .global(true)
            .help("How to print the answer"),
    ]
}

fn event_options() -> [Arg; 2] {
    [
        Arg::new(EVENTS)
            .long(EVENTS)
            .action(ArgAction::SetTrue)
            .help("Print events, a line of JSON each, until interrupted; a given --timeout bounds each wait"),
        Arg::new("count")
            .long("count")
            .value_name("N")
            .requires(EVENTS)
            .value_parser(value_parser!(u64).range(1..))
            .help("End after so many events"),
    ]
}

fn namespace_command(namespace: &'static Namespace) -> CommandLine {
    CommandLine::new(namespace.name)
        .about(namespace.doc.trim())
        .subcommand_value_name("VERB [arg=value]...")
        .subcommand_help_heading("Verbs")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(namespace.verbs.iter().map(|verb| verb_command(verb)))
}

fn verb_command(verb: &'static VerbDecl) -> CommandLine {
    let mut words = Arg::new(PARAMS)
        .value_name("arg=value")
        .num_args(0..)
        .help("Parameters: JSON where it parses as such, else text");
    if verb.params.fields.is_empty() {
        words = words.hide(true);
    }
    CommandLine::new(verb.name)
        .about(help::unwrapped(verb.doc))
        .after_help(help::details(verb))
        .arg(words)
}

fn completion_command() -> CommandLine {
    let shell = Arg::new("shell")
        .required(true)
        .value_parser(value_parser!(Shell));
    CommandLine::new(COMPLETION)
        .about("Prints completions for a shell")
        .arg(shell)
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a positive number of seconds is needed".to_owned())
}

/// The verb that was named.
pub(crate) fn verb<'a>(
    namespace: &str,
    matches: &'a ArgMatches,
) -> Result<(&'static VerbDecl, &'a ArgMatches), Failure> {
    matches
        .subcommand()
        .and_then(|(name, inner)| Some((schema::find(&format!("{namespace}.{name}"))?, inner)))
        .ok_or_else(|| Failure::Usage(format!("{namespace}: a verb is needed; -h lists them")))
}

/// Where to connect, how long to wait, and what to mark calls with.
pub(crate) fn connection(matches: &ArgMatches) -> Connection {
    let path = |name| {
        matches
            .get_one::<PathBuf>(name)
            .cloned()
            .unwrap_or_default()
    };
    let tls = (!matches.get_flag("insecure")).then(|| TlsFiles {
        cert: path("cert"),
        key: path("key"),
        ca: path("ca"),
    });
    Connection {
        host: matches
            .get_one::<String>("host")
            .cloned()
            .unwrap_or_default(),
        port: matches
            .get_one::<u16>("port")
            .copied()
            .unwrap_or(DEFAULT_PORT),
        tls,
        timeout: matches
            .get_one::<Duration>("timeout")
            .copied()
            .unwrap_or(Duration::from_mins(1)),
        flow_id: matches.get_one::<String>("flow-id").cloned(),
    }
}

/// How to listen.
pub(crate) fn listening(matches: &ArgMatches) -> Listening {
    Listening {
        connection: connection(matches),
        count: matches.get_one::<u64>("count").copied(),
        silence: silence(matches),
    }
}

/// How long no event may come: only if a timeout was asked for.
fn silence(matches: &ArgMatches) -> Option<Duration> {
    let given = matches.value_source("timeout") == Some(ValueSource::CommandLine);
    matches
        .get_one::<Duration>("timeout")
        .copied()
        .filter(|_| given)
}

/// How to print.
pub(crate) fn format(matches: &ArgMatches) -> Format {
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("table") => Format::Table,
        _ => Format::Json,
    }
}

/// The completions of a shell.
pub(crate) fn completion(matches: &ArgMatches) -> String {
    let shell = matches
        .get_one::<Shell>("shell")
        .copied()
        .unwrap_or(Shell::Bash);
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "vdsm-client", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
