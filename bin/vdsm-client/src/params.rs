//! From words (`arg=value`) or a file to the parameters of a call.
//!
//! A word's value is text for a parameter that is text; else JSON if it parses as such, and text if not. What types
//! the agent makes of it is its own affair. `@FILE` stands for what is in a file, for a parameter that is a secret
//! or has parts: there it keeps secrets off the command line, and is no value otherwise.

use std::{
    fs::File,
    io::{self, Read},
};

use schema::{
    VerbDecl,
    desc::{EnumDesc, Type},
};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// Largest file of parameters, bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The parameters of a call.
pub(crate) fn read(
    verb: &VerbDecl,
    words: &[&String],
    file: Option<&str>,
    input: &mut dyn Read,
) -> Result<Value, Failure> {
    match file {
        None => from_words(verb, words, input),
        Some(_) if !words.is_empty() => Err(Failure::Usage(
            "parameters come from the command line or from a file, not from both".to_owned(),
        )),
        Some("-") => from_reader("standard input", input),
        Some(name) => from_reader(name, &mut open(name)?),
    }
}

fn open(name: &str) -> Result<File, Failure> {
    File::open(name).map_err(|source| Failure::File {
        file: name.to_owned(),
        source,
    })
}

fn from_words(verb: &VerbDecl, words: &[&String], input: &mut dyn Read) -> Result<Value, Failure> {
    let mut params = Map::new();
    for word in words {
        let Some((name, text)) = word.split_once('=') else {
            return Err(Failure::Usage(format!(
                "invalid parameter {word:?}: arg=value is needed"
            )));
        };
        let field = verb.params.field(name).ok_or_else(|| unknown(verb, name))?;
        let value = match text.strip_prefix('@').filter(|_| takes_file(field.ty)) {
            // `@@...` is a secret that begins with `@`.
            Some(literal) if literal.starts_with('@') => value_of(field.ty, literal),
            Some(file) => value_of(field.ty, content(file, input)?.trim_end_matches('\n')),
            None => value_of(field.ty, text),
        };
        if params.insert(name.to_owned(), value).is_some() {
            return Err(Failure::Usage(format!("parameter {name} is given twice")));
        }
    }
    Ok(Value::Object(params))
}

fn unknown(verb: &VerbDecl, name: &str) -> Failure {
    let known: Vec<_> = verb.params.fields.iter().map(|field| field.name).collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Failure::Usage(format!(
        "{} has no parameter {name:?}; it has: {known}",
        verb.method
    ))
}

/// May `@FILE` stand for a value? Not where it may be a text of its own.
fn takes_file(ty: &Type) -> bool {
    match ty.inner() {
        Type::Secret
        | Type::SecretJson
        | Type::DomainXml
        | Type::Dict
        | Type::Any
        | Type::List(_)
        | Type::Map { .. }
        | Type::Object(_) => true,
        Type::Union(_) => !ty.holds_text(),
        _ => false,
    }
}

/// The text in a file, or of standard input.
fn content(file: &str, input: &mut dyn Read) -> Result<String, Failure> {
    match file {
        "-" => read_text("standard input", input),
        name => read_text(name, &mut open(name)?),
    }
}

/// What a word's value means for a parameter of this type.
fn value_of(ty: &Type, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    match ty.inner() {
        Type::Str | Type::Secret | Type::DomainXml | Type::Uuid | Type::Text(_) => as_text(),
        Type::Enum(desc) => code_of(desc, text).map_or_else(as_text, Value::from),
        // Text or something with parts.
        Type::Union(_) if ty.holds_text() => match serde_json::from_str(text) {
            Ok(parts @ (Value::Object(_) | Value::Array(_))) => parts,
            _ => as_text(),
        },
        _ => serde_json::from_str(text).unwrap_or_else(|_| as_text()),
    }
}

/// The number, if it stands for a name: older agents want these as numbers.
fn code_of(desc: &EnumDesc, text: &str) -> Option<i64> {
    let number = text.parse::<i64>().ok()?;
    desc.values
        .iter()
        .find_map(|value| value.code.filter(|code| *code == number))
}

fn from_reader(name: &str, reader: &mut dyn Read) -> Result<Value, Failure> {
    let text = read_text(name, reader)?;
    if text.trim().is_empty() {
        return Err(Failure::Usage(format!("{name} is empty")));
    }
    match serde_json::from_str(&text) {
        Ok(params @ (Value::Object(_) | Value::Array(_))) => Ok(params),
        Ok(_) => Err(Failure::Usage(format!(
            "{name}: a JSON object with the parameters is needed"
        ))),
        Err(error) => Err(Failure::Usage(format!("{name}: {error}"))),
    }
}

fn read_text(name: &str, reader: &mut dyn Read) -> Result<String, Failure> {
    let fail = |source| Failure::File {
        file: name.to_owned(),
        source,
    };
    let mut text = String::new();
    let read = reader
        .take(LARGEST + 1)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if read as u64 > LARGEST {
        return Err(fail(io::Error::other("it is larger than 64 MiB")));
    }
    Ok(text)
}
