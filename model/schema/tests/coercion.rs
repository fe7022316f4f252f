//! Lenient reading, as a table: what is understood, what is noted, what is refused and how.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use std::collections::BTreeMap;

use schema::{
    Str, Verb, coerce::coerce, desc::Wire, domain::DomainType, find, host, pool, vm,
    volume::VolumeFormat,
};
use serde_json::{Value, json, value::to_raw_value};
use uuid::Uuid;

const ID: &str = "11111111-2222-3333-4444-555555555555";

/// A value that is understood as another.
fn understood<T: Wire>(given: &Value, meant: &Value, noted: bool) {
    let mut value = given.clone();
    let notes = coerce(&mut value, T::TYPE).unwrap_or_else(|why| panic!("{given}: {why:?}"));
    assert_eq!(&value, meant, "{given} as {}", T::TYPE);
    assert_eq!(
        !notes.is_empty(),
        noted,
        "{given} as {}: {notes:?}",
        T::TYPE
    );
}

/// A value that cannot be understood.
fn refused<T: Wire>(given: &Value) {
    let mut value = given.clone();
    let why = coerce(&mut value, T::TYPE).expect_err(&format!("{given} as {}", T::TYPE));
    assert!(!why.is_empty());
}

#[test]
fn scalars() {
    understood::<i32>(&json!(5), &json!(5), false);
    understood::<i32>(&json!("5"), &json!(5), true);
    understood::<i32>(&json!(" -5 "), &json!(-5), true);
    understood::<i32>(&json!(5.0), &json!(5), true);
    understood::<u64>(&json!("18446744073709551615"), &json!(u64::MAX), true);
    understood::<String>(&json!(5), &json!("5"), true);
    understood::<String>(&json!(true), &json!("true"), true);
    understood::<bool>(&json!("true"), &json!(true), true);
    understood::<bool>(&json!("False"), &json!(false), true);
    understood::<bool>(&json!(1), &json!(true), true);
    understood::<f64>(&json!(5), &json!(5.0), true);
    understood::<f64>(&json!("5.5"), &json!(5.5), true);
    understood::<Str<u64>>(&json!("5"), &json!("5"), false);
    understood::<Str<u64>>(&json!(5), &json!("5"), true);
    understood::<Str<i64>>(&json!(-1), &json!("-1"), true);
    understood::<Str<bool>>(&json!(true), &json!("true"), true);
    understood::<Uuid>(&json!(ID), &json!(ID), false);
    understood::<Uuid>(
        &json!("ABCDEF00-2222-3333-4444-555555555555"),
        &json!("abcdef00-2222-3333-4444-555555555555"),
        true,
    );
    understood::<Value>(&json!({"a": [1, null]}), &json!({"a": [1, null]}), false);
}

#[test]
fn names_and_their_numbers() {
    understood::<DomainType>(&json!("LOCALFS"), &json!("LOCALFS"), false);
    understood::<DomainType>(&json!("localfs"), &json!("LOCALFS"), false);
    understood::<DomainType>(&json!(4), &json!("LOCALFS"), false);
    understood::<DomainType>(&json!("4"), &json!("LOCALFS"), false);
    understood::<VolumeFormat>(&json!(5), &json!("RAW"), false);
    refused::<VolumeFormat>(&json!(1));
    refused::<DomainType>(&json!("SOMEFS"));
    refused::<DomainType>(&json!(null));
}

#[test]
fn what_cannot_be_understood() {
    refused::<i32>(&json!("five"));
    refused::<i32>(&json!(5.5));
    refused::<i32>(&json!(3_000_000_000_u64));
    refused::<u32>(&json!(-1));
    refused::<u32>(&json!(true));
    refused::<Str<u32>>(&json!("4294967296"));
    refused::<Str<u64>>(&json!("-1"));
    refused::<Str<f64>>(&json!("nan"));
    refused::<f64>(&json!("inf"));
    refused::<bool>(&json!("maybe"));
    refused::<bool>(&json!(2));
    refused::<String>(&json!(["a"]));
    refused::<Uuid>(&json!("x"));
    refused::<Uuid>(&json!(5));
    refused::<Vec<String>>(&json!("a"));
    refused::<BTreeMap<Uuid, String>>(&json!({"x": "a"}));
    refused::<String>(&json!(null));
}

fn read<V: Verb>(params: &Value) -> V {
    V::read(Some(&to_raw_value(params).unwrap())).unwrap_or_else(|why| panic!("{why}"))
}

fn refusal(method: &str, params: &Value) -> String {
    let why = find(method)
        .unwrap()
        .read(Some(&to_raw_value(params).unwrap()))
        .unwrap_err();
    assert_eq!(why.code, -32602);
    why.message
}

#[test]
fn defaults_stand_in_for_absence_and_null() {
    for params in [
        json!({}),
        json!({"vmList": null, "onlyUUID": null}),
        json!(null),
        json!([]),
    ] {
        let list: host::GetVMList = read(&params);
        assert!(list.vm_list.is_empty() && !list.only_uuid && !list.full_status);
    }
    assert!(host::GetVMList::read(None).is_ok());
    let destroy: vm::Destroy = read(&json!({"vmID": ID}));
    assert_eq!(destroy.graceful_attempts, 1);
    let shutdown: vm::Shutdown =
        read(&json!({"vmID": ID, "delay": "0", "timeout": 30, "reboot": "false"}));
    assert_eq!(
        (shutdown.delay, shutdown.timeout, shutdown.reboot),
        (Some(Str(0)), Some(Str(30)), false)
    );
    assert!(shutdown.message.is_none());
}

#[test]
fn positional_parameters_follow_the_declared_order() {
    let list: host::GetVMList = read(&json!([false, [ID], "true"]));
    assert_eq!((list.vm_list.len(), list.only_uuid), (1, true));
    let verb = find("Host.getVMList").unwrap();
    let (_, notes) = verb
        .read(Some(
            &to_raw_value(&json!([false, [], true, 3, 4])).unwrap(),
        ))
        .unwrap();
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].expected, "at most 3 parameters");
}

#[test]
fn unknown_parameters_are_noted_and_passed_over() {
    let verb = find("Host.getVMList").unwrap();
    let (_, notes) = verb
        .read(Some(&to_raw_value(&json!({"bogus": 1})).unwrap()))
        .unwrap();
    assert_eq!(
        notes[0].to_string(),
        "bogus: expected no such parameter, found a number"
    );
}

#[test]
fn refusals_name_path_expected_and_found() {
    assert_eq!(
        refusal("VM.getStats", &json!({})),
        "Invalid method parameter(s): {'reason': 'vmID: expected UUID, found nothing'}"
    );
    assert_eq!(
        refusal("VM.getStats", &json!({"vmID": null})),
        "Invalid method parameter(s): {'reason': 'vmID: expected UUID, found null'}"
    );
    assert!(
        refusal("VM.getStats", &json!(5))
            .contains("params: expected an object or a list, found a number")
    );
    let message = refusal(
        "Host.getVMList",
        &json!({"vmList": [ID, "x"], "onlyUUID": "maybe"}),
    );
    assert!(
        message.contains(r#"vmList[1]: expected UUID, found "x""#),
        "{message}"
    );
    assert!(
        message.contains(r#"onlyUUID: expected boolean, found "maybe""#),
        "{message}"
    );
    let message = refusal(
        "StoragePool.connectStorageServer",
        &json!({"storagepoolID": ID, "domainType": 4, "connectionParams": [{"id": ID, "password": ["s3cret"]}]}),
    );
    assert!(
        message.contains("connectionParams[0].password: expected string (secret)"),
        "{message}"
    );
    assert!(!message.contains("s3cret"));
}

#[test]
fn a_refusal_is_short_whatever_was_sent() {
    let many: Vec<_> = (0..10_000).map(|_| "x".repeat(1000)).collect();
    assert!(refusal("Host.getVMList", &json!({ "vmList": many })).len() < 8192);
    let long_key = "k".repeat(1_000_000);
    let verb = find("Host.ping2").unwrap();
    let (_, notes) = verb
        .read(Some(&to_raw_value(&json!({ long_key: 1 })).unwrap()))
        .unwrap();
    assert!(notes[0].path.len() < 100);
}

#[test]
fn engine_sends_all_keys_of_a_connection_empty() {
    let params = json!({
        "storagepoolID": "00000000-0000-0000-0000-000000000000",
        "domainType": 4,
        "connectionParams": [{
            "id": ID, "connection": "/srv/data", "port": "", "iqn": "", "user": "", "password": "",
            "ipv6_enabled": false,
        }],
    });
    let connect: pool::ConnectStorageServer = read(&params);
    let server = &connect.connections[0];
    assert_eq!(connect.domain_type, DomainType::Localfs);
    assert_eq!(server.connection.as_deref(), Some("/srv/data"));
    assert!(server.port.is_none());
    assert_eq!(
        server.password.as_ref().map(schema::Secret::expose),
        Some("")
    );
}

#[test]
fn a_volume_as_engine_and_as_a_person_asks_for_it() {
    let base = json!({
        "volumeID": ID, "storagepoolID": ID, "storagedomainID": ID, "imageID": ID, "desc": "d",
        "srcImgUUID": ID, "srcVolUUID": ID,
    });
    for (size, format, allocation, disk) in [
        (json!("1073741824"), json!(4), json!(2), json!("DATA")),
        (
            json!(1_073_741_824),
            json!("cow"),
            json!("SPARSE"),
            json!(2),
        ),
    ] {
        let mut params = base.clone();
        params["size"] = size;
        params["volFormat"] = format;
        params["preallocate"] = allocation;
        params["diskType"] = disk;
        let create: schema::volume::Create = read(&params);
        assert_eq!(create.size, Str(1_073_741_824));
        assert_eq!(create.format, VolumeFormat::Cow);
        assert_eq!(create.allocation, schema::volume::AllocationType::Sparse);
        assert_eq!(create.disk_type, schema::volume::DiskType::Data);
        assert!(create.legal && create.bitmap.is_none());
    }
}

#[test]
fn a_domain_is_where_a_string_or_an_object_says() {
    for location in [json!("/srv/data"), json!({"remotePath": "/srv/data"})] {
        let create: schema::domain::Create = read(&json!({
            "storagedomainID": ID, "domainType": 4, "typeArgs": location, "name": "d", "domainClass": 1,
            "version": "5",
        }));
        assert_eq!(create.location.as_str(), "/srv/data");
        assert_eq!(
            (create.version, create.block_size, create.max_hosts),
            (Some(5), 512, 2000)
        );
    }
}
