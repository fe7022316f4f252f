//! No secret reaches a log, however it is wrapped.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use schema::{desc::Type, find, redact};
use serde_json::{Value, json, value::to_raw_value};

const SECRET: &str = "s3cr3t-w0rd";

fn shown(method: &str, params: &Value) -> String {
    redact(Some(&to_raw_value(params).unwrap()), find(method))
}

#[test]
fn passwords_of_connections() {
    for params in [
        json!({"connectionParams": [{"id": "c1", "user": "u1", "password": SECRET}]}),
        json!({"connectionParams": [{"id": "c1", "user": "u1", "password": [SECRET]}]}),
        json!({"connectionParams": [{"id": "c1", "user": "u1", "pasword": SECRET}]}),
        json!(["p", 4, [{"id": "c1", "user": "u1", "password": SECRET}], SECRET]),
        json!({"connectionParams": {"user": "u1", "id": "c1", "x": SECRET}}),
    ] {
        let text = shown("StoragePool.connectStorageServer", &params);
        assert!(!text.contains(SECRET), "{text}");
    }
    let text = shown(
        "StoragePool.connectStorageServer",
        &json!({"domainType": 4, "connectionParams": [{"id": "c1", "password": SECRET}]}),
    );
    assert_eq!(
        text,
        r#"{"domainType":4,"connectionParams":[{"id":"c1","password":"*****"}]}"#
    );
}

#[test]
fn domain_xml_of_any_shape() {
    for xml in [
        format!("<graphics type='vnc' passwd='{SECRET}' port='1'/>"),
        format!("<graphics type=\"vnc\" passwd = \"{SECRET}\" passwdValidTo=\"1970\"/>"),
        format!("<a passwd='one {SECRET}'/><b passwd=\"{SECRET} two\"/>"),
        format!("<graphics passwd='{SECRET}"),
        format!(
            "<ovirt-vm:payload><ovirt-vm:file path='user-data'>{SECRET}</ovirt-vm:file></ovirt-vm:payload>"
        ),
        format!("<ovirt-vm:file path='a'>{SECRET}</ovirt-vm:file><ovirt-vm:file path='b'>{SECRET}"),
    ] {
        let text = shown("VM.create", &json!({"vmID": "x", "vmParams": {"xml": xml}}));
        assert!(!text.contains(SECRET), "{text}");
        assert!(text.contains("*****"));
        let elsewhere = shown("Host.echo", &json!({ "message": xml }));
        assert!(!elsewhere.contains(SECRET), "{elsewhere}");
    }
    let text = shown(
        "VM.create",
        &json!({"vmParams": {"_X_tpmdata": SECRET, "_X_nvramdata": SECRET}}),
    );
    assert!(!text.contains(SECRET), "{text}");
}

#[test]
fn the_rest_of_a_domain_xml_stays() {
    let xml = "<domain><name>passwd</name><graphics passwd='p' passwdValidTo='1970'/><!-- passwd= --></domain>";
    let masked = schema::redact::mask_xml(xml);
    assert_eq!(
        masked,
        "<domain><name>passwd</name><graphics passwd='*****' passwdValidTo='1970'/><!-- passwd= --></domain>"
    );
    assert_eq!(schema::DomainXml::new(xml.to_owned()).masked(), masked);
    assert!(matches!(
        schema::redact::mask_xml("<domain/>"),
        std::borrow::Cow::Borrowed(_)
    ));
}

#[test]
fn of_an_unknown_verb_nothing_is_shown() {
    assert_eq!(
        shown("VM.noSuchVerb", &json!({"password": SECRET})),
        "(26 bytes, not shown)"
    );
    assert_eq!(
        shown("Host.ping2", &json!({"x": SECRET})),
        r#"{"x":"<a string>"}"#
    );
    assert_eq!(redact(None, find("Host.ping2")), "{}");
}

#[test]
fn the_text_is_bounded() {
    let text = shown("Host.echo", &json!({"message": "ü".repeat(1_000_000)}));
    assert!(text.len() < schema::redact::LONGEST + 64, "{}", text.len());
    assert!(text.ends_with("bytes)"));
}

/// A value of a type with the secret at every place that is declared secret, and how many those are.
fn with_secrets(ty: &Type, count: &mut usize) -> Value {
    match ty {
        Type::Secret | Type::SecretJson => {
            *count += 1;
            json!(SECRET)
        }
        Type::DomainXml => {
            *count += 1;
            json!(format!("<graphics passwd='{SECRET}'/>"))
        }
        Type::Optional(inner) => with_secrets(inner, count),
        Type::List(item) => json!([with_secrets(item, count)]),
        Type::Map { value, .. } => json!({ "key": with_secrets(value, count) }),
        Type::Object(desc) => desc
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), with_secrets(field.ty, count)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Type::Union(variants) => {
            let secret = variants.iter().find(|variant| variant.has_secret());
            with_secrets(secret.unwrap_or(&variants[0]), count)
        }
        _ => json!("plain"),
    }
}

#[test]
fn secrets_of_all_verbs() {
    let mut count = 0;
    for verb in schema::verbs() {
        let whole = Type::Object(verb.params);
        let params = with_secrets(&whole, &mut count);
        let text = shown(verb.method, &params);
        assert!(!text.contains(SECRET), "{}: {text}", verb.method);
    }
    assert!(count >= 25, "{count} secret places");
    for method in [
        "Host.fenceNode",
        "Host.registerSecrets",
        "Host.convertExternalVm",
        "ISCSIConnection.discoverSendTargets",
        "ManagedVolume.attach_volume",
        "VM.desktopLogin",
        "VM.setTicket",
        "VM.updateDevice",
        "VM.migrationCreate",
        "Image.upload",
        "SDM.copy_data",
    ] {
        let verb = find(method).unwrap();
        assert!(
            verb.params
                .fields
                .iter()
                .any(schema::desc::FieldDesc::secret),
            "{method}"
        );
    }
}
