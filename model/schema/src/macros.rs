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

/// Is a verb served? `later` says no.
macro_rules! is_implemented {
    ([]) => {
        true
    };
    ([later]) => {
        false
    };
}

/// The method of a verb in its trait. A verb that is to come later has none: nothing can implement it by mistake,
/// and once the mark is gone nothing compiles until it is implemented.
macro_rules! trait_method {
    ([] [$($doc:literal)*] $func:ident $params:ident -> $result:ty) => {
        $(#[doc = $doc])*
        ///
        /// # Errors
        /// With the code that upstream answers in the same case.
        fn $func(
            &self,
            cx: &$crate::verb::CallContext,
            params: $params,
        ) -> Result<$result, $crate::error::VdsmError>;
    };
    ([later] $($rest:tt)*) => {};
}

/// Calls the handler of a verb.
macro_rules! call_method {
    ([] $api:ident $cx:ident $value:ident $func:ident $params:ident) => {
        $crate::verb::decode::<$params>($value)
            .and_then(|params| $api.$func($cx, params))
            .and_then(|answer| $crate::verb::encode(&answer))
    };
    ([later] $api:ident $cx:ident $value:ident $func:ident $params:ident) => {
        Err($crate::error::VdsmError::not_implemented(
            <$params as $crate::verb::Verb>::DECL.method,
        ))
    };
}

/// Declares verbs of a namespace: their trait, their parameters, their descriptions, and their dispatch.
///
/// Each verb is `Class fn rust_name "wireName" (ParamsStruct { fields }) -> Result;`, or `-> Result = later;` while
/// nobody implements it; see the crate's page. A namespace may have several of these, one a file, for each subject.
macro_rules! namespace {
    (
        $(#[doc = $nsdoc:literal])*
        pub trait $trait:ident = $ns:literal;

        $(
            $(#[doc = $doc:literal])*
            $class:ident fn $func:ident $verb:literal ($params:ident {
                $( $(#[doc = $fdoc:literal])* $field:ident $($wire:literal)? : $ty:ty $(= $default:tt)? ),* $(,)?
            }) -> $result:ty $(= $state:ident)?;
        )*
    ) => {
        $(#[doc = $nsdoc])*
        pub trait $trait {
            $( trait_method! { [$($state)?] [$($doc)*] $func $params -> $result } )*
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
                    implemented: is_implemented!([$($state)?]),
                    params: &object_desc!($params [$($doc)*] {
                        $( [$($fdoc)*] $field $($wire)? : $ty $(= $default)? ),*
                    }),
                    result: <$result as $crate::desc::Wire>::TYPE,
                    typed: |params| $crate::verb::decode::<Self>(params).map(drop),
                };
            }
        )*

        /// The verbs as data.
        pub(crate) const SUBJECT: $crate::verb::Subject = $crate::verb::Subject {
            doc: concat!($($nsdoc, "\n"),*),
            verbs: &[$( <$params as $crate::verb::Verb>::DECL ),*],
        };

        /// Calls the handler of one of these verbs with parameters that were read; gives the parameters back if the
        /// verb is none of these.
        pub(crate) fn dispatch<A: $trait + ?Sized>(
            api: &A,
            cx: &$crate::verb::CallContext,
            verb: &str,
            params: serde_json::Value,
        ) -> Result<Result<$crate::verb::Raw, $crate::error::VdsmError>, serde_json::Value> {
            let _ = (api, cx);
            match verb {
                $( $verb => Ok(call_method!([$($state)?] api cx params $func $params)), )*
                _ => Err(params),
            }
        }
    };
}

/// Joins subjects to namespaces: the list of them, the trait of all handlers, and the way of a call to the one that
/// serves it. A line is `"Name": module => Trait, module => Trait;`; the first module speaks for the namespace.
macro_rules! namespaces {
    ($(
        $name:literal: $( $($module:ident)::+ => $trait:ident ),+ ;
    )*) => {
        /// All namespaces, in the order of documentation.
        pub static NAMESPACES: &[&Namespace] = &[$({
            const SUBJECTS: &[$crate::verb::Subject] = &[$( $($module)::+::SUBJECT ),+];
            const VERBS: [&VerbDecl; $crate::verb::count(SUBJECTS)] = $crate::verb::joined(SUBJECTS);
            &Namespace {
                name: $name,
                doc: $crate::verb::first(SUBJECTS).doc,
                verbs: &VERBS,
            }
        }),*];

        /// The handlers of all verbs that are implemented; who has the handlers has this trait.
        pub trait Handlers: $( $( $($module)::+::$trait + )+ )* {}

        impl<T: $( $( $($module)::+::$trait + )+ )* ?Sized> Handlers for T {}

        /// Calls the handler of a verb with parameters that were read.
        fn called<A: Handlers + ?Sized>(
            api: &A,
            cx: &CallContext,
            verb: &VerbDecl,
            params: serde_json::Value,
        ) -> Result<Raw, VdsmError> {
            match verb.namespace {
                $( $name => {
                    $( let params = match $($module)::+::dispatch(api, cx, verb.name, params) {
                        Ok(answer) => return answer,
                        Err(params) => params,
                    }; )+
                    drop(params);
                } )*
                _ => drop(params),
            }
            Err(VdsmError::method_not_found(verb.method))
        }
    };
}
