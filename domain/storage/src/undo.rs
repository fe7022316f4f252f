//! The steps back, as data: what each means, now and in the next process.
//!
//! A step looks at what is there before it acts: it can run twice, and after a success that nobody heard
//! of. Steps of deletions go forward: what was begun is finished.
//!
//! Names are those of VDSM's recoveries (`volume.py`, `fileVolume.py`, `sd.py`) where it has one.

use storage_model::{
    layout::{lease_path, meta_path, new_path},
    ports::{Journal, UndoStep},
};
use uuid::Uuid;

use crate::{
    PurgeImage, Result, StorageError, StorageManager, VolumeId, domain::writing, fs, locks::Lock,
    manager::Core, volume::Volume,
};

/// A step back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undo {
    /// Removes the folder of an image, if it is empty.
    CreateImage { domain: Uuid, image: Uuid },
    /// Removes the links to a template from an image that is not its own.
    ShareVolume(VolumeId),
    /// Removes a volume file that has no metadata.
    HalfbakedVolume(VolumeId),
    /// Removes the metadata of a volume that was being created.
    CreateVolumeMetadata(VolumeId),
    /// Makes a parent a leaf again, if nothing stands on it.
    ParentVolume(VolumeId),
    /// Writes the size that a raw volume really has into its metadata.
    ExtendSize(VolumeId),
    /// Goes on with the deletion of a volume.
    DeleteVolume { id: VolumeId, post_zero: bool },
    /// Goes on with the deletion of an image.
    PurgeImage {
        domain: Uuid,
        image: Uuid,
        post_zero: bool,
    },
}

const CREATE_IMAGE: &str = "create_image_rollback";
const SHARE_VOLUME: &str = "shareVolumeRollback";
const HALFBAKED: &str = "halfbakedVolumeRollback";
const CREATE_METADATA: &str = "createVolumeMetadataRollback";
const PARENT_VOLUME: &str = "parentVolumeRollback";
const EXTEND_SIZE: &str = "extendSizeFinalize";
const DELETE_VOLUME: &str = "deleteVolumeFinalize";
const PURGE_IMAGE: &str = "purgeImageFinalize";

impl Undo {
    /// Persists the step.
    pub(crate) fn push(self, journal: &dyn Journal) -> Result<()> {
        Ok(journal.push_undo(self.to_step())?)
    }

    fn to_step(self) -> UndoStep {
        let mut args = Vec::new();
        let mut arg = |name: &str, value: String| args.push((name.to_owned(), value));
        let name = match self {
            Self::CreateImage { domain, image } | Self::PurgeImage { domain, image, .. } => {
                arg("sdUUID", domain.to_string());
                arg("imgUUID", image.to_string());
                if matches!(self, Self::CreateImage { .. }) {
                    CREATE_IMAGE
                } else {
                    PURGE_IMAGE
                }
            }
            Self::ShareVolume(id)
            | Self::HalfbakedVolume(id)
            | Self::CreateVolumeMetadata(id)
            | Self::ParentVolume(id)
            | Self::ExtendSize(id)
            | Self::DeleteVolume { id, .. } => {
                arg("sdUUID", id.domain.to_string());
                arg("imgUUID", id.image.to_string());
                arg("volUUID", id.volume.to_string());
                self.volume_step_name()
            }
        };
        if let Self::DeleteVolume { post_zero, .. } | Self::PurgeImage { post_zero, .. } = self {
            arg("postZero", post_zero.to_string());
        }
        UndoStep {
            name: name.to_owned(),
            args,
        }
    }

    fn volume_step_name(self) -> &'static str {
        match self {
            Self::ShareVolume(_) => SHARE_VOLUME,
            Self::HalfbakedVolume(_) => HALFBAKED,
            Self::CreateVolumeMetadata(_) => CREATE_METADATA,
            Self::ParentVolume(_) => PARENT_VOLUME,
            Self::ExtendSize(_) => EXTEND_SIZE,
            _ => DELETE_VOLUME,
        }
    }

    /// Reads a step that was persisted.
    pub(crate) fn parse(step: &UndoStep) -> Result<Self> {
        let arg = |name: &str| {
            let found = step
                .args
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str());
            found.ok_or_else(|| invalid_step(step, name))
        };
        let id = |name: &str| Uuid::parse_str(arg(name)?).map_err(|_| invalid_step(step, name));
        let image = || Ok::<_, StorageError>((id("sdUUID")?, id("imgUUID")?));
        let volume = || {
            let (domain, image) = image()?;
            Ok::<_, StorageError>(VolumeId {
                domain,
                image,
                volume: id("volUUID")?,
            })
        };
        let flag = |name: &str| arg(name)?.parse().map_err(|_| invalid_step(step, name));
        Ok(match step.name.as_str() {
            CREATE_IMAGE => {
                let (domain, image) = image()?;
                Self::CreateImage { domain, image }
            }
            PURGE_IMAGE => {
                let (domain, image) = image()?;
                Self::PurgeImage {
                    domain,
                    image,
                    post_zero: flag("postZero")?,
                }
            }
            SHARE_VOLUME => Self::ShareVolume(volume()?),
            HALFBAKED => Self::HalfbakedVolume(volume()?),
            CREATE_METADATA => Self::CreateVolumeMetadata(volume()?),
            PARENT_VOLUME => Self::ParentVolume(volume()?),
            EXTEND_SIZE => Self::ExtendSize(volume()?),
            DELETE_VOLUME => Self::DeleteVolume {
                id: volume()?,
                post_zero: flag("postZero")?,
            },
            other => return Err(StorageError::InvalidRecovery(other.to_owned())),
        })
    }

    fn image(self) -> (Uuid, Uuid) {
        match self {
            Self::CreateImage { domain, image } | Self::PurgeImage { domain, image, .. } => {
                (domain, image)
            }
            Self::ShareVolume(id)
            | Self::HalfbakedVolume(id)
            | Self::CreateVolumeMetadata(id)
            | Self::ParentVolume(id)
            | Self::ExtendSize(id)
            | Self::DeleteVolume { id, .. } => (id.domain, id.image),
        }
    }
}

fn invalid_step(step: &UndoStep, arg: &str) -> StorageError {
    StorageError::InvalidRecovery(format!("{}: {arg}", step.name))
}

impl StorageManager {
    /// Runs one undo step. Idempotent; means the same after a restart. The steps of an operation must be run
    /// last first.
    pub fn undo(&self, step: &UndoStep) -> Result<()> {
        let undo = Undo::parse(step)?;
        let (domain, image) = undo.image();
        let _lock = self.lock([Lock::shared(domain), Lock::image(domain, image)])?;
        match undo {
            Undo::CreateImage { domain, image } => self.core.undo_image(domain, image),
            Undo::ShareVolume(id) => self.core.undo_share(id),
            Undo::HalfbakedVolume(id) => self.core.undo_volume(id),
            Undo::CreateVolumeMetadata(id) => self.core.undo_metadata(id),
            Undo::ParentVolume(id) => self.core.undo_parent(id),
            Undo::ExtendSize(id) => self.core.sync_capacity(id),
            Undo::DeleteVolume { id, post_zero } => self.core.finish_delete(id, post_zero),
            Undo::PurgeImage {
                domain,
                image,
                post_zero,
            } => {
                let pool = Uuid::nil();
                self.core.purge(
                    &PurgeImage {
                        pool,
                        domain,
                        image,
                        post_zero,
                    },
                    &mut |_| true,
                )
            }
        }
    }
}

impl Core {
    fn undo_image(&self, domain: Uuid, image: Uuid) -> Result<()> {
        let dir = self.domain(domain)?.paths.image(image);
        let names = fs::list(self.files(), &dir).map_err(|e| writing(domain, &dir, &e))?;
        if !names.is_empty() {
            tracing::warn!(path = %dir.display(), ?names, "the image is not empty, it stays");
            return Ok(());
        }
        fs::remove_dir(self.files(), &dir).map_err(|e| writing(domain, &dir, &e))
    }

    fn undo_share(&self, id: VolumeId) -> Result<()> {
        let volume = self.domain(id.domain)?.volume(id.image, id.volume);
        let meta = meta_path(&volume.path);
        let linked = fs::exists(self.files(), &meta).map_err(|e| writing(id.domain, &meta, &e))?;
        // never the template's own files
        if linked && self.volume_metadata(&volume)?.image == id.image {
            return Ok(());
        }
        if self.children(&volume)?.is_empty() {
            self.remove_files(&volume)
        } else {
            Ok(())
        }
    }

    fn undo_volume(&self, id: VolumeId) -> Result<()> {
        let volume = self.domain(id.domain)?.volume(id.image, id.volume);
        let meta = meta_path(&volume.path);
        if fs::exists(self.files(), &meta).map_err(|e| writing(id.domain, &meta, &e))? {
            return Ok(());
        }
        self.remove_files(&volume)
    }

    fn undo_metadata(&self, id: VolumeId) -> Result<()> {
        let volume = self.domain(id.domain)?.volume(id.image, id.volume);
        let meta = meta_path(&volume.path);
        for path in [new_path(&meta), meta] {
            fs::remove_file(self.files(), &path).map_err(|e| writing(id.domain, &path, &e))?;
        }
        Ok(())
    }

    fn undo_parent(&self, id: VolumeId) -> Result<()> {
        match self.volume(id) {
            Ok(volume) => self.recheck_leaf(&volume, None),
            Err(StorageError::VolumeDoesNotExist(_) | StorageError::ImagePathError(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes all files of a volume, the metadata last: while it is there the volume can be asked for again.
    pub(crate) fn remove_files(&self, volume: &Volume) -> Result<()> {
        let (data, meta) = (volume.path.clone(), meta_path(&volume.path));
        let halves = [new_path(&data), new_path(&meta)];
        for path in halves
            .into_iter()
            .chain([data, lease_path(&volume.path), meta])
        {
            fs::remove_file(self.files(), &path).map_err(|e| {
                StorageError::CannotDeleteVolume(format!("{}: {e}", path.display()))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_back() {
        let [domain, image, volume] = [1, 2, 3].map(Uuid::from_u128);
        let id = VolumeId {
            domain,
            image,
            volume,
        };
        let all = [
            Undo::CreateImage { domain, image },
            Undo::ShareVolume(id),
            Undo::HalfbakedVolume(id),
            Undo::CreateVolumeMetadata(id),
            Undo::ParentVolume(id),
            Undo::ExtendSize(id),
            Undo::DeleteVolume {
                id,
                post_zero: true,
            },
            Undo::PurgeImage {
                domain,
                image,
                post_zero: false,
            },
        ];
        for undo in all {
            assert_eq!(Undo::parse(&undo.to_step()), Ok(undo));
            let mut cut = undo.to_step();
            cut.args.pop();
            assert!(matches!(
                Undo::parse(&cut),
                Err(StorageError::InvalidRecovery(_))
            ));
        }
        let unknown = UndoStep {
            name: "rm".to_owned(),
            args: Vec::new(),
        };
        assert!(Undo::parse(&unknown).is_err());
    }
}
