//! Numbers and texts of errors against upstream's transcripts, and the table's soundness.

use std::collections::{HashMap, HashSet};

use super::*;

#[test]
fn texts_equal_the_transcripts() {
    let id = "ad869832-dcad-4735-864f-2f3f5af9f830";
    let cases = [
        (
            VdsmError::from(Code::VMExists),
            4,
            "Virtual machine already exists".to_owned(),
        ),
        (
            VdsmError::from(Code::CannotCreateVM),
            9,
            "Error creating the requested VM".to_owned(),
        ),
        (
            VdsmError::no_such_vm(id),
            1,
            format!("Virtual machine does not exist: {{'vmId': '{id}'}}"),
        ),
        (
            Code::NoSuchVM.context([("vmId", Py::None)]),
            1,
            "Virtual machine does not exist: {'vmId': None}".to_owned(),
        ),
        (
            Code::UnknownTask.args([id]),
            401,
            format!("Task id unknown: ('{id}',)"),
        ),
        (
            Code::IsSpm.args([id]),
            656,
            format!("Operation not allowed while SPM is active: ('{id}',)"),
        ),
        (
            Code::GeneralException.args(["'xml'"]),
            100,
            "General Exception: (\"'xml'\",)".to_owned(),
        ),
        (
            VdsmError::method_not_found("Host.noSuch"),
            -32601,
            "The method does not exist or is not available: {'method': 'Host.noSuch'}".to_owned(),
        ),
        (
            VdsmError::internal("'bool' object is not iterable"),
            -32603,
            "Internal JSON-RPC error: {'reason': \"'bool' object is not iterable\"}".to_owned(),
        ),
    ];
    for (error, code, message) in cases {
        assert_eq!((error.code, error.message), (code, message));
    }
}

#[test]
fn numbers_are_upstreams() {
    let known = [
        (Code::NoSuchVM, 1),
        (Code::VMExists, 4),
        (Code::VMIsDown, 6),
        (Code::UnexpectedError, 16),
        (Code::RecoveryInProgress, 99),
        (Code::GeneralException, 100),
        (Code::StorageException, 200),
        (Code::VolumeDoesNotExist, 201),
        (Code::VolumeAlreadyExists, 212),
        (Code::ImagePathError, 254),
        (Code::StoragePoolUnknown, 309),
        (Code::StoragePoolNotConnected, 313),
        (Code::StorageDomainMasterError, 355),
        (Code::StorageDomainDoesNotExist, 358),
        (Code::UnknownTask, 401),
        (Code::ActionStopped, 443),
        (Code::SpmStatusError, 654),
        (Code::IsSpm, 656),
        (Code::InvalidParameterException, 1000),
    ];
    for (code, number) in known {
        assert_eq!(code.number(), number, "{}", code.name());
    }
    assert_eq!(Code::from_number(401), Some(Code::UnknownTask));
    assert_eq!(Code::from_number(2), None);
}

/// Our names where two classes of upstream share one, or two names a number.
const RENAMED: &[(&str, i32, &str)] = &[
    ("UnsupportedOperation", 2009, "StorageUnsupportedOperation"),
    ("ERR_LOST_CONNECTION", 10, "NoConnectionToPeer"),
];

#[test]
fn the_table_is_upstreams() {
    let upstream: HashSet<(i32, &str)> = include_str!("upstream.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (number, name) = line.split_once(' ').unwrap();
            let number = number.parse().unwrap();
            let renamed = RENAMED
                .iter()
                .find(|(theirs, code, _)| *theirs == name && *code == number);
            (number, renamed.map_or(name, |(_, _, ours)| *ours))
        })
        .collect();
    let ours: HashSet<(i32, &str)> = Code::ALL
        .iter()
        .map(|code| (code.number(), code.name()))
        .collect();
    let missing: Vec<_> = upstream.difference(&ours).collect();
    let invented: Vec<_> = ours.difference(&upstream).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{missing:?} {invented:?}"
    );
    assert!(upstream.len() > 400);
}

#[test]
fn what_is_not_implemented_has_a_code_of_its_own() {
    let error = VdsmError::not_implemented("VM.migrate");
    assert_eq!(error.code, -32001);
    assert_eq!(
        error.message,
        "The method is declared, and not implemented in this version: {'method': 'VM.migrate'}"
    );
    // JSON-RPC gives these to the server; no other code of ours is there.
    let of_server = |number: i32| (-32_099..=-32_000).contains(&number);
    assert!(of_server(error.code));
    assert!(Code::ALL.iter().all(|code| !of_server(code.number())));
    let rpc = RpcCode::ALL.iter().filter(|code| of_server(code.number()));
    assert_eq!(rpc.count(), 1);
    assert_eq!(
        Code::ERR_BAD_NIC.because("no nic eth7").message,
        "no nic eth7"
    );
    assert_eq!(VdsmError::from(Code::ERR_BAD_NIC).message, "Bad NIC");
}

#[test]
fn the_table_is_sound() {
    assert!(Code::ALL.len() >= 400, "{} codes", Code::ALL.len());
    let mut names = HashSet::new();
    let mut numbers: HashMap<i32, &str> = HashMap::new();
    for code in Code::ALL {
        assert!(names.insert(code.name()), "{} twice", code.name());
        assert!(
            (0..=5000).contains(&code.number()),
            "{} belongs to Engine",
            code.number()
        );
        assert!(!code.text().is_empty());
        if let Some(other) = numbers.insert(code.number(), code.name()) {
            panic!("{} and {other} share {}", code.name(), code.number());
        }
    }
}

#[test]
fn details_without_style_or_arguments() {
    assert_eq!(
        Code::VMExists.because("no").message,
        "Virtual machine already exists: no"
    );
    assert_eq!(
        Code::UnknownTask.because("no").message,
        "Task id unknown: ('no',)"
    );
    assert_eq!(
        Code::NoSuchVM.because("no").message,
        "Virtual machine does not exist: {'reason': 'no'}"
    );
    assert_eq!(
        VdsmError::from(Code::UnknownTask).message,
        "Task id unknown: ()"
    );
    assert_eq!(
        Code::UnknownTask.args(["a", "b"]).message,
        "Task id unknown: ('a', 'b')"
    );
    assert_eq!(
        Code::ResourceException.value("UUID=1").message,
        "Resource operation failed: 'UUID=1'"
    );
    assert_eq!(VdsmError::from(RpcCode::Parse).code, -32700);
}

#[test]
fn strings_print_as_in_python() {
    let cases = [
        ("plain", "'plain'"),
        ("it's", "\"it's\""),
        ("it's \"both\"", "'it\\'s \"both\"'"),
        ("a\\b\n\u{1}", "'a\\\\b\\n\\x01'"),
        ("ü", "'ü'"),
    ];
    for (text, printed) in cases {
        assert_eq!(Py::from(text).to_string(), printed);
    }
    assert_eq!(Py::from(7).to_string(), "7");
}
