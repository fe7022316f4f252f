//! The four words in which the API is declared: `wire!` (objects), `sealed!` (objects that are only read, and may
//! hold secrets), `wire_enum!` (sets of names) and `namespace!` (verbs).
//!
//! They write types, `serde` derives and descriptions ([`crate::desc`]) from one declaration. A wire name is
//! given as a string after the Rust name, and may be left out where the two are alike.

/// The wire name of a field: the literal if there is one, else the Rust name.
macro_rules! wire_name {
    ($field:ident $wire:literal) => {
        $wire
    };
    ($field:ident) => {
        stringify!($field)
    };
}

/// The value that stands in for an absent key.
macro_rules! wire_default {
    () => {
        None
    };
    ($default:tt) => {
        Some(|| serde_json::json!($default))
    };
}

/// The number of an enumerated value.
macro_rules! wire_code {
    () => {
        None
    };
    ($code:literal) => {
        Some($code)
    };
}

/// The description of an object.
macro_rules! object_desc {
    ($name:ident [$($doc:literal)*] {
        $( [$($fdoc:literal)*] $field:ident $($wire:literal)? : $ty:ty $(= $default:tt)? ),*
    }) => {
        $crate::desc::ObjectDesc {
            name: stringify!($name),
            doc: concat!($($doc, "\n"),*),
            fields: &[$(
                $crate::desc::FieldDesc {
                    name: wire_name!($field $($wire)?),
                    doc: concat!($($fdoc, "\n"),*),
                    ty: <$ty as $crate::desc::Wire>::TYPE,
                    default: wire_default!($($default)?),
                }
            ),*],
        }
    };
}

/// Declares objects that are written and read: results, events, and what both sides keep.
///
/// `: Default` after the name derives it (for objects whose keys are all optional).
macro_rules! wire {
    ($(
        $(#[doc = $doc:literal])*
        pub struct $name:ident $(: $derive:ident)? {
            $( $(#[doc = $fdoc:literal])* $field:ident $($wire:literal)? : $ty:ty ),* $(,)?
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize $(, $derive)?)]
        pub struct $name {
            $(
                $(#[doc = $fdoc])*
                #[serde($(rename = $wire,)? skip_serializing_if = "crate::desc::Wire::is_absent")]
                pub $field: $ty,
            )*
        }

        impl $crate::desc::Wire for $name {
            const TYPE: &'static $crate::desc::Type = &$crate::desc::Type::Object(&object_desc!(
                $name [$($doc)*] { $( [$($fdoc)*] $field $($wire)? : $ty ),* }
            ));
        }
    )*};
}

/// Declares objects that are only read and may hold secrets: no `Debug`, no `Serialize`, no `Clone`.
macro_rules! sealed {
    ($(
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $( $(#[doc = $fdoc:literal])* $field:ident $($wire:literal)? : $ty:ty ),* $(,)?
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(serde::Deserialize)]
        pub struct $name {
            $(
                $(#[doc = $fdoc])*
                $(#[serde(rename = $wire)])?
                pub $field: $ty,
            )*
        }

        impl $crate::desc::Wire for $name {
            const TYPE: &'static $crate::desc::Type = &$crate::desc::Type::Object(&object_desc!(
                $name [$($doc)*] { $( [$($fdoc)*] $field $($wire)? : $ty ),* }
            ));
        }
    )*};
}

/// Declares sets of names: `Raw = "RAW"`, or `Raw = "RAW" | 5` where the number 5 means the same.
macro_rules! wire_enum {
    ($(
        $(#[doc = $doc:literal])*
        pub enum $name:ident {
            $( $(#[doc = $vdoc:literal])* $variant:ident = $wire:literal $(| $code:literal)? ),* $(,)?
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $( $(#[doc = $vdoc])* #[serde(rename = $wire)] $variant, )*
        }

        impl $name {
            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $wire, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::desc::Wire for $name {
            const TYPE: &'static $crate::desc::Type = &$crate::desc::Type::Enum(&$crate::desc::EnumDesc {
                name: stringify!($name),
                doc: concat!($($doc, "\n"),*),
                values: &[$( $crate::desc::EnumValue {
                    name: $wire,
                    code: wire_code!($($code)?),
                    doc: concat!($($vdoc, "\n"),*),
                } ),*],
            });
        }
    )*};
}

/// Declares a namespace: its trait, the parameters of its verbs, their descriptions, and its dispatch.
///
/// Each verb is `Class fn rust_name "wireName" (ParamsStruct { fields }) -> Result;`, see the crate's page.
macro_rules! namespace {
    (
        $(#[doc = $nsdoc:literal])*
        pub trait $trait:ident = $ns:literal;

        $(
            $(#[doc = $doc:literal])*
            $class:ident fn $func:ident $verb:literal ($params:ident {
                $( $(#[doc = $fdoc:literal])* $field:ident $($wire:literal)? : $ty:ty $(= $default:tt)? ),* $(,)?
            }) -> $result:ty;
        )*
    ) => {
        $(#[doc = $nsdoc])*
        pub trait $trait {
            $(
                $(#[doc = $doc])*
                ///
                /// # Errors
                /// With the code that upstream answers in the same case.
                fn $func(
                    &self,
                    cx: &$crate::verb::CallContext,
                    params: $params,
                ) -> Result<$result, $crate::error::VdsmError>;
            )*
        }

        $(
            #[doc = concat!("Parameters of `", $ns, ".", $verb, "`.")]
            ///
            $(#[doc = $doc])*
            #[derive(serde::Deserialize)]
            pub struct $params {
                $(
                    $(#[doc = $fdoc])*
                    $(#[serde(rename = $wire)])?
                    pub $field: $ty,
                )*
            }

            impl $crate::verb::Verb for $params {
                type Answer = $result;
                const DECL: &'static $crate::verb::VerbDecl = &$crate::verb::VerbDecl {
                    namespace: $ns,
                    name: $verb,
                    method: concat!($ns, ".", $verb),
                    doc: concat!($($doc, "\n"),*),
                    class: $crate::verb::Class::$class,
                    params: &object_desc!($params [$($doc)*] {
                        $( [$($fdoc)*] $field $($wire)? : $ty $(= $default)? ),*
                    }),
                    result: <$result as $crate::desc::Wire>::TYPE,
                };
            }
        )*

        /// The namespace as data.
        pub static NAMESPACE: $crate::verb::Namespace = $crate::verb::Namespace {
            name: $ns,
            doc: concat!($($nsdoc, "\n"),*),
            verbs: &[$( <$params as $crate::verb::Verb>::DECL ),*],
        };

        /// Calls the handler of a verb of this namespace with parameters that were read.
        pub(crate) fn dispatch<A: $trait + ?Sized>(
            api: &A,
            cx: &$crate::verb::CallContext,
            verb: &str,
            params: serde_json::Value,
        ) -> Option<Result<$crate::verb::Raw, $crate::error::VdsmError>> {
            match verb {
                $( $verb => Some(
                    $crate::verb::decode::<$params>(params)
                        .and_then(|params| api.$func(cx, params))
                        .and_then(|answer| $crate::verb::encode(&answer)),
                ), )*
                _ => None,
            }
        }
    };
}
