//! What the helper keeps of root: three capabilities, six where it changes networks, and no way to get more.

use anyhow::{Context as _, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Changing owners; changing modes of others' files; reaching them through closed folders.
const FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::DAC_OVERRIDE);

/// Changing networks; packet sockets (DHCP, ARP); the ports of DHCP's clients, which have no capability that this
/// process has not: else `/proc` would hide them from it.
const NETWORKS: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// Gives up the rest, for this thread and those that it starts: call it before any is started.
pub(crate) fn confine(networks: bool) -> Result<()> {
    let keep = if networks {
        FILES.union(NETWORKS)
    } else {
        FILES
    };
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if !keep.contains(one) {
            // Beyond the kernel's last one, or without the right to: the sets below are what counts.
            let _ = remove_capability_from_bounding_set(one);
        }
    }
    let has = capabilities(None).context("cannot read own capabilities")?;
    let kept = has.permitted & keep;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context("cannot give up capabilities")?;
    if kept != keep {
        tracing::warn!(
            "started without all capabilities it needs: {:?} are missing",
            keep - kept
        );
    }
    Ok(())
}
