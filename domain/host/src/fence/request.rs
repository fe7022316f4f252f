//! From what Engine sends to lines for an agent: everything is checked before anything runs.
//!
//! Refused: a control character in any field, a field longer than [`LONGEST`], an address that is none (agents
//! pass it on to other programs, unquoted), an option that says again what the request has a field for (it would
//! change what the policy was asked for), and an option that names a program to run or a file to write.

use std::{fmt, str::FromStr};

use host_model::{Host, HostError};
use zeroize::Zeroizing;

use super::{FenceError, FencePolicy};

/// The longest field, bytes.
pub(super) const LONGEST: usize = 4096;

/// The most options.
const MOST_OPTIONS: usize = 64;

/// Bytes of an agent's words that are answered.
const LONGEST_SAID: usize = 2000;

/// What stands for a secret in texts.
const MASK: &str = "*****";

/// A text that no log shows: no `Debug`, no `Display`. Overwritten when dropped.
pub struct Sealed(Zeroizing<String>);

impl Sealed {
    /// Seals a text.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text; for the agent's standard input only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What to do with the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceAction {
    /// Look.
    Status,
    /// Switch on.
    On,
    /// Switch off.
    Off,
    /// Off and on again.
    Reboot,
}

impl fmt::Display for FenceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "status",
            Self::On => "on",
            Self::Off => "off",
            Self::Reboot => "reboot",
        })
    }
}

/// What Engine sends.
pub struct FenceRequest {
    /// Address of the power management.
    pub address: String,
    /// Its port, or the number of a plug: the agents differ. `None` for none.
    pub port: Option<i64>,
    /// Name of the agent, without `fence_`.
    pub agent: String,
    /// User there.
    pub username: String,
    /// Password there.
    pub password: Sealed,
    /// What to do.
    pub action: FenceAction,
    /// Encrypted, where the agent knows that.
    pub secure: bool,
    /// More for the agent: `key=value` or `key`, a line each.
    pub options: Sealed,
    /// When not to do it.
    pub policy: Option<FencePolicy>,
}

/// What is wrong with a field. Never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A newline or another control character.
    #[error("there is a control character in it")]
    Control,
    /// Too long for any agent.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// No host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Not within 0 to 65535.
    #[error("it is not within 0 to 65535")]
    Range,
    /// More than anybody needs.
    #[error("there are more than {MOST_OPTIONS}")]
    TooMany,
    /// The key of an option is no key.
    #[error("line {0} does not begin with a key of letters, digits, - and _")]
    Key(usize),
    /// An option for which the request has a field.
    #[error("line {0} says again what the request has a field for")]
    Repeats(usize),
    /// An option that makes the agent run a program or write a file of the sender's choice.
    #[error("line {0} names a program to run or a file to write")]
    RunsPrograms(usize),
}

/// A line for an agent.
pub struct Line {
    /// Its key.
    pub key: String,
    /// Its value; `None` for a key alone.
    pub value: Option<Sealed>,
}

/// A request that was checked.
pub struct Order {
    agent: String,
    /// Address of the power management, for logs.
    pub address: Host,
    /// What to do.
    pub action: FenceAction,
    lines: Vec<Line>,
    secrets: Vec<Sealed>,
}

impl Order {
    /// Checks a request.
    ///
    /// # Errors
    /// [`FenceError::UnsupportedAgent`], [`FenceError::Field`].
    pub fn of(request: FenceRequest) -> Result<Self, FenceError> {
        if !is_agent_name(&request.agent) {
            return Err(FenceError::UnsupportedAgent);
        }
        let field = |field| move |why| FenceError::Field { field, why };
        let address = Host::from_str(&request.address).map_err(|why| field("addr")(why.into()))?;
        plain(&request.username).map_err(field("username"))?;
        plain(request.password.expose()).map_err(field("password"))?;
        let port = request.port.map(port).transpose().map_err(field("port"))?;
        let options = options(request.options.expose()).map_err(field("options"))?;

        let line = |key: &str, value: &str| Line {
            key: key.to_owned(),
            value: Some(Sealed::new(value)),
        };
        // Upstream's keys in upstream's order.
        let mut lines = vec![
            line("agent", &format!("fence_{}", request.agent)),
            line("ipaddr", &address.to_string()),
            line("login", &request.username),
            line("action", &request.action.to_string()),
            line("passwd", request.password.expose()),
        ];
        lines.extend(port.map(|port| line("port", &port.to_string())));
        lines.extend(request.secure.then(|| line("secure", "yes")));
        let secrets = secrets(&request.password, &options);
        lines.extend(options);
        Ok(Self {
            agent: request.agent,
            address,
            action: request.action,
            lines,
            secrets,
        })
    }

    /// Name of the agent, without `fence_`: `[a-z0-9_]+`.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// What the agent is told, through its standard input.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// A text of the agent for answers and logs: secrets masked, no control characters but newlines, bounded.
    pub(super) fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.expose(), MASK);
        }
        text.retain(|c| c == '\n' || !c.is_control());
        let text = text.trim();
        let from = text.len().saturating_sub(LONGEST_SAID);
        let from = (from..=text.len()).find(|at| text.is_char_boundary(*at));
        text.get(from.unwrap_or_default()..)
            .unwrap_or_default()
            .to_owned()
    }
}

fn is_agent_name(name: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn plain(text: &str) -> Result<(), FieldError> {
    if text.len() > LONGEST {
        return Err(FieldError::TooLong);
    }
    if text.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(FieldError::Control);
    }
    Ok(())
}

fn port(number: i64) -> Result<u16, FieldError> {
    u16::try_from(number).map_err(|_| FieldError::Range)
}

/// Engine puts a newline between options; no other control character has a meaning.
fn options(text: &str) -> Result<Vec<Line>, FieldError> {
    if text.len() > LONGEST {
        return Err(FieldError::TooLong);
    }
    let mut options = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        if line.trim_matches(' ').is_empty() {
            continue;
        }
        options.push(option(line, number + 1)?);
    }
    if options.len() > MOST_OPTIONS {
        return Err(FieldError::TooMany);
    }
    Ok(options)
}

fn option(line: &str, number: usize) -> Result<Line, FieldError> {
    plain(line)?;
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (line, None),
    };
    // Agents cut blanks around a line, upstream around a key.
    let key = key.trim_matches(' ');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if key.is_empty() || key.starts_with('-') || !key.bytes().all(fits) {
        return Err(FieldError::Key(number));
    }
    // Agents take a hyphen for an underscore.
    let meant = key.replace('-', "_").to_ascii_lowercase();
    if REPEATS.contains(&meant.as_str()) {
        return Err(FieldError::Repeats(number));
    }
    if runs_programs(&meant) {
        return Err(FieldError::RunsPrograms(number));
    }
    Ok(Line {
        key: key.to_owned(),
        value: value.map(Sealed::new),
    })
}

/// Keys of fields of the request, under all names that fence-agents have for them. `port`, `plug`, `secure` and
/// `ssl` are not among them: Engine itself sends those as options.
const REPEATS: [&str; 9] = [
    "agent", "action", "option", "ip", "ipaddr", "login", "username", "passwd", "password",
];

/// `passwd_script`, `sudo_path`, `ipmitool_path`, `debug_file`, ...: `api_path` is a part of a URL.
fn runs_programs(key: &str) -> bool {
    let program = key.ends_with("script") || key.ends_with("_path") && key != "api_path";
    program || matches!(key, "debug" | "debug_file" | "path")
}

/// Whatever must not come back in an agent's words: the password, and values of options, unless they are too
/// short or too plain to be secret. Longest first, so that none hides a part of another.
fn secrets(password: &Sealed, options: &[Line]) -> Vec<Sealed> {
    let mut all = forms(password.expose());
    for line in options {
        let Some(value) = &line.value else { continue };
        if tells_secret(&line.key) || value.expose().len() >= 6 {
            all.extend(forms(value.expose()));
        }
    }
    all.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
    all
}

fn tells_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["pass", "pwd", "secret", "key", "token", "community"]
        .iter()
        .any(|word| key.contains(word))
}

/// A secret as it is, and as agents read it: blanks and one pair of quotes around it cut.
fn forms(secret: &str) -> Vec<Sealed> {
    let trimmed = secret.trim();
    let unquoted = trimmed
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    [Some(secret), Some(trimmed), unquoted]
        .into_iter()
        .flatten()
        .filter(|form| !form.is_empty())
        .map(Sealed::new)
        .collect()
}
