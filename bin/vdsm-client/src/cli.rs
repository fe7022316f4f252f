//! The command line: options as upstream names them, one subcommand per namespace, one beneath it per verb.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU16,
    path::PathBuf,
    time::Duration,
};

use clap::{
    Arg, ArgAction, ArgMatches, Command as CommandLine, ValueHint, builder::PossibleValuesParser,
    parser::ValueSource, value_parser,
};
use host_model::{Host, HostPort, HostPortError};
use rpc::{DEFAULT_PORT, TlsFiles};
use schema::{Namespace, VerbDecl};

use crate::{
    call::{Connection, Listening},
    complete::Shell,
    failure::Failure,
    help,
    output::Format,
    wait::Patience,
    words::quoted,
};

/// The words of a call: `arg=value`.
pub(crate) const PARAMS: &str = "params";
/// File with parameters.
pub(crate) const FILE: &str = "file";
/// Listen instead of calling.
pub(crate) const EVENTS: &str = "events";
/// Many calls over one connection.
pub(crate) const BATCH: &str = "batch";
/// Wait for what a verb starts.
pub(crate) const WAIT: &str = "wait";
/// Ask what a verb would do.
pub(crate) const DRY_RUN: &str = "dry-run";
/// The API's document.
pub(crate) const SCHEMA: &str = "schema";
/// What is declared and not implemented.
pub(crate) const UNIMPLEMENTED: &str = "unimplemented";
/// Subcommand that prints the script by which a shell completes.
pub(crate) const COMPLETION: &str = "completion";
/// Subcommand that such a script asks.
pub(crate) const COMPLETE: &str = "complete";
/// Subcommand that prints the man page.
pub(crate) const MAN: &str = "man";

/// Where upstream keeps the certificates of a host.
const PKI: &str = "/etc/pki/vdsm";

/// How much the command line tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Names: enough to read a command line.
    Names,
    /// All: the help of each verb.
    Help,
}

/// The whole command line.
pub(crate) fn command(detail: Detail) -> CommandLine {
    CommandLine::new("vdsm-client")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Calls a verb of VDSM and prints its answer")
        .long_about(
            "Calls a verb of VDSM and prints its answer.\n\n\
             -h after a namespace lists its verbs; -h after a verb tells its parameters and how they look as JSON.",
        )
        .after_help(
            "Exit codes: 0 success, 1 the agent answered an error, 2 wrong usage, 3 no connection, 4 no answer in \
             time, 5 what was waited for failed, 130 interrupted while waiting.",
        )
        .subcommand_value_name("NAMESPACE VERB [arg=value]...")
        .subcommand_help_heading("Namespaces")
        .disable_help_subcommand(true)
        .arg_required_else_help(true)
        // As upstream's client takes them.
        .infer_long_args(true)
        .args(connection_options())
        .args(call_options())
        .args(other_uses())
        .args(event_options())
        .subcommands(schema::NAMESPACES.iter().map(|namespace| namespace_command(namespace, detail)))
        .subcommand(completion_command())
        .subcommand(complete_command())
        .subcommand(CommandLine::new(MAN).about("Prints the man page (roff)"))
}

fn connection_options() -> [Arg; 8] {
    [
        Arg::new("host")
            .short('a')
            .long("host")
            .default_value("localhost")
            .value_parser(host)
            .global(true)
            .help("Name or address of the host; a :PORT behind it ([ADDRESS]:PORT for IPv6) counts before --port"),
        Arg::new("port")
            .short('p')
            .long("port")
            .default_value(DEFAULT_PORT.to_string())
            .value_parser(value_parser!(NonZeroU16))
            .global(true)
            .help("Port"),
        Arg::new("insecure")
            .long("insecure")
            .alias("unsecure")
            .action(ArgAction::SetTrue)
            .global(true)
            .help("Plain connection, without TLS"),
        Arg::new("gluster-enabled")
            .long("gluster-enabled")
            .action(ArgAction::SetTrue)
            .global(true)
            .hide(true)
            .help("Taken as upstream's client takes it; it changes nothing"),
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
        .value_hint(ValueHint::FilePath)
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

fn call_options() -> [Arg; 5] {
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
            .value_parser(PossibleValuesParser::new(Format::NAMES))
            .default_value("json")
            .global(true)
            .help("How to print the answer"),
        Arg::new(WAIT)
            .long(WAIT)
            .value_name("SECONDS")
            .num_args(0..=1)
            .require_equals(true)
            .value_parser(seconds)
            .global(true)
            .help("Wait until the task or job that the verb starts is over, at most so long; print its last state"),
        Arg::new(DRY_RUN)
            .long(DRY_RUN)
            .action(ArgAction::SetTrue)
            .global(true)
            .help("Ask what the verb would do, where it can tell"),
    ]
}

fn other_uses() -> [Arg; 3] {
    [
        Arg::new(BATCH)
            .long(BATCH)
            .action(ArgAction::SetTrue)
            .help("Read a call per line of standard input, print an answer per line, all over one connection"),
        Arg::new(SCHEMA)
            .long(SCHEMA)
            .value_name("VERB")
            .num_args(0..=1)
            .help("Print the API as an OpenRPC document, or its part for a namespace or for a verb (Host.ping2)"),
        Arg::new(UNIMPLEMENTED)
            .long(UNIMPLEMENTED)
            .action(ArgAction::SetTrue)
            .help("List the verbs that are declared and not implemented in this version"),
    ]
}

fn event_options() -> [Arg; 3] {
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
        Arg::new("prefix")
            .long("prefix")
            .value_name("TEXT")
            .default_value("")
            .hide_default_value(true)
            .requires(EVENTS)
            .help("Only events whose name begins so, e.g. '|virt|VM_status|'"),
    ]
}

fn namespace_command(namespace: &'static Namespace, detail: Detail) -> CommandLine {
    CommandLine::new(namespace.name)
        .about(namespace.doc.trim())
        .subcommand_value_name("VERB [arg=value]...")
        .subcommand_help_heading("Verbs")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(
            namespace
                .verbs
                .iter()
                .map(|verb| verb_command(verb, detail)),
        )
}

fn verb_command(verb: &'static VerbDecl, detail: Detail) -> CommandLine {
    let mut words = Arg::new(PARAMS).value_name("arg=value").num_args(0..).help(
        "Parameters: JSON where it parses as such, else text; @FILE for a secret or for JSON in a file",
    );
    if verb.params.fields.is_empty() {
        words = words.hide(true);
    }
    let command = CommandLine::new(verb.name).arg(words);
    match detail {
        Detail::Names => command,
        Detail::Help => command
            .about(help::about(verb))
            .after_help(help::details(verb)),
    }
}

fn completion_command() -> CommandLine {
    CommandLine::new(COMPLETION)
        .about("Prints the script by which a shell completes")
        .arg(shell_arg())
}

fn complete_command() -> CommandLine {
    CommandLine::new(COMPLETE)
        .about("Prints what may stand at the end of a line; for such a script")
        .hide(true)
        .arg(shell_arg())
        .arg(Arg::new("line").required(true).allow_hyphen_values(true))
}

fn shell_arg() -> Arg {
    Arg::new("shell")
        .required(true)
        .value_parser(value_parser!(Shell))
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
        address: address(matches),
        tls,
        timeout: matches
            .get_one::<Duration>("timeout")
            .copied()
            .unwrap_or(Duration::from_mins(1)),
        flow_id: matches.get_one::<String>("flow-id").cloned(),
        options: given_options(matches),
    }
}

/// The port that `--host` names, else that of `--port`.
fn address(matches: &ArgMatches) -> HostPort {
    let given = matches.get_one::<(Host, Option<NonZeroU16>)>("host");
    // Both options have a default; what stands here for its absence is never used.
    let (host, port) = given
        .cloned()
        .unwrap_or((IpAddr::V6(Ipv6Addr::LOCALHOST).into(), None));
    let default = || matches.get_one("port").copied();
    HostPort::new(host, port.or_else(default).unwrap_or(NonZeroU16::MAX))
}

fn host(text: &str) -> Result<(Host, Option<NonZeroU16>), HostPortError> {
    HostPort::split(text)
}

/// The options of the connection that were given, as one would give them again.
fn given_options(matches: &ArgMatches) -> String {
    let mut words = String::new();
    for arg in connection_options() {
        let name = arg.get_id().as_str();
        if matches.value_source(name) != Some(ValueSource::CommandLine) {
            continue;
        }
        let value = matches
            .get_raw(name)
            .and_then(|mut values| values.next())
            .filter(|_| arg.get_action().takes_values());
        words.push_str("--");
        words.push_str(name);
        if let Some(value) = value {
            words.push(' ');
            words.push_str(&quoted(&value.to_string_lossy()));
        }
        words.push(' ');
    }
    words
}

/// How to listen.
pub(crate) fn listening(matches: &ArgMatches) -> Listening {
    Listening {
        connection: connection(matches),
        prefix: matches
            .get_one::<String>("prefix")
            .cloned()
            .unwrap_or_default(),
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
    matches
        .get_one::<String>("output")
        .and_then(|name| Format::named(name))
        .unwrap_or(Format::Json)
}

/// How to print, if that was said.
pub(crate) fn given_format(matches: &ArgMatches) -> Option<Format> {
    let given = matches.value_source("output") == Some(ValueSource::CommandLine);
    given.then(|| format(matches))
}

/// Is something to be waited for, and how long at most?
pub(crate) fn patience(matches: &ArgMatches) -> Option<Patience> {
    let given = matches.value_source(WAIT) == Some(ValueSource::CommandLine);
    given.then(|| Patience(matches.get_one::<Duration>(WAIT).copied()))
}

/// The shell of a completion.
pub(crate) fn shell(matches: &ArgMatches) -> Shell {
    matches
        .get_one::<Shell>("shell")
        .copied()
        .unwrap_or(Shell::Bash)
}

/// The line to complete.
pub(crate) fn line(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("line").map_or("", String::as_str)
}
