//! What can be asked of the root helper, and what it answers.
//!
//! The enums are closed and refuse unknown fields; the newtypes can only be built valid, from code and from
//! the wire alike.

use std::{collections::BTreeMap, fmt, path::Path};

use net_model::{IfName, Plan};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::network::{
    Applied, ArpAnswer, ArpProbe, Lldp, LldpState, NetworkChange, NetworkPlan, NetworkRestore,
    NetworkRollback, NetworkState, Restored, Stored,
};

/// Version of this protocol; both sides must have the same.
pub const PROTOCOL: u32 = 1;

/// Longest path, bytes.
const MAX_PATH: usize = 4095;
/// Longest part of a path, bytes.
const MAX_PART: usize = 255;

/// A request with the version of its protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// What is asked.
    pub request: Request,
}

/// All that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Are you there?
    Ping {},
    /// Which version are you?
    Version {},
    /// Give a file or folder to one of the known owners.
    SetOwnership(SetOwnership),
    /// Change networks; goes on, see [`crate::network`].
    NetworkChange(Box<NetworkChange>),
    /// Change networks back to an older generation; goes on, see [`crate::network`].
    NetworkRollback(NetworkRollback),
    /// What would a change do?
    NetworkPlan(Box<NetworkPlan>),
    /// What does the helper know?
    NetworkState {},
    /// Store the running set as the persistent one.
    NetworkPersist {},
    /// Bring the persistent set back.
    NetworkRestore(NetworkRestore),
    /// Who has these addresses?
    ArpProbe(ArpProbe),
    /// What do the neighbours tell?
    Lldp(Lldp),
}

/// Sets owner, group and mode of one file or folder beneath an allowed root. No symbolic link is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetOwnership {
    /// One of the roots that the helper's configuration allows, spelled as there.
    pub root: AllowedRoot,
    /// Path beneath it.
    pub path: RelativePath,
    /// New owner.
    pub owner: Owner,
    /// New mode.
    pub mode: Mode,
}

/// The owners that files can be given to; who they are is for the helper's configuration to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The agent.
    Vdsm,
    /// Guests.
    Qemu,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vdsm => "vdsm",
            Self::Qemu => "qemu",
        })
    }
}

macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $check:path) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a path. Errors: what is wrong with it.
            pub fn new(text: impl Into<String>) -> Result<Self, String> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// As a path.
            pub fn as_path(&self) -> &Path {
                Path::new(&self.0)
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(path: $name) -> Self {
                path.0
            }
        }
    };
}

checked_text! {
    /// An absolute path without `.`, `..` and doubled slashes.
    AllowedRoot, check_root
}

checked_text! {
    /// A relative path of at least one part, without `.`, `..` and doubled slashes.
    RelativePath, check_relative
}

fn check_root(text: &str) -> Result<(), String> {
    match text.strip_prefix('/') {
        Some(rest) => check_relative(rest),
        None => Err("the root is not an absolute path".to_owned()),
    }
}

fn check_relative(text: &str) -> Result<(), String> {
    if text.len() > MAX_PATH {
        return Err(format!("the path is longer than {MAX_PATH} bytes"));
    }
    if text.contains('\0') {
        return Err("the path holds a zero byte".to_owned());
    }
    for part in text.split('/') {
        match part {
            "" => return Err("the path has an empty part".to_owned()),
            "." | ".." => return Err(format!("the path has a part {part}")),
            _ if part.len() > MAX_PART => {
                return Err(format!(
                    "a part of the path is longer than {MAX_PART} bytes"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Permission bits: no set-uid, set-gid or sticky bit, and never writable by everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Mode(u32);

impl Mode {
    /// Checks and takes permission bits. Errors: which bits cannot be given.
    pub fn new(bits: u32) -> Result<Self, String> {
        const ALLOWED: u32 = 0o775;
        if bits & !ALLOWED == 0 {
            Ok(Self(bits))
        } else {
            Err(format!("mode {bits:o} has bits beyond {ALLOWED:o}"))
        }
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Mode {
    type Error = String;

    fn try_from(bits: u32) -> Result<Self, String> {
        Self::new(bits)
    }
}

impl From<Mode> for u32 {
    fn from(mode: Mode) -> Self {
        mode.0
    }
}

/// The helper's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// To [`Request::Ping`].
    Pong {},
    /// To [`Request::Version`].
    Version {
        /// Version of the helper.
        version: String,
    },
    /// To [`Request::SetOwnership`].
    Ownership {
        /// Was there anything to do?
        outcome: Outcome,
    },
    /// To [`Request::NetworkChange`] and [`Request::NetworkRollback`], first: made, verified, pending.
    NetworkApplied(Applied),
    /// To [`crate::network::Word::Confirm`], and to [`Request::NetworkPersist`].
    NetworkStored(Stored),
    /// To [`crate::network::Word::Undo`]: all is as it was.
    NetworkUndone {},
    /// To [`Request::NetworkPlan`].
    NetworkPlan(Box<Plan>),
    /// To [`Request::NetworkState`].
    NetworkState(Box<NetworkState>),
    /// To [`Request::NetworkRestore`].
    NetworkRestored(Restored),
    /// To [`Request::ArpProbe`]: those who answered.
    Arp {
        /// In the order of their coming.
        answers: Vec<ArpAnswer>,
    },
    /// To [`Request::Lldp`].
    Lldp {
        /// By card.
        nics: BTreeMap<IfName, LldpState>,
    },
    /// Not done.
    Refused(Refusal),
}

/// Did an idempotent request change anything?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was so already.
    Identity,
    /// It is so now.
    Changed,
}

/// Why the helper did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Refusal {
    /// Another user than the agent's.
    #[error("user {uid} may not ask")]
    Peer {
        /// Who asked.
        uid: u32,
    },
    /// Too many clients at this time.
    #[error("busy")]
    Busy {},
    /// The frame was too large, cut short, or did not come in time.
    #[error("bad frame: {why}")]
    Frame {
        /// What is wrong.
        why: String,
    },
    /// The frame holds no request that is known and valid.
    #[error("bad request: {why}")]
    Request {
        /// What is wrong.
        why: String,
    },
    /// Client and helper are of different versions.
    #[error("protocol {theirs} is not the helper's {ours}")]
    Protocol {
        /// The client's.
        theirs: u32,
        /// The helper's.
        ours: u32,
    },
    /// The root is not among the allowed ones.
    #[error("not an allowed root")]
    Root {},
    /// The path leads out of the root, or over a symbolic link.
    #[error("the path leaves its root or goes over a symbolic link")]
    Escape {},
    /// There is nothing at the path.
    #[error("nothing there")]
    NotFound {},
    /// What is there is neither a file nor a folder.
    #[error("neither a file nor a folder")]
    Kind {},
    /// A file with several names that belongs to neither known owner: it may be someone else's.
    #[error("a file with several names that belongs to user {uid}")]
    Linked {
        /// Its owner.
        uid: u32,
    },
    /// The configured owner does not exist on this host.
    #[error("there is no user or group for {owner}")]
    Owner {
        /// Which.
        owner: Owner,
    },
    /// Networks: the change cannot be, or failed and is undone. The number is VDSM's.
    #[error("{message} (code {code})")]
    Network {
        /// VDSM's number.
        code: u32,
        /// Why.
        message: String,
    },
    /// Networks: the change failed, and not all of it could be undone.
    #[error("{message} (code {code}); not as before: {}", left.join("; "))]
    NetworkLeft {
        /// VDSM's number.
        code: u32,
        /// Why it failed.
        message: String,
        /// What is not as it was before, each on a line.
        left: Vec<String>,
    },
    /// Networks: another change is being made or waits to be confirmed.
    #[error("another change of networks is under way, since {since_ms} ms")]
    NetworkBusy {
        /// How long, ms.
        since_ms: u64,
    },
    /// Networks: the change starts from what the files do not say any more. Read them and ask again.
    #[error("the running configuration has changed since the request was made")]
    NetworkStale {},
    /// The helper does not do this here.
    #[error("{what}: {why}")]
    NotHere {
        /// What was asked.
        what: String,
        /// Why not.
        why: String,
    },
    /// A system call said no.
    #[error("{call}: error {errno}")]
    System {
        /// Which call.
        call: String,
        /// Its error number.
        errno: i32,
    },
}

/// JSON of a message.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

/// A message of its JSON. Errors: what is wrong with it, short.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string().chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn call(json: &str) -> Result<Call, String> {
        decode(json.as_bytes())
    }

    fn ownership(root: &str, path: &str, owner: &str, mode: u32) -> String {
        format!(
            r#"{{"protocol":1,"request":{{"set_ownership":{{"root":{root:?},"path":{path:?},"owner":{owner:?},"mode":{mode}}}}}}}"#
        )
    }

    #[test]
    fn requests_go_there_and_back() {
        let request = Request::SetOwnership(SetOwnership {
            root: AllowedRoot::new("/rhev/data-center").expect("a root"),
            path: RelativePath::new("mnt/a b/c").expect("a path"),
            owner: Owner::Qemu,
            mode: Mode::new(0o660).expect("a mode"),
        });
        for request in [Request::Ping {}, Request::Version {}, request] {
            let call = Call {
                protocol: PROTOCOL,
                request,
            };
            assert_eq!(decode::<Call>(&encode(&call)), Ok(call));
        }
    }

    #[rstest]
    #[case(ownership("/r", "a", "vdsm", 0o755))]
    #[case(ownership("/r/s", "a/b", "qemu", 0))]
    #[case(r#"{"protocol":7,"request":{"ping":{}}}"#.to_owned())]
    fn valid_requests(#[case] json: String) {
        call(&json).expect(&json);
    }

    #[rstest]
    #[case::relative_root(ownership("r", "a", "vdsm", 0))]
    #[case::root_of_all(ownership("/", "a", "vdsm", 0))]
    #[case::dots_in_root(ownership("/r/../etc", "a", "vdsm", 0))]
    #[case::slash_at_the_end(ownership("/r/", "a", "vdsm", 0))]
    #[case::absolute_path(ownership("/r", "/etc/shadow", "vdsm", 0))]
    #[case::dots(ownership("/r", "a/../../etc", "vdsm", 0))]
    #[case::one_dot(ownership("/r", ".", "vdsm", 0))]
    #[case::empty(ownership("/r", "", "vdsm", 0))]
    #[case::doubled(ownership("/r", "a//b", "vdsm", 0))]
    #[case::long_part(ownership("/r", &"a".repeat(256), "vdsm", 0))]
    #[case::long(ownership("/r", &"ab/".repeat(1400), "vdsm", 0))]
    #[case::owner(ownership("/r", "a", "root", 0))]
    #[case::setuid(ownership("/r", "a", "vdsm", 0o4755))]
    #[case::world_writable(ownership("/r", "a", "vdsm", 0o666))]
    #[case::zero_byte(r#"{"protocol":1,"request":{"set_ownership":{"root":"/r","path":"a\u0000b","owner":"vdsm","mode":0}}}"#.to_owned())]
    #[case::unknown(r#"{"protocol":1,"request":{"run":{"command":"id"}}}"#.to_owned())]
    #[case::extra(r#"{"protocol":1,"request":{"ping":{"x":1}}}"#.to_owned())]
    #[case::extra_outside(r#"{"protocol":1,"request":{"ping":{}},"x":1}"#.to_owned())]
    #[case::none(r#"{"protocol":1}"#.to_owned())]
    #[case::two(r#"{"protocol":1,"request":{"ping":{},"version":{}}}"#.to_owned())]
    #[case::more_behind(r#"{"protocol":1,"request":{"ping":{}}}{}"#.to_owned())]
    #[case::garbage("\u{1}\u{2}".to_owned())]
    #[case::nothing(String::new())]
    fn invalid_requests(#[case] json: String) {
        let why = call(&json).expect_err(&json);
        assert!(!why.is_empty() && why.len() <= 800);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Call>(&bytes);
            let _ = decode::<Reply>(&bytes);
        }

        /// A path that is taken stays beneath whatever it is joined to.
        #[test]
        fn taken_paths_stay_beneath(text in "[a./]{0,12}") {
            if let Ok(path) = RelativePath::new(text) {
                use std::path::Component;
                prop_assert!(path.as_path().components().all(|c| matches!(c, Component::Normal(_))));
                prop_assert!(path.as_path().components().count() > 0);
            }
        }
    }
}
