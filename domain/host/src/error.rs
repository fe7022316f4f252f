//! What can go wrong: only XML that cannot be read.

/// Why the host's facts could not be turned into an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// libvirt's capabilities are no XML.
    #[error("libvirt's {what} cannot be read: {why}")]
    Xml {
        /// `capabilities` or `domain capabilities`.
        what: &'static str,
        /// The parser's words.
        why: String,
    },
}
