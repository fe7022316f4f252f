//! What a value on the wire looks like, as data: [`Type`], and the trait [`Wire`] by which a Rust type names
//! its own description.
//!
//! One description serves four readers: [`crate::coerce`] (lenient reading of parameters), [`mod@crate::check`]
//! (strict checking of results), [`mod@crate::redact`] (what a log may show), and whoever prints documentation.
//! Descriptions are constants: no registry, no start-up cost. Next: [`crate::values`] for the leaf types.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{BuildHasher, Hash},
};

use serde_json::{Map, Value};
use uuid::Uuid;

/// The description of a value.
#[derive(Debug)]
pub enum Type {
    /// Any JSON at all.
    Any,
    /// An object whose keys are not described.
    Dict,
    /// The answer of a verb that returns nothing: `true`.
    Done,
    /// A boolean.
    Bool,
    /// An integer within bounds.
    Integer {
        /// Least value.
        min: i128,
        /// Greatest value.
        max: i128,
    },
    /// A finite number; integers count.
    Float,
    /// A string.
    Str,
    /// A string that no log may show.
    Secret,
    /// Any JSON at all, of which no log may show anything.
    SecretJson,
    /// A domain XML: a string in which graphics passwords and payload files are masked for logs.
    DomainXml,
    /// A string that holds a UUID.
    Uuid,
    /// A string that holds a scalar, e.g. `"67108864"` (Engine parses many numbers from strings).
    Text(Scalar),
    /// One of a set of names.
    Enum(&'static EnumDesc),
    /// The value, or nothing: an absent key; `null` is read as absent and never written.
    Optional(&'static Type),
    /// A list.
    List(&'static Type),
    /// An object with free keys and alike values.
    Map {
        /// Type of the keys, as strings.
        key: &'static Type,
        /// Type of the values.
        value: &'static Type,
    },
    /// An object with known keys.
    Object(&'static ObjectDesc),
    /// One of several types; the first that fits is taken.
    Union(&'static [&'static Type]),
}

/// What the text of a [`Type::Text`] is parsed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// An integer within bounds.
    Integer {
        /// Least value.
        min: i128,
        /// Greatest value.
        max: i128,
    },
    /// A decimal number.
    Float,
    /// `true` or `false`, in any case.
    Bool,
}

/// An object with known keys.
#[derive(Debug)]
pub struct ObjectDesc {
    /// Name of the Rust type.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Its keys, in declared order.
    pub fields: &'static [FieldDesc],
}

impl ObjectDesc {
    /// The field with this wire name.
    pub fn field(&self, name: &str) -> Option<&'static FieldDesc> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// One key of an object, or one parameter of a verb.
#[derive(Debug)]
pub struct FieldDesc {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// What it holds.
    pub ty: &'static Type,
    /// Makes the value that stands in when the key is absent or `null`.
    pub default: Option<fn() -> Value>,
}

impl FieldDesc {
    /// Must the key be there?
    pub fn required(&self) -> bool {
        self.default.is_none() && !matches!(self.ty, Type::Optional(_))
    }

    /// Does it hold something that logs must not show?
    pub fn secret(&self) -> bool {
        self.ty.has_secret()
    }
}

/// A set of names, each of which may also travel as a number.
#[derive(Debug)]
pub struct EnumDesc {
    /// Name of the Rust type.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Its values.
    pub values: &'static [EnumValue],
}

/// One value of an enumeration.
#[derive(Debug)]
pub struct EnumValue {
    /// The name on the wire.
    pub name: &'static str,
    /// The number that means the same, where upstream takes numbers (domain types, volume formats, ...).
    pub code: Option<i64>,
    /// What it means.
    pub doc: &'static str,
}

impl Type {
    /// Is there a [`Type::Secret`] or [`Type::DomainXml`] somewhere in it?
    pub fn has_secret(&self) -> bool {
        match self {
            Self::Secret | Self::SecretJson | Self::DomainXml => true,
            Self::Optional(inner) | Self::List(inner) => inner.has_secret(),
            Self::Map { value, .. } => value.has_secret(),
            Self::Object(object) => object.fields.iter().any(FieldDesc::secret),
            Self::Union(variants) => variants.iter().any(|variant| variant.has_secret()),
            _ => false,
        }
    }

    /// May the empty string be one of its values?
    pub fn holds_text(&self) -> bool {
        match self {
            Self::Any | Self::Str | Self::Secret | Self::SecretJson | Self::DomainXml => true,
            Self::Enum(desc) => desc.values.iter().any(|value| value.name.is_empty()),
            Self::Optional(inner) => inner.holds_text(),
            Self::Union(variants) => variants.iter().any(|variant| variant.holds_text()),
            _ => false,
        }
    }

    /// The type beneath [`Type::Optional`], or itself.
    pub fn inner(&self) -> &Self {
        match self {
            Self::Optional(inner) => inner.inner(),
            other => other,
        }
    }
}

/// The name that messages and documentation use.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Dict => f.write_str("object"),
            Self::Done => f.write_str("true"),
            Self::Bool => f.write_str("boolean"),
            Self::Integer { min: 0, .. } => f.write_str("uint"),
            Self::Integer { .. } => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Str => f.write_str("string"),
            Self::Secret => f.write_str("string (secret)"),
            Self::SecretJson => f.write_str("any (secret)"),
            Self::DomainXml => f.write_str("string (domain XML)"),
            Self::Uuid => f.write_str("UUID"),
            Self::Text(scalar) => write!(f, "string ({scalar})"),
            Self::Enum(desc) => write_enum(desc, f),
            Self::Optional(inner) => write!(f, "{inner} or nothing"),
            Self::List(item) => write!(f, "list of {item}"),
            Self::Map { key, value } => write!(f, "map of {key} to {value}"),
            Self::Object(desc) => f.write_str(desc.name),
            Self::Union(variants) => write_joined(variants.iter(), " or ", f),
        }
    }
}

fn write_enum(desc: &EnumDesc, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write_joined(desc.values.iter().map(|value| value.name), "|", f)
}

fn write_joined<T: fmt::Display>(
    items: impl Iterator<Item = T>,
    separator: &str,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integer { min: 0, .. } => "uint",
            Self::Integer { .. } => "int",
            Self::Float => "float",
            Self::Bool => "boolean",
        })
    }
}

/// A Rust type that travels over the wire.
///
/// `serde` gives the bytes, this gives the description; [`wire!`](crate::macros), `sealed!` and `wire_enum!`
/// write both from one declaration.
pub trait Wire {
    /// Its description.
    const TYPE: &'static Type;

    /// Is the key left out when an object with this value is written? True for `None`.
    fn is_absent(&self) -> bool {
        false
    }
}

macro_rules! leaf {
    ($($rust:ty => $desc:expr;)*) => {$(
        impl Wire for $rust {
            const TYPE: &'static Type = &$desc;
        }
    )*};
}

leaf! {
    bool => Type::Bool;
    i32 => Type::Integer { min: i32::MIN as i128, max: i32::MAX as i128 };
    i64 => Type::Integer { min: i64::MIN as i128, max: i64::MAX as i128 };
    u8 => Type::Integer { min: 0, max: u8::MAX as i128 };
    u32 => Type::Integer { min: 0, max: u32::MAX as i128 };
    u64 => Type::Integer { min: 0, max: u64::MAX as i128 };
    f64 => Type::Float;
    String => Type::Str;
    Uuid => Type::Uuid;
    Value => Type::Any;
    Map<String, Value> => Type::Dict;
}

impl<T: Wire> Wire for Option<T> {
    const TYPE: &'static Type = &Type::Optional(T::TYPE);

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Wire> Wire for Vec<T> {
    const TYPE: &'static Type = &Type::List(T::TYPE);
}

impl<T: Wire> Wire for Box<T> {
    const TYPE: &'static Type = T::TYPE;
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    const TYPE: &'static Type = &Type::Map {
        key: K::TYPE,
        value: V::TYPE,
    };
}

impl<K: Wire + Hash + Eq, V: Wire, S: BuildHasher> Wire for HashMap<K, V, S> {
    const TYPE: &'static Type = &Type::Map {
        key: K::TYPE,
        value: V::TYPE,
    };
}
