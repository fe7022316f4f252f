//! The same things in the words of the wire and in those of the domains.

use std::time::Duration;

use schema::{
    Code, Str, VdsmError,
    domain::{DomainClass, DomainRole, DomainStatus, DomainType, DomainVitals},
    pool::SpmRole,
    vm::{VmStatus, VmSummary},
    volume::{AllocationType, Legality, VolumeFormat, VolumeRole, VolumeStatus},
};

use crate::errors;

/// Declares the way out, variant by variant: a new word of a domain does not compile before it has its place here.
macro_rules! out {
    ($($name:ident: $domain:ty => $wire:ty { $($inner:ident = $outer:ident),+ $(,)? })+) => {$(
        pub(super) fn $name(word: $domain) -> $wire {
            match word { $( <$domain>::$inner => <$wire>::$outer, )+ }
        }
    )+};
}

out! {
    vm_status: vm_model::status::VmStatus => VmStatus {
        WaitForLaunch = WaitForLaunch, PoweringUp = PoweringUp, Up = Up, Paused = Paused,
        PoweringDown = PoweringDown, RebootInProgress = RebootInProgress,
        MigrationSource = MigrationSource, MigrationDestination = MigrationDestination,
        SavingState = SavingState, RestoringState = RestoringState, Down = Down,
    }
    domain_type: storage_model::DomainType => DomainType {
        Unknown = Unknown, Nfs = Nfs, Fcp = Fcp, Iscsi = Iscsi, LocalFs = Localfs, Cifs = Cifs,
        PosixFs = Posixfs, GlusterFs = Glusterfs,
    }
    domain_class: storage_model::DomainClass => DomainClass { Data = Data, Iso = Iso, Backup = Backup }
    domain_role: storage_model::DomainRole => DomainRole { Master = Master, Regular = Regular }
    domain_status: storage_model::DomainStatus => DomainStatus {
        Unknown = Unknown, Attached = Attached, Unattached = Unattached, Active = Active,
    }
    legality: storage_model::Legality => Legality { Legal = Legal, Illegal = Illegal, Fake = Fake }
    volume_role: storage_model::VolumeRole => VolumeRole { Leaf = Leaf, Internal = Internal, Shared = Shared }
    volume_status: storage::VolumeStatus => VolumeStatus {
        Ok = Ok, Illegal = Illegal, Invalid = Invalid, Removed = Removed,
    }
    spm_role: storage::SpmRole => SpmRole { Free = Free, Contend = Contend, Spm = Spm }
}

/// Format of a volume; the wire has no word for one that is not known.
pub(super) fn format(word: storage_model::VolumeFormat) -> Option<VolumeFormat> {
    match word {
        storage_model::VolumeFormat::Cow => Some(VolumeFormat::Cow),
        storage_model::VolumeFormat::Raw => Some(VolumeFormat::Raw),
        storage_model::VolumeFormat::Unknown => None,
    }
}

/// Allocation of a volume; the wire has no word for one that is not known.
pub(super) fn allocation(word: storage_model::Allocation) -> Option<AllocationType> {
    match word {
        storage_model::Allocation::Sparse => Some(AllocationType::Sparse),
        storage_model::Allocation::Preallocated => Some(AllocationType::Preallocated),
        storage_model::Allocation::Unknown => None,
    }
}

pub(super) fn format_of(word: VolumeFormat) -> storage_model::VolumeFormat {
    match word {
        VolumeFormat::Cow => storage_model::VolumeFormat::Cow,
        VolumeFormat::Raw => storage_model::VolumeFormat::Raw,
    }
}

pub(super) fn allocation_of(word: AllocationType) -> storage_model::Allocation {
    match word {
        AllocationType::Sparse => storage_model::Allocation::Sparse,
        AllocationType::Preallocated => storage_model::Allocation::Preallocated,
    }
}

pub(super) fn legality_of(word: Legality) -> storage_model::Legality {
    match word {
        Legality::Legal => storage_model::Legality::Legal,
        Legality::Illegal => storage_model::Legality::Illegal,
        Legality::Fake => storage_model::Legality::Fake,
    }
}

pub(super) fn domain_type_of(word: DomainType) -> storage_model::DomainType {
    match word {
        DomainType::Unknown => storage_model::DomainType::Unknown,
        DomainType::Nfs => storage_model::DomainType::Nfs,
        DomainType::Fcp => storage_model::DomainType::Fcp,
        DomainType::Iscsi => storage_model::DomainType::Iscsi,
        DomainType::Localfs => storage_model::DomainType::LocalFs,
        DomainType::Cifs => storage_model::DomainType::Cifs,
        DomainType::Posixfs => storage_model::DomainType::PosixFs,
        DomainType::Glusterfs => storage_model::DomainType::GlusterFs,
    }
}

/// Class of a domain; upstream refuses what it does not know with code 386.
pub(super) fn domain_class_of(word: DomainClass) -> Result<storage_model::DomainClass, VdsmError> {
    match word {
        DomainClass::Data => Ok(storage_model::DomainClass::Data),
        DomainClass::Iso => Ok(storage_model::DomainClass::Iso),
        DomainClass::Backup => Ok(storage_model::DomainClass::Backup),
        DomainClass::Unknown => Err(Code::StorageDomainClassError.into()),
    }
}

pub(super) fn domain_status_of(word: DomainStatus) -> storage_model::DomainStatus {
    match word {
        DomainStatus::Active => storage_model::DomainStatus::Active,
        DomainStatus::Attached => storage_model::DomainStatus::Attached,
        DomainStatus::Unattached => storage_model::DomainStatus::Unattached,
        DomainStatus::Unknown => storage_model::DomainStatus::Unknown,
    }
}

/// A VM in short.
pub(super) fn summary(info: &vm::VmInfo) -> VmSummary {
    VmSummary {
        vm_id: info.vm_id,
        status: vm_status(info.status),
        status_time: Str(info.status_time_ms),
        xml: None,
    }
}

/// Seconds of the wire; nothing or a negative number means the configured time.
pub(super) fn seconds(given: Option<i64>, configured: Duration) -> Duration {
    given
        .and_then(|it| u64::try_from(it).ok())
        .map_or(configured, Duration::from_secs)
}

/// How the monitor of a domain does.
pub(super) fn vitals(health: &storage::DomainHealth) -> DomainVitals {
    let code = health
        .error
        .clone()
        .map_or(0, |error| errors::storage(error).code);
    DomainVitals {
        code,
        last_check: Str(tenths(health.last_check)),
        delay: Str(health.read_delay),
        valid: code == 0,
        version: i32::try_from(health.version).unwrap_or(-1),
        acquired: health.acquired,
        actual: health.actual,
    }
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}
