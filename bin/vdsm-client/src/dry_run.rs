//! `--dry-run`: asks a verb to tell what it would do, where its declaration says that it can.
//!
//! Either a parameter is called `dryRun`, or an object among the parameters has such a key
//! (`Host.setupNetworks`: in `options`). What it answers for people (`plan`) is printed as it is, unless a format is
//! asked for.

use schema::{
    Raw, VerbDecl,
    desc::{FieldDesc, ObjectDesc, Type},
};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The key's name.
const KEY: &str = "dryRun";

/// Sets the verb's switch in its parameters.
pub(crate) fn ask(verb: &VerbDecl, params: &mut Value) -> Result<(), Failure> {
    set(place_in(verb.params).ok_or_else(|| has_none(verb))?, params)
}

/// What an answer tells people; control characters, but the ends of lines, are shown.
pub(crate) fn plan(answer: &Raw) -> Option<String> {
    let answer: Value = serde_json::from_str(answer.get()).ok()?;
    let plan = answer.get("plan")?.as_str()?;
    let shown = |it: char| match it {
        '\n' => "\n".to_owned(),
        it if it.is_control() => it.escape_default().to_string(),
        it => it.to_string(),
    };
    let mut text: String = plan.chars().map(shown).collect();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Some(text)
}

fn set(place: Place, params: &mut Value) -> Result<(), Failure> {
    let Value::Object(params) = params else {
        return Err(Failure::Usage(
            "--dry-run needs parameters by name, not a list".to_owned(),
        ));
    };
    let holder = match place {
        Place::Top => params,
        Place::Within(name) => params
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .ok_or_else(|| Failure::Usage(format!("--dry-run: {name} is no object")))?,
    };
    holder.insert(KEY.to_owned(), Value::Bool(true));
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Top,
    Within(&'static str),
}

fn place_in(params: &ObjectDesc) -> Option<Place> {
    if params.field(KEY).is_some() {
        return Some(Place::Top);
    }
    params
        .fields
        .iter()
        .find(|field| has_key(field))
        .map(|field| Place::Within(field.name))
}

fn has_key(field: &FieldDesc) -> bool {
    match field.ty.inner() {
        Type::Object(desc) => desc.field(KEY).is_some(),
        _ => false,
    }
}

fn has_none(verb: &VerbDecl) -> Failure {
    let able: Vec<_> = schema::verbs()
        .filter(|verb| place_in(verb.params).is_some())
        .map(|verb| verb.method)
        .collect();
    let able = if able.is_empty() {
        "no verb of this version has one".to_owned()
    } else {
        format!("these have one: {}", able.join(", "))
    };
    Failure::Usage(format!("{} has no dry run; {able}", verb.method))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOOL: FieldDesc = FieldDesc {
        name: KEY,
        doc: "Only tell.",
        ty: &Type::Bool,
        default: None,
    };
    static OPTIONS: ObjectDesc = ObjectDesc {
        name: "Options",
        doc: "",
        fields: &[BOOL],
    };
    static WITHIN: ObjectDesc = ObjectDesc {
        name: "Within",
        doc: "",
        fields: &[FieldDesc {
            name: "options",
            doc: "",
            ty: &Type::Optional(&Type::Object(&OPTIONS)),
            default: None,
        }],
    };
    static TOP: ObjectDesc = ObjectDesc {
        name: "Top",
        doc: "",
        fields: &[BOOL],
    };
    static NONE: ObjectDesc = ObjectDesc {
        name: "None",
        doc: "",
        fields: &[],
    };

    #[test]
    fn the_switch_is_found_where_it_is_declared() {
        assert_eq!(place_in(&TOP), Some(Place::Top));
        assert_eq!(place_in(&WITHIN), Some(Place::Within("options")));
        assert_eq!(place_in(&NONE), None);
    }
    #[test]
    fn the_switch_is_set_beside_what_was_given() {
        let after = |place, mut params| {
            set(place, &mut params).ok()?;
            Some(params)
        };
        let within = || Place::Within("options");
        assert_eq!(
            after(within(), json!({"options": {"a": 1}})),
            Some(json!({"options": {"a": 1, "dryRun": true}}))
        );
        assert_eq!(
            after(within(), json!({})),
            Some(json!({"options": {"dryRun": true}}))
        );
        assert_eq!(
            after(Place::Top, json!({"dryRun": false})),
            Some(json!({"dryRun": true}))
        );
        assert_eq!(after(within(), json!({"options": 5})), None);
        assert_eq!(after(Place::Top, json!([1])), None);
    }
}
