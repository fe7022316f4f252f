//! `Host.getHardwareInfo`.

use host_model::Facts;
use serde::Serialize;

/// What the firmware tells of the machine. What it does not tell, or only to root, is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HardwareInfo {
    /// Maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_manufacturer: Option<String>,
    /// Product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_product_name: Option<String>,
    /// Version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_version: Option<String>,
    /// Serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_serial_number: Option<String>,
    /// UUID, upper case as dmidecode writes it.
    #[serde(rename = "systemUUID", skip_serializing_if = "Option::is_none")]
    pub system_uuid: Option<String>,
    /// Family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_family: Option<String>,
}

impl HardwareInfo {
    /// From the host's facts.
    pub fn of(facts: &Facts) -> Self {
        let dmi = facts.dmi.clone();
        Self {
            system_manufacturer: dmi.manufacturer,
            system_product_name: dmi.product,
            system_version: dmi.version,
            system_serial_number: dmi.serial,
            system_uuid: dmi.uuid.map(|uuid| uuid.to_uppercase()),
            system_family: dmi.family,
        }
    }
}
