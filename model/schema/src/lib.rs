//! The API of VDSM, declared once: wire types, verbs, events, error codes.
//!
//! Pure data and pure functions: no I/O, no clock, no async. From one declaration derive the parameters' struct,
//! the trait that a server implements, dispatch, lenient reading with defaults, strict checking, what logs may
//! show, the client's help, and the reference page.
//!
//! # Declaring a verb, in ten lines
//!
//! In the file of its namespace (`Host` in [`host`], `VM` in [`vm`], ...), within `namespace!`:
//!
//! ```text
//! /// Lists the VMs that the agent knows.
//! ///
//! /// Without arguments it answers objects, not ids (as upstream does).
//! Inline fn get_vm_list "getVMList" (GetVMList {
//!     /// Whole definitions instead of the short status.
//!     full_status "fullStatus": bool = false,
//!     /// Only these VMs; empty means all.
//!     vm_list "vmList": Vec<Uuid> = [],
//! }) -> Vec<VmListEntry>;
//! ```
//!
//! - `Inline` is the [`Class`]: how long it may hold its thread.
//! - A Rust name is followed by its wire name, unless they are alike.
//! - A parameter without `= default` is required. Defaults are JSON; `null` belongs to an `Option`.
//! - A verb that returns nothing answers [`Done`].
//! - What logs must not show has the type [`Secret`] or [`DomainXml`], at any depth.
//!
//! This makes `host::GetVMList` (the parameters), `HostApi::get_vm_list` (to be implemented by the server), and an
//! entry in [`NAMESPACES`]. Types of results are declared with `wire!`, parameters that may hold secrets with
//! `sealed!`, sets of names with `wire_enum!`; see [`macros`] and [`desc`].
//!
//! # A call
//!
//! [`dispatch`] finds the verb, reads its parameters, calls the handler and writes the answer. Whoever runs
//! handlers on threads looks at [`find`]`(method).class` first. Logs show [`redact`](redact::redact) of the raw
//! parameters.

#![forbid(unsafe_code)]

#[macro_use]
pub mod macros;

pub mod check;
pub mod coerce;
pub mod desc;
pub mod domain;
pub mod engine;
pub mod error;
pub mod events;
pub mod host;
pub mod image;
pub mod iscsi;
pub mod lease;
pub mod lvm;
pub mod managed;
pub mod mismatch;
pub mod nbd;
pub mod openrpc;
pub mod pool;
pub mod redact;
pub mod sdm;
pub mod secret;
pub mod task;
pub mod values;
pub mod verb;
pub mod vm;
pub mod volume;

pub use check::check;
pub use domain::StorageDomainApi;
pub use engine::check_answer;
pub use error::{Code, RpcCode, VdsmError};
pub use host::HostApi;
pub use image::ImageApi;
pub use mismatch::Mismatch;
pub use openrpc::document as openrpc;
pub use pool::StoragePoolApi;
pub use redact::redact;
pub use secret::{DomainXml, Secret};
pub use task::TaskApi;
pub use values::{Done, Fixed2, Open, Percent, PyBool, Str};
pub use verb::{CallContext, Class, Namespace, Raw, Verb, VerbDecl};
pub use vm::VmApi;
pub use volume::VolumeApi;

use serde_json::value::RawValue;

namespaces! {
    "Host": host => HostApi, host::storage => HostStorageApi, host::network => NetworkApi,
        host::devices => HostDeviceApi, host::fence => FenceApi, host::jobs => JobApi,
        host::transfer => TransferApi, host::external => ExternalVmApi, host::secrets => SecretsApi,
        host::tuning => HostTuningApi;
    "VM": vm => VmApi, vm::hotplug => HotplugApi, vm::disks => DiskApi, vm::snapshot => SnapshotApi,
        vm::backup => BackupApi, vm::migration => MigrationApi, vm::guest => GuestApi,
        vm::state => VmStateApi, vm::tuning => VmTuningApi;
    "StoragePool": pool => StoragePoolApi, pool::master => PoolMasterApi, pool::merge => MergeApi,
        pool::ovf => OvfApi;
    "StorageDomain": domain => StorageDomainApi, domain::devices => DomainDeviceApi;
    "Volume": volume => VolumeApi;
    "Image": image => ImageApi;
    "Task": task => TaskApi;
    "SDM": sdm => SdmApi;
    "Lease": lease => LeaseApi;
    "LVMVolumeGroup": lvm => VolumeGroupApi;
    "ISCSIConnection": iscsi => IscsiApi;
    "ManagedVolume": managed => ManagedVolumeApi;
    "NBD": nbd => NbdApi;
}

/// The whole API: what a server implements.
pub trait Api: Handlers {
    /// Told before the handler runs, when parameters had to be coerced, were not known or cannot be understood;
    /// for a log.
    fn mismatched(&self, cx: &CallContext, verb: &'static VerbDecl, mismatches: &[Mismatch]) {
        let _ = (cx, verb, mismatches);
    }

    /// Are parameters that had to be coerced, or are not known, refused (-32602)?
    fn strict(&self) -> bool {
        false
    }
}

/// All verbs, also those that are declared and not implemented.
pub fn verbs() -> impl Iterator<Item = &'static VerbDecl> {
    NAMESPACES
        .iter()
        .flat_map(|namespace| namespace.verbs.iter().copied())
}

/// The verbs that are declared and not implemented in this version: calling one answers
/// [`VdsmError::not_implemented`], whatever its parameters.
pub fn unimplemented() -> impl Iterator<Item = &'static VerbDecl> {
    verbs().filter(|verb| !verb.implemented)
}

/// The namespace with this name.
pub fn namespace(name: &str) -> Option<&'static Namespace> {
    NAMESPACES
        .iter()
        .copied()
        .find(|namespace| namespace.name == name)
}

/// The verb with this wire name, e.g. `Host.getVMList`.
pub fn find(method: &str) -> Option<&'static VerbDecl> {
    let (group, name) = method.split_once('.')?;
    namespace(group)?
        .verbs
        .iter()
        .copied()
        .find(|verb| verb.name == name)
}

/// Calls a verb: reads its parameters (an object, a list in declared order, or nothing), runs the handler on this
/// thread, writes its answer.
///
/// # Errors
/// -32601 for a verb that is not declared, -32001 for one that is not implemented, -32602 for parameters that cannot be understood, and the handler's own.
pub fn dispatch<A: Api + ?Sized>(
    api: &A,
    cx: &CallContext,
    method: &str,
    params: Option<&RawValue>,
) -> Result<Raw, VdsmError> {
    let verb = find(method).ok_or_else(|| VdsmError::method_not_found(method))?;
    if !verb.implemented {
        return Err(VdsmError::not_implemented(method));
    }
    let params = read(api, cx, verb, params)?;
    called(api, cx, verb, params)
}

/// Reads parameters, tells what is wrong with them, and refuses what may not pass.
fn read<A: Api + ?Sized>(
    api: &A,
    cx: &CallContext,
    verb: &'static VerbDecl,
    params: Option<&RawValue>,
) -> Result<serde_json::Value, VdsmError> {
    let (understood, mismatches) = match verb.examine(params) {
        Ok((value, coerced)) => (Some(value), coerced),
        Err(refused) => (None, refused),
    };
    if !mismatches.is_empty() {
        api.mismatched(cx, verb, &mismatches);
    }
    understood
        .filter(|_| mismatches.is_empty() || !api.strict())
        .ok_or_else(|| VdsmError::invalid_params(&mismatches))
}
