//! What the helper keeps of root: five capabilities, and no way to get more.

use anyhow::{Context as _, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Changing owners; changing modes of others' files; reaching them through closed folders; changing networks; packet sockets
/// (DHCP, ARP).
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_RAW);

/// Gives up the rest, for this thread and those that it starts: call it before any is started.
pub(crate) fn confine() -> Result<()> {
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if !KEPT.contains(one) {
            // Beyond the kernel's last one, or without the right to: the sets below are what counts.
            let _ = remove_capability_from_bounding_set(one);
        }
    }
    let has = capabilities(None).context("cannot read own capabilities")?;
    let kept = has.permitted & KEPT;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context("cannot give up capabilities")?;
    if kept != KEPT {
        tracing::warn!(
            "started without all capabilities it needs: {:?} are missing",
            KEPT - kept
        );
    }
    Ok(())
}
