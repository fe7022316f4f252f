//! Leaf types of the wire that JSON has no word for: scalars in strings ([`Str`]), Python's booleans
//! ([`PyBool`]), two decimals ([`Fixed2`]), and the `true` of a verb that returns nothing ([`Done`]).
//!
//! Which key needs which is a fact of oVirt Engine's parser: it ignores or refuses a number where it expects
//! a string. The types carry that fact, so that handlers can write plain numbers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::desc::{Scalar, Type, Wire};

/// A scalar that travels as a string: `Str(4096u64)` is `"4096"`.
///
/// Reading takes the bare scalar as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Str<T>(pub T);

/// A scalar with a text form.
pub trait Textual: fmt::Display + FromStr {
    /// What the text is parsed as.
    const SCALAR: Scalar;
}

macro_rules! textual {
    ($($rust:ty => $scalar:expr;)*) => {$(
        impl Textual for $rust {
            const SCALAR: Scalar = $scalar;
        }
    )*};
}

textual! {
    i32 => Scalar::Integer { min: i32::MIN as i128, max: i32::MAX as i128 };
    i64 => Scalar::Integer { min: i64::MIN as i128, max: i64::MAX as i128 };
    u32 => Scalar::Integer { min: 0, max: u32::MAX as i128 };
    u64 => Scalar::Integer { min: 0, max: u64::MAX as i128 };
    f64 => Scalar::Float;
    bool => Scalar::Bool;
    Fixed2 => Scalar::Float;
    PyBool => Scalar::Bool;
}

impl<T: Textual> Wire for Str<T> {
    const TYPE: &'static Type = &Type::Text(T::SCALAR);
}

impl<T> From<T> for Str<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: fmt::Display> Serialize for Str<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: Textual> Deserialize<'de> for Str<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(TextVisitor(std::marker::PhantomData))
            .map(Self)
    }
}

struct TextVisitor<T>(std::marker::PhantomData<T>);

impl<T: Textual> TextVisitor<T> {
    fn parse<E: de::Error>(text: &str) -> Result<T, E> {
        // Not the text itself: it might be long, or not for everyone.
        T::from_str(text.trim()).map_err(|_| E::custom(format_args!("not a {}", T::SCALAR)))
    }
}

impl<T: Textual> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in a string", T::SCALAR)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Self::parse(text)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        Self::parse(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        Self::parse(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        Self::parse(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        Self::parse(&value.to_string())
    }
}

/// A number written with two decimals (`0.00`), as upstream writes loads and percentages.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Fixed2(pub f64);

impl fmt::Display for Fixed2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

impl FromStr for Fixed2 {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A number in a string with two decimals: `"6.92"`.
pub type Percent = Str<Fixed2>;

impl From<f64> for Str<Fixed2> {
    fn from(value: f64) -> Self {
        Self(Fixed2(value))
    }
}

/// A boolean as Python prints it: `True` or `False` (`netConfigDirty`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PyBool(pub bool);

impl fmt::Display for PyBool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "True" } else { "False" })
    }
}

impl FromStr for PyBool {
    type Err = std::str::ParseBoolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_ascii_lowercase().parse().map(Self)
    }
}

impl From<bool> for Str<PyBool> {
    fn from(value: bool) -> Self {
        Self(PyBool(value))
    }
}

wire! {
    /// How a call went, as the answer itself: some old verbs answer this instead of `true`.
    pub struct CallStatus {
        /// 0: failures are errors.
        code: i32,
        /// `Done`.
        message: String,
    }

    /// What verbs of old answered with the whole VM, and now answer empty.
    pub struct Leftover: Default {}
}

impl CallStatus {
    /// It went well.
    pub fn done() -> Self {
        Self {
            code: 0,
            message: "Done".to_owned(),
        }
    }
}

/// An object that keeps the keys which its declaration does not know.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Open<T> {
    /// What is declared.
    pub known: T,
    /// The other keys, as they came.
    pub strangers: Map<String, Value>,
}

impl<T: Wire> Wire for Open<T> {
    const TYPE: &'static Type = T::TYPE;
}

impl<T: Serialize> Serialize for Open<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a, T> {
            #[serde(flatten)]
            known: &'a T,
            #[serde(flatten)]
            strangers: &'a Map<String, Value>,
        }
        let (known, strangers) = (&self.known, &self.strangers);
        Whole { known, strangers }.serialize(serializer)
    }
}

impl<'de, T: Wire + de::DeserializeOwned> Deserialize<'de> for Open<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut known = Map::<String, Value>::deserialize(deserializer)?;
        let mut strangers = Map::new();
        if let Type::Object(desc) = T::TYPE.inner() {
            for (key, value) in std::mem::take(&mut known) {
                let place = match desc.field(&key) {
                    Some(_) => &mut known,
                    None => &mut strangers,
                };
                place.insert(key, value);
            }
        }
        let known = T::deserialize(Value::Object(known)).map_err(de::Error::custom)?;
        Ok(Self { known, strangers })
    }
}

/// The answer of a verb that returns nothing: `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done;

impl Wire for Done {
    const TYPE: &'static Type = &Type::Done;
}

impl Serialize for Done {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for Done {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? {
            Ok(Self)
        } else {
            Err(de::Error::custom("expected true"))
        }
    }
}
