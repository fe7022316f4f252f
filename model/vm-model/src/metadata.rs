//! The `ovirt-vm` metadata of a domain (namespace `http://ovirt.org/vm/1.0`).
//!
//! Its shape is upstream's (`virt/metadata.py`): typed scalars (`<startTime type="float">`), device
//! data (`<device devtype="disk" name="vda">`), custom properties. Here it is kept as one element
//! whose names in that namespace have no prefix (that is how libvirt hands it out and takes it),
//! with everything that is not understood left in place. Engine and a Python agent read it too.

use uuid::Uuid;

use crate::{
    error::ModelResult,
    ports::{ChainLink, Pdiv},
    xml::{Document, Element, Node},
};

/// Namespace of the VM's metadata.
pub const VM_URI: &str = "http://ovirt.org/vm/1.0";
/// Its usual prefix.
pub const VM_PREFIX: &str = "ovirt-vm";
/// Namespace of the tuning metadata.
pub const TUNE_URI: &str = "http://ovirt.org/vm/tune/1.0";
/// Its usual prefix.
pub const TUNE_PREFIX: &str = "ovirt-tune";

/// A typed value.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// No type, or `type="str"`.
    Text(String),
    /// `type="int"`.
    Int(i64),
    /// `type="bool"`: `True` or `False`.
    Bool(bool),
    /// `type="float"`.
    Float(f64),
}

impl Scalar {
    fn read(element: &Element) -> Option<Self> {
        let text = element.text();
        match element.attribute("type") {
            Some("int") => text.trim().parse().ok().map(Self::Int),
            Some("float") => text.trim().parse().ok().map(Self::Float),
            Some("bool") => Some(Self::Bool(truth(&text))),
            _ => Some(Self::Text(text)),
        }
    }

    fn write(&self, name: &str) -> Element {
        let (kind, text) = match self {
            Self::Text(text) => return Element::with_text(name, text.clone()),
            Self::Int(number) => ("int", number.to_string()),
            Self::Bool(true) => ("bool", "True".to_owned()),
            Self::Bool(false) => ("bool", "False".to_owned()),
            Self::Float(number) => ("float", format!("{number:?}")),
        };
        Element::with_text(name, text).with_attribute("type", kind)
    }

    fn as_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bool(truth) => if *truth { "True" } else { "False" }.to_owned(),
            Self::Float(number) => format!("{number:?}"),
        }
    }
}

/// As upstream reads truth: `true` in any case, or a number that is not 0.
fn truth(text: &str) -> bool {
    let text = text.trim();
    text.eq_ignore_ascii_case("true") || text.parse::<i64>().is_ok_and(|number| number != 0)
}

/// The metadata of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmMetadata {
    root: Element,
}

impl Default for VmMetadata {
    fn default() -> Self {
        Self {
            root: Element::new("vm"),
        }
    }
}

impl VmMetadata {
    /// From the element as libvirt hands it out: `<vm>...</vm>`, prefixed or not.
    pub fn parse(xml: &str) -> ModelResult<Self> {
        let document = Document::parse(xml)?;
        Ok(Self::from_element(&document.root, &[]))
    }

    /// From the element within a domain; `ancestors` are those around it, outermost first.
    pub fn from_element(element: &Element, ancestors: &[&Element]) -> Self {
        let mut scope: Vec<&Element> = ancestors.to_vec();
        let mut root = plain(element, &mut scope);
        "vm".clone_into(&mut root.name);
        Self { root }
    }

    /// As libvirt takes it: without prefix and namespace.
    pub fn to_libvirt(&self) -> String {
        self.root.to_string()
    }

    /// As it stands within a domain's `<metadata>`.
    pub fn to_element(&self) -> Element {
        let mut element = self.root.clone();
        prefixed(&mut element);
        element.attributes.retain(|(name, _)| name != "xmlns");
        element
            .attributes
            .insert(0, (format!("xmlns:{VM_PREFIX}"), VM_URI.to_owned()));
        element
    }

    /// A value; `None` also where its text does not fit its type.
    pub fn get(&self, key: &str) -> Option<Scalar> {
        Scalar::read(self.scalar(key)?)
    }

    /// A value as text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|value| value.as_text())
    }

    /// A value as number; text that is one counts.
    pub fn int(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Scalar::Int(number) => Some(number),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Bool(_) | Scalar::Float(_) => None,
        }
    }

    /// A value as floating-point number; other numbers count. Never infinite or not a number.
    pub fn float(&self, key: &str) -> Option<f64> {
        let number = match self.get(key)? {
            Scalar::Float(number) => number,
            Scalar::Int(number) => number as f64,
            Scalar::Text(text) => text.trim().parse().ok()?,
            Scalar::Bool(_) => return None,
        };
        number.is_finite().then_some(number)
    }

    /// A value as truth, as upstream reads it.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Scalar::Bool(truth) => Some(truth),
            Scalar::Int(number) => Some(number != 0),
            Scalar::Text(text) => Some(truth(&text)),
            Scalar::Float(_) => None,
        }
    }

    /// Sets a value, in its place if it is there.
    pub fn set(&mut self, key: &str, value: &Scalar) {
        let new = value.write(key);
        let old = self
            .root
            .elements_mut()
            .find(|element| element.name == key && element.is_leaf());
        match old {
            Some(old) => *old = new,
            None => self.root.push(new),
        }
    }

    /// Takes a value off.
    pub fn unset(&mut self, key: &str) {
        self.root
            .remove(|element| element.name == key && element.is_leaf());
    }

    /// Custom properties of the VM, in order.
    pub fn custom(&self) -> Vec<(String, String)> {
        let custom = self.root.child("custom");
        custom
            .into_iter()
            .flat_map(Element::elements)
            .map(|element| (element.name.clone(), element.text()))
            .collect()
    }

    /// The data of the device whose element has all these attributes: `devtype` and `name` of a
    /// drive, `mac_address` or `alias` of a NIC.
    pub fn device(&self, attributes: &[(&str, &str)]) -> Option<DeviceMetadata<'_>> {
        self.root
            .all("device")
            .find(|element| matches(element, attributes))
            .map(|element| DeviceMetadata { element })
    }

    /// All volumes of oVirt storage that devices name with their four ids, each once.
    pub fn volumes(&self) -> Vec<Pdiv> {
        let mut volumes = Vec::new();
        for element in self.root.all("device") {
            let id = |key: &str| -> Option<Uuid> {
                Uuid::parse_str(DeviceMetadata { element }.text(key)?.trim()).ok()
            };
            let volume = || {
                Some(Pdiv {
                    pool: id("poolID")?,
                    domain: id("domainID")?,
                    image: id("imageID")?,
                    volume: id("volumeID")?,
                })
            };
            volumes.extend(volume().filter(|volume| !volumes.contains(volume)));
        }
        volumes
    }

    /// Keeps what a prepared volume has beneath it (`volumeChain`), in upstream's shape.
    pub fn set_volume_chain(&mut self, drive: &str, chain: &[ChainLink]) {
        let attributes = [("devtype", "disk"), ("name", drive)];
        let device = self
            .root
            .elements_mut()
            .find(|element| element.name == "device" && matches(element, &attributes));
        let Some(device) = device else { return };
        device.remove_all("volumeChain");
        if chain.is_empty() {
            return;
        }
        let mut list = Element::new("volumeChain");
        for link in chain {
            list.push(chain_node(link));
        }
        device.push(list);
    }

    fn scalar(&self, key: &str) -> Option<&Element> {
        self.root
            .elements()
            .find(|element| element.name == key && element.is_leaf())
    }
}

/// What is kept of one device.
#[derive(Debug, Clone, Copy)]
pub struct DeviceMetadata<'a> {
    element: &'a Element,
}

impl DeviceMetadata<'_> {
    /// A value as text.
    pub fn text(&self, key: &str) -> Option<String> {
        let mut elements = self.element.elements();
        elements
            .find(|element| element.name == key && element.is_leaf())
            .map(Element::text)
    }

    /// A value as truth.
    pub fn bool(&self, key: &str) -> bool {
        self.text(key).is_some_and(|text| truth(&text))
    }

    /// Is there an element of that name?
    pub fn has(&self, key: &str) -> bool {
        self.element.child(key).is_some()
    }

    /// Volume ids of the kept chain, base first.
    pub fn chain_volumes(&self) -> Vec<String> {
        let chain = self.element.child("volumeChain");
        chain
            .into_iter()
            .flat_map(Element::elements)
            .filter_map(|node| node.child("volumeID"))
            .map(Element::text)
            .collect()
    }
}

fn matches(element: &Element, attributes: &[(&str, &str)]) -> bool {
    attributes
        .iter()
        .all(|(name, value)| element.attribute(name) == Some(*value))
}

fn chain_node(link: &ChainLink) -> Element {
    let text = |name: &str, text: String| Element::with_text(name, text);
    let mut node = Element::new("volumeChainNode")
        .with_child(text("domainID", link.volume.domain.to_string()))
        .with_child(text("imageID", link.volume.image.to_string()));
    if let Some(lease) = &link.lease {
        let offset = text("leaseOffset", lease.offset.to_string());
        node.push(offset.with_attribute("type", "int"));
        node.push(text("leasePath", lease.path.display().to_string()));
    }
    node.with_child(text("path", link.path.display().to_string()))
        .with_child(text("volumeID", link.volume.volume.to_string()))
}

/// Takes prefix and declaration of our namespace off; foreign elements keep theirs and bring their
/// declaration along.
fn plain<'a>(element: &'a Element, scope: &mut Vec<&'a Element>) -> Element {
    let uri = element.uri(scope);
    let ours = matches!(uri, None | Some(VM_URI | ""));
    let mut copy = Element {
        name: if ours {
            element.local_name()
        } else {
            element.name.as_str()
        }
        .to_owned(),
        attributes: element.attributes.clone(),
        children: Vec::with_capacity(element.children.len()),
    };
    if ours {
        copy.attributes.retain(|(name, value)| {
            !(value == VM_URI && (name == "xmlns" || name.starts_with("xmlns:")))
        });
    }
    for prefix in foreign_prefixes(&copy, ours) {
        let around = scope
            .iter()
            .rev()
            .find_map(|around| around.declared(&prefix));
        if let (None, Some(uri)) = (copy.declared(&prefix), around) {
            let name = if prefix.is_empty() {
                "xmlns".to_owned()
            } else {
                format!("xmlns:{prefix}")
            };
            copy.attributes.push((name, uri.to_owned()));
        }
    }
    scope.push(element);
    for node in &element.children {
        copy.children.push(match node {
            Node::Element(child) => Node::Element(plain(child, scope)),
            other => other.clone(),
        });
    }
    scope.pop();
    copy
}

/// Prefixes that the element needs declared; its own only if it is not one of ours.
fn foreign_prefixes(copy: &Element, ours: bool) -> Vec<String> {
    let attributes = copy
        .attributes
        .iter()
        .filter_map(|(name, _)| name.split_once(':'));
    let mut prefixes: Vec<String> = attributes
        .map(|(prefix, _)| prefix.to_owned())
        .filter(|prefix| prefix != "xmlns" && prefix != "xml")
        .collect();
    if !ours {
        prefixes.push(copy.prefix().to_owned());
    }
    prefixes
}

/// The way back: names without prefix get ours, unless another default namespace holds.
fn prefixed(element: &mut Element) {
    if element.name.contains(':')
        || element
            .attribute("xmlns")
            .is_some_and(|uri| !uri.is_empty())
    {
        return;
    }
    element.name = format!("{VM_PREFIX}:{}", element.name);
    element.elements_mut().for_each(prefixed);
}
