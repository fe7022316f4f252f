//! Kinds of values: what is allowed, and how text becomes a type.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

type Parser<T> = Box<dyn Fn(&str) -> Option<T>>;

/// A kind of value.
pub(crate) struct Kind<T> {
    allowed: String,
    parse: Parser<T>,
}

impl<T> Kind<T> {
    fn new(allowed: impl Into<String>, parse: impl Fn(&str) -> Option<T> + 'static) -> Self {
        Self {
            allowed: allowed.into(),
            parse: Box::new(parse),
        }
    }

    pub(crate) fn parse(&self, text: &str) -> Option<T> {
        (self.parse)(text)
    }

    /// What is allowed, to follow "it must be".
    pub(crate) fn allowed(&self) -> &str {
        &self.allowed
    }
}

/// Words that Python's configparser takes for booleans.
pub(crate) fn boolean() -> Kind<bool> {
    Kind::new(
        "true or false (also yes, no, on, off, 1, 0)",
        |text| match text.to_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Some(true),
            "0" | "no" | "false" | "off" => Some(false),
            _ => None,
        },
    )
}

/// A whole number within a range.
pub(crate) fn int<T: TryFrom<u64> + 'static>(range: RangeInclusive<u64>) -> Kind<T> {
    let allowed = format!("a whole number from {} to {}", range.start(), range.end());
    Kind::new(allowed, move |text| {
        let number = text.parse().ok().filter(|n| range.contains(n))?;
        T::try_from(number).ok()
    })
}

/// Whole seconds within a range.
pub(crate) fn seconds(range: RangeInclusive<u64>) -> Kind<Duration> {
    let allowed = format!("whole seconds from {} to {}", range.start(), range.end());
    Kind::new(allowed, move |text| {
        let number = text.parse().ok().filter(|n| range.contains(n))?;
        Some(Duration::from_secs(number))
    })
}

/// An absolute path.
pub(crate) fn path() -> Kind<PathBuf> {
    Kind::new("an absolute path", absolute)
}

/// An absolute path, or nothing.
pub(crate) fn optional_path() -> Kind<Option<PathBuf>> {
    Kind::new("an absolute path, or empty", |text| {
        if text.is_empty() {
            return Some(None);
        }
        absolute(text).map(Some)
    })
}

fn absolute(text: &str) -> Option<PathBuf> {
    let plain = text.starts_with('/') && !text.contains(['\n', '\0']);
    plain.then(|| PathBuf::from(text))
}

/// Absolute paths with commas between.
pub(crate) fn paths() -> Kind<Vec<PathBuf>> {
    Kind::new("absolute paths with commas between, or empty", |text| {
        items(text).map(|item| absolute(&item)).collect()
    })
}

/// Words with commas between.
pub(crate) fn words() -> Kind<Vec<String>> {
    Kind::new("words with commas between, or empty", |text| {
        Some(items(text).collect())
    })
}

fn items(text: &str) -> impl Iterator<Item = String> {
    text.split([',', '\n'])
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
}

/// Text on one line, not empty.
pub(crate) fn text() -> Kind<String> {
    Kind::new("one line of text, not empty", |text| {
        (!text.is_empty() && !text.contains('\n')).then(|| text.to_owned())
    })
}

/// An IP address.
pub(crate) fn address() -> Kind<core::net::IpAddr> {
    Kind::new("an IPv4 or IPv6 address", |text| text.parse().ok())
}

/// `user:group`.
pub(crate) fn owner() -> Kind<OwnerNames> {
    Kind::new("user:group", |text| {
        let (user, group) = text.split_once(':')?;
        let plain = |name: &str| {
            !name.is_empty()
                && name.len() <= 64
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-.$".contains(c))
        };
        (plain(user) && plain(group)).then(|| OwnerNames {
            user: user.to_owned(),
            group: group.to_owned(),
        })
    })
}

/// A user and a group, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerNames {
    /// User.
    pub user: String,
    /// Group.
    pub group: String,
}

macro_rules! choices {
    ($( $(#[$meta:meta])* $name:ident, $kind:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal ),+ $(,)? } )+) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $name { $( $(#[$vmeta])* $variant ),+ }

            impl $name {
                /// The word as written in the file.
                pub fn as_str(self) -> &'static str {
                    match self { $( Self::$variant => $word ),+ }
                }
            }

            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(self.as_str())
                }
            }

            pub(crate) fn $kind() -> Kind<$name> {
                let words: &[&str] = &[$( $word ),+];
                Kind::new(format!("one of {}", words.join(", ")), |text| {
                    match text.to_lowercase().as_str() { $( $word => Some($name::$variant), )+ _ => None }
                })
            }
        )+
    };
}

choices! {
    /// How guests are run.
    Accelerator, accelerator {
        /// KVM if a probe shows that it works, else software.
        Auto = "auto",
        /// KVM or an error.
        Kvm = "kvm",
        /// Software.
        Tcg = "tcg",
    }
    /// Who keeps the cluster lock of storage domains.
    LockMode, lock_mode {
        /// The sanlock daemon.
        Sanlock = "sanlock",
        /// A substitute that excludes processes of this host only.
        Local = "local",
    }
    /// How much is logged.
    LogLevel, log_level {
        /// All.
        Trace = "trace",
        /// For developers.
        Debug = "debug",
        /// One line for each call, and what changes.
        Info = "info",
        /// What may be wrong.
        Warning = "warning",
        /// What is wrong.
        Error = "error",
    }
    /// Where the log goes.
    LogTarget, log_target {
        /// The journal under systemd, else `log_file` if set, else standard error.
        Auto = "auto",
        /// The journal.
        Journald = "journald",
        /// `log_file`.
        File = "file",
        /// Standard error.
        Stderr = "stderr",
    }
    /// Level of qcow2 images that the agent creates.
    Qcow2Compat, qcow2_compat {
        /// Version 2, readable everywhere.
        V0_10 = "0.10",
        /// Version 3.
        V1_1 = "1.1",
    }
}
