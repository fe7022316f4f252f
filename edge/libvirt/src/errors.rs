//! Owns: what libvirt's errors mean to the port. Pure; the one place that looks at libvirt's error numbers.

use std::time::Duration;

use vm_model::ports::{HypervisorError, VmId};

use crate::sys::failure::Failure;

/// What was asked, for the text of errors and for what libvirt's numbers mean there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Verb, e.g. `suspend`.
    pub(crate) what: &'static str,
    /// The domain, if it was about one.
    pub(crate) id: Option<VmId>,
    /// How long it is waited for.
    pub(crate) deadline: Duration,
    /// The guest agent was asked.
    pub(crate) agent: bool,
    /// The XML of a domain was handed over.
    pub(crate) xml: bool,
}

impl Asked {
    fn name(&self) -> String {
        self.id.map_or_else(
            || self.what.to_owned(),
            |id| format!("{} of {id}", self.what),
        )
    }

    /// No answer came in time.
    pub(crate) fn timed_out(&self) -> HypervisorError {
        HypervisorError::TimedOut {
            what: self.name(),
            deadline: self.deadline,
        }
    }

    /// It was not asked because of earlier calls without an answer.
    pub(crate) fn refused(&self, why: &str) -> HypervisorError {
        HypervisorError::TimedOut {
            what: format!("{} (not asked: {why})", self.name()),
            deadline: self.deadline,
        }
    }

    /// libvirt's error; `alive` tells whether the connection still stood after it.
    pub(crate) fn failed(&self, failure: Failure, alive: bool) -> HypervisorError {
        let Failure {
            code,
            domain,
            message,
        } = failure;
        if !alive && connection_failed(code, domain) {
            return HypervisorError::Disconnected(message);
        }
        match code {
            virt_sys::VIR_ERR_NO_DOMAIN => match self.id {
                Some(id) => HypervisorError::NoDomain(id),
                None => other(code, message),
            },
            virt_sys::VIR_ERR_DOM_EXIST => HypervisorError::Exists(message),
            virt_sys::VIR_ERR_OPERATION_FAILED if self.xml && names_existing(&message) => {
                HypervisorError::Exists(message)
            }
            virt_sys::VIR_ERR_INVALID_ARG
            | virt_sys::VIR_ERR_NO_NAME
            | virt_sys::VIR_ERR_NO_OS
            | virt_sys::VIR_ERR_OS_TYPE
                if self.xml =>
            {
                HypervisorError::BadXml(message)
            }
            virt_sys::VIR_ERR_XML_ERROR
            | virt_sys::VIR_ERR_XML_DETAIL
            | virt_sys::VIR_ERR_XML_INVALID_SCHEMA
            | virt_sys::VIR_ERR_CONFIG_UNSUPPORTED => HypervisorError::BadXml(message),
            virt_sys::VIR_ERR_OPERATION_INVALID => HypervisorError::InvalidState(message),
            virt_sys::VIR_ERR_OPERATION_TIMEOUT => HypervisorError::TimedOut {
                what: format!("{} ({message})", self.name()),
                deadline: self.deadline,
            },
            virt_sys::VIR_ERR_AGENT_UNRESPONSIVE
            | virt_sys::VIR_ERR_AGENT_UNSYNCED
            | virt_sys::VIR_ERR_AGENT_COMMAND_TIMEOUT => {
                HypervisorError::AgentUnresponsive(message)
            }
            // The domain has no channel for an agent.
            virt_sys::VIR_ERR_ARGUMENT_UNSUPPORTED if self.agent => {
                HypervisorError::AgentUnresponsive(message)
            }
            _ => other(code, message),
        }
    }
}

fn other(code: u32, message: String) -> HypervisorError {
    HypervisorError::Other {
        code: code.cast_signed(),
        message,
    }
}

/// Errors by which the remote driver tells that it could not ask (the same set by which upstream's agent decides).
fn connection_failed(code: u32, domain: u32) -> bool {
    matches!(domain, virt_sys::VIR_FROM_REMOTE | virt_sys::VIR_FROM_RPC)
        && matches!(
            code,
            virt_sys::VIR_ERR_SYSTEM_ERROR
                | virt_sys::VIR_ERR_INTERNAL_ERROR
                | virt_sys::VIR_ERR_NO_CONNECT
                | virt_sys::VIR_ERR_INVALID_CONN
        )
}

/// libvirt's drivers refuse a second domain of the same name or UUID with the number for "operation failed": the text
/// alone tells it from other failures.
fn names_existing(message: &str) -> bool {
    message.contains("already exists with uuid") || message.contains("is already defined with uuid")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked {
        what: "define",
        id: None,
        deadline: Duration::from_secs(1),
        agent: false,
        xml: true,
    };

    fn failure(code: u32, domain: u32, message: &str) -> Failure {
        Failure {
            code,
            domain,
            message: message.into(),
        }
    }

    #[test]
    fn numbers_become_the_ports_errors() {
        let id = VmId::from_u128(7);
        let about = Asked {
            what: "suspend",
            id: Some(id),
            xml: false,
            ..ASKED
        };
        let agent = Asked {
            agent: true,
            ..about
        };
        let cases = [
            (
                about,
                42,
                10,
                true,
                "NoDomain(00000000-0000-0000-0000-000000000007)",
            ),
            (ASKED, 42, 10, true, "Other { code: 42, message: \"m\" }"),
            (ASKED, 28, 10, true, "Exists(\"m\")"),
            (ASKED, 9, 10, true, "Other { code: 9, message: \"m\" }"),
            (ASKED, 8, 10, true, "BadXml(\"m\")"),
            (ASKED, 21, 10, true, "BadXml(\"m\")"),
            (about, 8, 10, true, "Other { code: 8, message: \"m\" }"),
            (ASKED, 27, 10, true, "BadXml(\"m\")"),
            (about, 55, 10, true, "InvalidState(\"m\")"),
            (about, 86, 10, true, "AgentUnresponsive(\"m\")"),
            (about, 74, 10, true, "Other { code: 74, message: \"m\" }"),
            (agent, 74, 10, true, "AgentUnresponsive(\"m\")"),
            (about, 38, 7, false, "Disconnected(\"m\")"),
            (about, 38, 7, true, "Other { code: 38, message: \"m\" }"),
            // libvirt answered before the connection went away
            (about, 55, 10, false, "InvalidState(\"m\")"),
        ];
        for (asked, code, domain, alive, expected) in cases {
            let error = asked.failed(failure(code, domain, "m"), alive);
            assert_eq!(format!("{error:?}"), expected, "{code} of {domain}");
        }
    }

    #[test]
    fn a_second_domain_of_the_same_name_exists() {
        let text = "operation failed: domain 'a' already exists with uuid 1";
        assert_eq!(
            ASKED.failed(failure(9, 10, text), true),
            HypervisorError::Exists(text.into())
        );
    }

    #[test]
    fn timeouts_name_verb_and_domain() {
        let id = VmId::from_u128(7);
        let asked = Asked {
            what: "suspend",
            id: Some(id),
            xml: false,
            ..ASKED
        };
        assert_eq!(
            asked.timed_out().to_string(),
            format!("suspend of {id}: no answer within 1s")
        );
        let HypervisorError::TimedOut { what, .. } =
            asked.failed(failure(68, 10, "cannot acquire"), true)
        else {
            panic!("not a timeout");
        };
        assert_eq!(what, format!("suspend of {id} (cannot acquire)"));
    }
}
