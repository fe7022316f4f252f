//! What the firmware tells of the machine.

use host_model::Facts;

/// What the firmware tells of the machine. What it does not tell, or only to root, is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HardwareInfo {
    /// Maker.
    pub manufacturer: Option<String>,
    /// Product.
    pub product: Option<String>,
    /// Version.
    pub version: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// UUID, upper case as dmidecode writes it.
    pub uuid: Option<String>,
    /// Family.
    pub family: Option<String>,
}

impl HardwareInfo {
    /// From the host's facts.
    pub fn of(facts: &Facts) -> Self {
        let dmi = facts.dmi.clone();
        Self {
            manufacturer: dmi.manufacturer,
            product: dmi.product,
            version: dmi.version,
            serial: dmi.serial,
            uuid: dmi.uuid.map(|uuid| uuid.to_uppercase()),
            family: dmi.family,
        }
    }
}
