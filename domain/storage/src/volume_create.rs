//! Creating volumes: raw or qcow2, sparse or preallocated, alone, as a snapshot or from a template.
//!
//! Order on storage: folder of the image, links to the template, volume file, `.meta`. The `.meta` makes it
//! a volume, so it is written when the file is complete. Before each act its undo step is persisted; if
//! anything fails or somebody asks to stop, the caller runs the steps.
//!
//! Facts: `volume.py` (`create`, `clone`, `share`), `fileVolume.py`, `sp.py` (`createVolume`).

use std::io;

use storage_model::{
    Allocation, Legality, VolumeFormat, VolumeMetadata, VolumeRole,
    enums::is_disk_type,
    layout::{DIR_MODE, VOLUME_MODE, meta_path},
    ports::{CreateImage, Journal},
    volume_metadata::cut_description,
};
use uuid::Uuid;

use crate::{
    CreateVolume, Result, StorageError, StorageManager, VolumeId,
    domain::{Domain, reading, writing},
    error::{bad_metadata, invalid},
    fs,
    locks::Lock,
    manager::Core,
    undo::Undo,
    volume::{BLOCK, Volume, round_up},
};

impl StorageManager {
    /// What verbs of the SPM check before their task starts: the pool is connected, the domain is there, we
    /// are SPM. For `Volume.delete`, `Image.deleteVolumes`, `Volume.extendSize`.
    pub fn check_spm_task(&self, pool: Uuid, domain: Uuid) -> Result<()> {
        let found = self.pool(pool)?;
        self.core.domain(domain)?;
        found.check_spm()
    }

    /// What `Volume.create` checks before its task starts.
    pub fn check_create_volume(&self, request: &CreateVolume) -> Result<()> {
        let pool = self.pool(request.pool)?;
        self.core.domain(request.id.domain)?;
        check_request(request)?;
        pool.check_spm()
    }

    /// The task of `Volume.create`. The id of the new volume.
    pub fn create_volume(&self, request: &CreateVolume, journal: &dyn Journal) -> Result<Uuid> {
        check_request(request)?;
        let id = request.id;
        let source = source_of(request);
        let mut locks = vec![Lock::shared(id.domain), Lock::image(id.domain, id.image)];
        locks.extend(source.map(|s| Lock::image(s.domain, s.image)));
        let _lock = self.lock(locks)?;
        self.pool(request.pool)?.check_spm()?;
        let domain = self.core.domain(id.domain)?;
        let creation = Creation {
            core: &self.core,
            request,
            domain,
            journal,
        };
        creation.run(source)?;
        tracing::info!(domain = %id.domain, image = %id.image, volume = %id.volume, "volume created");
        Ok(id.volume)
    }
}

fn check_request(request: &CreateVolume) -> Result<()> {
    for (name, id) in [
        ("imgUUID", request.id.image),
        ("volUUID", request.id.volume),
    ] {
        if id.is_nil() {
            return Err(invalid(name, id));
        }
    }
    let alone = request.source_volume.is_nil();
    match request.format {
        VolumeFormat::Cow => {}
        VolumeFormat::Raw if alone => {}
        other => return Err(StorageError::IncorrectFormat(other.to_string())),
    }
    if !is_disk_type(&request.disk_type) {
        return Err(invalid("DiskType", &request.disk_type));
    }
    if request.allocation == Allocation::Unknown {
        return Err(StorageError::IncorrectType(
            request.allocation.number().to_string(),
        ));
    }
    if request.add_bitmaps || request.bitmap.is_some() {
        return Err(StorageError::UnsupportedOperation {
            reason: "bitmaps cannot be made by this agent yet".to_owned(),
            context: format!("volume {}", request.id.volume),
        });
    }
    check_sizes(request)
}

fn check_sizes(request: &CreateVolume) -> Result<()> {
    // QEMU's sizes are signed
    if round_up(request.capacity).is_none_or(|c| c == 0 || i64::try_from(c).is_err()) {
        return Err(invalid("size", request.capacity));
    }
    match request.initial_size {
        Some(size) if request.format == VolumeFormat::Cow && size > 0 => {
            Err(invalid("initial size", size))
        }
        Some(size) if request.format == VolumeFormat::Raw => {
            let refused = request.allocation == Allocation::Sparse || size > request.capacity;
            if refused {
                Err(invalid("initial size", size))
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

/// The template, where the parent is of another image.
fn source_of(request: &CreateVolume) -> Option<VolumeId> {
    let other = !request.source_volume.is_nil()
        && !request.source_image.is_nil()
        && request.source_image != request.id.image;
    other.then_some(VolumeId {
        domain: request.id.domain,
        image: request.source_image,
        volume: request.source_volume,
    })
}

struct Creation<'a> {
    core: &'a Core,
    request: &'a CreateVolume,
    domain: Domain,
    journal: &'a dyn Journal,
}

impl Creation<'_> {
    fn run(&self, source: Option<VolumeId>) -> Result<()> {
        let id = self.request.id;
        let volume = self.domain.volume(id.image, id.volume);
        self.check_new(&volume)?;
        let template = source.map(|s| self.template(s)).transpose()?;
        self.make_image()?;
        let parent = self.parent(template)?;
        let capacity = round_up(self.request.capacity)
            .ok_or_else(|| invalid("size", self.request.capacity))?;
        if let Some((parent, md)) = &parent {
            check_parent(parent, md, capacity)?;
        }
        self.stop_if_asked()?;
        self.push(Undo::HalfbakedVolume(id))?;
        self.make_file(&volume)?;
        match (&parent, self.request.format) {
            (Some((parent, md)), _) => self.clone_parent(&volume, parent, md, capacity)?,
            (None, VolumeFormat::Raw) => self.make_raw(&volume, capacity)?,
            (None, _) => self.make_cow(&volume, capacity)?,
        }
        self.core
            .files()
            .set_mode(&volume.path, VOLUME_MODE)
            .map_err(|e| writing(id.domain, &volume.path, &e))?;
        self.stop_if_asked()?;
        self.push(Undo::CreateVolumeMetadata(id))?;
        self.write_metadata(&volume, capacity)?;
        self.journal.progress(100);
        Ok(())
    }

    fn push(&self, undo: Undo) -> Result<()> {
        undo.push(self.journal)
    }

    fn stop_if_asked(&self) -> Result<()> {
        if self.journal.cancelled() {
            Err(StorageError::ActionStopped)
        } else {
            Ok(())
        }
    }

    fn check_new(&self, volume: &Volume) -> Result<()> {
        for path in [volume.path.clone(), meta_path(&volume.path)] {
            let there = fs::exists(self.core.files(), &path).map_err(|e| reading(&path, &e))?;
            if there {
                return Err(StorageError::VolumeAlreadyExists(volume.id.volume));
            }
        }
        Ok(())
    }

    /// The volume of another image that this one shall stand on; becomes a template if it can.
    fn template(&self, id: VolumeId) -> Result<Volume> {
        let volume = self.core.volume(id)?;
        let md = self.core.volume_metadata(&volume)?;
        if md.role == VolumeRole::Shared {
            return Ok(volume);
        }
        if !md.parent.is_nil() {
            return Err(StorageError::VolumeNonShareable(id));
        }
        self.core
            .change_volume(&volume, |md| md.role = VolumeRole::Shared)?;
        Ok(volume)
    }

    fn make_image(&self) -> Result<()> {
        let (domain, image) = (self.domain.id, self.request.id.image);
        let dir = self.domain.paths.image(image);
        if fs::is_dir(self.core.files(), &dir).map_err(|e| reading(&dir, &e))? {
            return Ok(());
        }
        self.push(Undo::CreateImage { domain, image })?;
        fs::ensure_dir(self.core.files(), &dir, DIR_MODE).map_err(|e| writing(domain, &dir, &e))
    }

    /// The parent within the image: the template's links if there is a template.
    fn parent(&self, template: Option<Volume>) -> Result<Option<(Volume, VolumeMetadata)>> {
        if self.request.source_volume.is_nil() {
            return Ok(None);
        }
        let id = VolumeId {
            volume: self.request.source_volume,
            ..self.request.id
        };
        if let Some(template) = template {
            self.share(&template, id)?;
        }
        let parent = self.core.volume(id)?;
        let md = self.core.volume_metadata(&parent)?;
        Ok(Some((parent, md)))
    }

    fn share(&self, template: &Volume, link: VolumeId) -> Result<()> {
        let md = self.core.volume_metadata(template)?;
        if md.legality == Legality::Illegal {
            return Err(StorageError::CreateIllegalVolumeSnapshotError(
                template.id.volume,
            ));
        }
        if md.image == link.image {
            return Err(StorageError::VolumeOwnershipError(template.id));
        }
        let target = self.domain.volume(link.image, link.volume);
        if fs::exists(self.core.files(), &meta_path(&target.path)).unwrap_or(false) {
            return Ok(());
        }
        self.push(Undo::ShareVolume(link))?;
        let pairs = [
            (template.path.clone(), target.path.clone()),
            (meta_path(&template.path), meta_path(&target.path)),
        ];
        for (src, dst) in pairs {
            self.core.files().hard_link(&src, &dst).map_err(|e| {
                StorageError::CannotShareVolume {
                    src,
                    dst,
                    msg: e.to_string(),
                }
            })?;
        }
        Ok(())
    }

    fn make_file(&self, volume: &Volume) -> Result<()> {
        self.core
            .files()
            .create(&volume.path, 0, VOLUME_MODE)
            .map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => StorageError::VolumeAlreadyExists(volume.id.volume),
                _ => writing(volume.id.domain, &volume.path, &e),
            })
    }

    fn qemu_create(
        &self,
        volume: &Volume,
        capacity: u64,
        backing: Option<(String, String)>,
    ) -> Result<()> {
        let cow = self.request.format == VolumeFormat::Cow;
        let compat = if cow { Some(self.compat()?) } else { None };
        let request = CreateImage {
            path: volume.path.clone(),
            format: crate::volume::qemu_format(self.request.format)?.to_owned(),
            size: capacity,
            backing,
            compat,
        };
        self.core
            .ports
            .qemu
            .create(&request)
            .map_err(|e| StorageError::VolumeCreationError(e.to_string()))
    }

    fn compat(&self) -> Result<String> {
        let version = self
            .core
            .metadata(&self.domain)?
            .version()
            .map_err(bad_metadata)?;
        Ok(if version >= 4 { "1.1" } else { "0.10" }.to_owned())
    }

    fn make_raw(&self, volume: &Volume, capacity: u64) -> Result<()> {
        // qemu-img writes the first block, so that QEMU finds the alignment of direct I/O
        self.qemu_create(volume, capacity, None)?;
        if self.request.allocation == Allocation::Preallocated {
            self.preallocate(volume, BLOCK, capacity)?;
        }
        let apparent = self.core.size_of(volume)?.apparent;
        if apparent == capacity {
            return Ok(());
        }
        let text = format!(
            "volume {} has {apparent} bytes, not {capacity}",
            volume.id.volume
        );
        Err(StorageError::VolumeCreationError(text))
    }

    fn make_cow(&self, volume: &Volume, capacity: u64) -> Result<()> {
        self.qemu_create(volume, capacity, None)?;
        if self.request.allocation == Allocation::Preallocated {
            let end = self.core.size_of(volume)?.apparent;
            self.preallocate(volume, round_up(end).unwrap_or(end), capacity)?;
        }
        Ok(())
    }

    fn preallocate(&self, volume: &Volume, from: u64, to: u64) -> Result<()> {
        let Some(length) = to.checked_sub(from).filter(|l| *l > 0) else {
            return Ok(());
        };
        let mut report = |done: u64| {
            let percent = u128::from(done.min(length)) * 100 / u128::from(length);
            self.journal.progress(percent as u8);
            !self.journal.cancelled()
        };
        let files = self.core.files();
        files
            .allocate(&volume.path, from, length, &mut report)
            .map_err(|e| match e.kind() {
                io::ErrorKind::Interrupted => StorageError::ActionStopped,
                _ => writing(volume.id.domain, &volume.path, &e),
            })
    }

    fn clone_parent(
        &self,
        volume: &Volume,
        parent: &Volume,
        md: &VolumeMetadata,
        capacity: u64,
    ) -> Result<()> {
        self.push(Undo::ParentVolume(parent.id))?;
        if md.role == VolumeRole::Leaf {
            self.core
                .change_volume(parent, |md| md.role = VolumeRole::Internal)?;
        }
        let format = crate::volume::qemu_format(md.format)?.to_owned();
        // the bare name, resolved from the image's own folder: what VDSM writes since 4.x
        let backing = (parent.id.volume.to_string(), format);
        self.qemu_create(volume, capacity, Some(backing))
            .map_err(|e| StorageError::CannotCloneVolume {
                src: parent.path.clone(),
                dst: volume.path.clone(),
                msg: e.to_string(),
            })
    }

    fn write_metadata(&self, volume: &Volume, capacity: u64) -> Result<()> {
        let request = self.request;
        let md = VolumeMetadata {
            domain: request.id.domain,
            image: request.id.image,
            parent: request.source_volume,
            capacity,
            format: request.format,
            allocation: request.allocation,
            role: VolumeRole::Leaf,
            disk_type: request.disk_type.clone(),
            description: cut_description(&request.description),
            legality: if request.legal {
                Legality::Legal
            } else {
                Legality::Illegal
            },
            ctime: i64::try_from(self.core.ports.clock.now()).unwrap_or(i64::MAX),
            generation: 0,
            sequence: request.sequence,
        };
        self.core.write_volume_metadata(volume, &md)
    }
}

fn check_parent(parent: &Volume, md: &VolumeMetadata, capacity: u64) -> Result<()> {
    if md.legality == Legality::Illegal {
        return Err(StorageError::CreateIllegalVolumeSnapshotError(
            parent.id.volume,
        ));
    }
    if md.capacity == 0 {
        let text = "the parent's capacity is 0: a resize of it did not end".to_owned();
        return Err(StorageError::MetaDataValidationError(text));
    }
    // a smaller child would cut off what its parent has beyond it
    if capacity < md.capacity {
        Err(invalid("capacity", capacity))
    } else {
        Ok(())
    }
}
