//! Programs beneath storage: sanlock, multipath, LVM.
//!
//! multipath.conf and lvmlocal.conf are whole files of ours with the revision tags that VDSM knows: a file that its
//! administrator marked as private stays as it is. sanlock.conf is edited line by line.

use anyhow::Result;

use super::{
    libvirt::undo_lines,
    lines,
    plan::{self, Change, World},
};

const SANLOCK: &str = "/etc/sanlock/sanlock.conf";
const MULTIPATH: &str = "/etc/multipath.conf";
const LVM: &str = "/etc/lvm/lvmlocal.conf";

/// Revisions of the Python VDSM to which these texts correspond.
const MULTIPATH_TAG: &str = "# VDSM REVISION 2.2";
const LVM_TAG: &str = "#REVISION: 7";

fn not_installed(world: &World, program: &str) -> Option<String> {
    (!world.has_program(program)).then(|| format!("{program} is not installed"))
}

/// Why there is nothing to configure; `None` if there is.
pub(crate) fn sanlock_absent(world: &World) -> Option<String> {
    not_installed(world, "sanlock")
}

/// A host name that stays, so that a host that crashed gets its leases back three times as fast; enough threads to join
/// fifty storage domains at once.
pub(crate) fn sanlock(world: &World) -> Result<Vec<Change>> {
    let text = world.read(SANLOCK)?.unwrap_or_default();
    let mut values = Vec::new();
    if let Some(id) = host_id(world) {
        values.push(("our_host_name", id));
    }
    values.push(("max_worker_threads", "50".to_owned()));
    let change = plan::file(world, SANLOCK, Some(lines::with_block(&text, &values)))?;
    Ok(change.into_iter().collect())
}

/// The id that Engine gave, else the firmware's.
fn host_id(world: &World) -> Option<String> {
    for path in ["/etc/vdsm/vdsm.id", "/sys/class/dmi/id/product_uuid"] {
        let id = world.read(path).unwrap_or_default().unwrap_or_default();
        let id = id.trim();
        if uuid::Uuid::try_parse(id).is_ok_and(|id| !id.is_nil() && !id.is_max()) {
            return Some(id.to_lowercase());
        }
    }
    None
}

/// The way back.
pub(crate) fn undo_sanlock(world: &World) -> Result<Vec<Change>> {
    Ok(undo_lines(world, SANLOCK)?.into_iter().collect())
}

/// Why there is nothing to configure; `None` if there is.
pub(crate) fn multipath_absent(world: &World) -> Option<String> {
    not_installed(world, "multipathd")
}

/// The whole file, unless it is private or of this revision already.
pub(crate) fn multipath(world: &World) -> Result<Vec<Change>> {
    let current = world.read(MULTIPATH)?.unwrap_or_default();
    let mut head = current.lines().take(2);
    let revision = head.next().unwrap_or_default();
    let private = head.next().is_some_and(|line| {
        line.starts_with("# VDSM PRIVATE") || line.starts_with("# RHEV PRIVATE")
    });
    if private || revision.trim_end() == MULTIPATH_TAG {
        return Ok(Vec::new());
    }
    let change = plan::file(world, MULTIPATH, Some(multipath_text()))?;
    Ok(change.into_iter().collect())
}

/// The way back.
pub(crate) fn undo_multipath(world: &World) -> Result<Vec<Change>> {
    undo_whole(world, MULTIPATH, &multipath_text())
}

/// Why there is nothing to configure; `None` if there is.
pub(crate) fn lvm_absent(world: &World) -> Option<String> {
    not_installed(world, "lvm")
}

/// The whole file, unless it is private or of this revision already.
pub(crate) fn lvm(world: &World) -> Result<Vec<Change>> {
    let current = world.read(LVM)?.unwrap_or_default();
    let says = |tag: &str| current.lines().any(|line| line.trim_end() == tag);
    if says("#PRIVATE: YES") || says(LVM_TAG) {
        return Ok(Vec::new());
    }
    let change = plan::file(world, LVM, Some(lvm_text()))?;
    Ok(change.into_iter().collect())
}

/// The way back.
pub(crate) fn undo_lvm(world: &World) -> Result<Vec<Change>> {
    undo_whole(world, LVM, &lvm_text())
}

/// Our own text makes way for the original; one that was changed by hand since stays.
fn undo_whole(world: &World, path: &'static str, ours: &str) -> Result<Vec<Change>> {
    if world.read(path)?.as_deref() != Some(ours) {
        return Ok(Vec::new());
    }
    let change = plan::file(world, path, world.original(path)?)?;
    Ok(change.into_iter().collect())
}

fn multipath_text() -> String {
    let sanlock_timeout = 10;
    let interval = 5;
    let retries = 8 * sanlock_timeout / interval;
    format!(
        "{MULTIPATH_TAG}\n\
         # Written by \"vdsm-tool configure\". To keep changes of your own, make the second line \"# VDSM PRIVATE\",\n\
         # or put them into a file of /etc/multipath/conf.d.\n\
         \n\
         defaults {{\n\
         \x20   # Seconds between two looks at a path.\n\
         \x20   polling_interval            {interval}\n\
         \x20   # Looks without any path before I/O fails: as long as sanlock waits for a lease (8 * io_timeout of {sanlock_timeout} s),\n\
         \x20   # so that a guest with a lease is ended here before it is started elsewhere. Never \"queue\": it hangs for good.\n\
         \x20   no_path_retry               {retries}\n\
         \x20   # A device has one name on all hosts.\n\
         \x20   user_friendly_names         no\n\
         \x20   flush_on_last_del           always\n\
         \x20   # Seconds until I/O on a path that failed is tried on another, and until a lost device goes.\n\
         \x20   fast_io_fail_tmo            5\n\
         \x20   dev_loss_tmo                30\n\
         \x20   # As many paths as there may be, and 32.\n\
         \x20   max_fds                     4096\n\
         }}\n\
         \n\
         blacklist {{\n\
         \x20   protocol \"(scsi:adt|scsi:sbp)\"\n\
         \x20   devnode \"^(rbd)[0-9]*\"\n\
         }}\n\
         \n\
         # Over what is built in for single products.\n\
         overrides {{\n\
         \x20   no_path_retry               {retries}\n\
         }}\n"
    )
}

fn lvm_text() -> String {
    format!(
        "# Written by \"vdsm-tool configure\". To keep changes of your own, say YES in the line PRIVATE.\n\
         {LVM_TAG}\n\
         #PRIVATE: NO\n\
         \n\
         devices {{\n\
         \x20   # Volume groups change from other hosts: what was seen last is no hint.\n\
         \x20   hints = \"none\"\n\
         \x20   # Volumes of guests are not looked into.\n\
         \x20   scan_lvs = 0\n\
         \x20   # A device that multipath once had is not its component for ever.\n\
         \x20   multipath_wwids_file = \"\"\n\
         }}\n"
    )
}
