//! The way of a call through [`schema::dispatch`]: every declared verb reaches its own handler, and hostile
//! parameters never get further than a refusal.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly; the configuration of clippy covers test functions, not their helpers"
)]

use std::cell::RefCell;

use proptest::prelude::*;
use schema::{
    Api, CallContext, Code, Done, HostApi, ImageApi, Mismatch, StorageDomainApi, StoragePoolApi,
    TaskApi, VdsmError, VerbDecl, VmApi, VolumeApi, dispatch, domain, host, image, pool, task,
    verbs, vm, volume,
};
use serde_json::{Map, Number, Value, json, value::to_raw_value};

/// Answers every verb by an error that names the handler; keeps what it was told of mismatches.
#[derive(Default)]
struct Echoes {
    mismatches: RefCell<Vec<String>>,
}

fn reached<T>(handler: &str) -> Result<T, VdsmError> {
    Err(VdsmError {
        code: 7777,
        message: handler.to_owned(),
    })
}

macro_rules! echoes {
    ($($trait:ident $module:ident { $($func:ident($params:ident) -> $answer:ty;)* })*) => {$(
        impl $trait for Echoes {
            $(fn $func(&self, _: &CallContext, _: $module::$params) -> Result<$answer, VdsmError> {
                reached(<$module::$params as schema::Verb>::DECL.method)
            })*
        }
    )*};
}

impl HostApi for Echoes {
    fn ping(&self, _: &CallContext, _: host::Ping) -> Result<Done, VdsmError> {
        Ok(Done)
    }

    fn ping2(&self, _: &CallContext, _: host::Ping2) -> Result<Done, VdsmError> {
        Err(Code::RecoveryInProgress.into())
    }

    fn echo(&self, cx: &CallContext, params: host::Echo) -> Result<String, VdsmError> {
        Ok(format!(
            "{} {}",
            params.message,
            cx.flow_id.as_deref().unwrap_or("-")
        ))
    }

    fn get_capabilities(
        &self,
        _: &CallContext,
        _: host::GetCapabilities,
    ) -> Result<host::Capabilities, VdsmError> {
        reached("Host.getCapabilities")
    }

    fn get_hardware_info(
        &self,
        _: &CallContext,
        _: host::GetHardwareInfo,
    ) -> Result<host::HardwareInfo, VdsmError> {
        Ok(host::HardwareInfo {
            family: Some("f".to_owned()),
            ..Default::default()
        })
    }

    fn get_stats(&self, _: &CallContext, _: host::GetStats) -> Result<host::HostStats, VdsmError> {
        reached("Host.getStats")
    }

    fn get_vm_list(
        &self,
        _: &CallContext,
        params: host::GetVMList,
    ) -> Result<Vec<host::VmListEntry>, VdsmError> {
        Ok(params
            .vm_list
            .into_iter()
            .map(host::VmListEntry::Id)
            .collect())
    }

    fn get_vm_full_list(
        &self,
        _: &CallContext,
        _: host::GetVMFullList,
    ) -> Result<Vec<vm::VmSummary>, VdsmError> {
        reached("Host.getVMFullList")
    }

    fn get_all_vm_stats(
        &self,
        _: &CallContext,
        _: host::GetAllVmStats,
    ) -> Result<Vec<vm::VmStats>, VdsmError> {
        reached("Host.getAllVmStats")
    }

    fn dumpxmls(
        &self,
        _: &CallContext,
        _: host::DumpXmls,
    ) -> Result<std::collections::BTreeMap<uuid::Uuid, String>, VdsmError> {
        reached("Host.dumpxmls")
    }

    fn get_storage_domains(
        &self,
        _: &CallContext,
        _: host::GetStorageDomains,
    ) -> Result<Vec<uuid::Uuid>, VdsmError> {
        reached("Host.getStorageDomains")
    }

    fn get_storage_repo_stats(
        &self,
        _: &CallContext,
        _: host::GetStorageRepoStats,
    ) -> Result<std::collections::BTreeMap<uuid::Uuid, domain::DomainVitals>, VdsmError> {
        reached("Host.getStorageRepoStats")
    }

    fn get_connected_storage_pools(
        &self,
        _: &CallContext,
        _: host::GetConnectedStoragePools,
    ) -> Result<Vec<uuid::Uuid>, VdsmError> {
        reached("Host.getConnectedStoragePools")
    }

    fn get_all_tasks(
        &self,
        _: &CallContext,
        _: host::GetAllTasks,
    ) -> Result<task::TasksDetails, VdsmError> {
        reached("Host.getAllTasks")
    }

    fn get_all_tasks_info(
        &self,
        _: &CallContext,
        _: host::GetAllTasksInfo,
    ) -> Result<task::TasksInfo, VdsmError> {
        reached("Host.getAllTasksInfo")
    }

    fn get_all_tasks_statuses(
        &self,
        _: &CallContext,
        _: host::GetAllTasksStatuses,
    ) -> Result<task::TasksStatus, VdsmError> {
        reached("Host.getAllTasksStatuses")
    }

    fn set_log_level(&self, _: &CallContext, _: host::SetLogLevel) -> Result<Done, VdsmError> {
        reached("Host.setLogLevel")
    }
}

echoes! {
    VmApi vm {
        vm_create(Create) -> vm::VmSummary;
        vm_get_info(GetInfo) -> vm::VmSummary;
        vm_get_stats(GetStats) -> Vec<vm::VmStats>;
        vm_pause(Pause) -> vm::VmListAnswer;
        vm_cont(Cont) -> vm::VmListAnswer;
        vm_shutdown(Shutdown) -> Done;
        vm_destroy(Destroy) -> Done;
        vm_reset(Reset) -> Done;
        vm_screenshot(TakeScreenshot) -> vm::Screenshot;
    }
    StoragePoolApi pool {
        pool_connect(Connect) -> Done;
        pool_disconnect(Disconnect) -> Done;
        pool_create(Create) -> Done;
        pool_destroy(Destroy) -> Done;
        pool_get_info(GetInfo) -> pool::PoolFullInfo;
        spm_start(SpmStart) -> uuid::Uuid;
        spm_stop(SpmStop) -> Done;
        get_spm_status(GetSpmStatus) -> pool::SpmStatus;
        connect_storage_server(ConnectStorageServer) -> Vec<pool::ConnectionStatus>;
        disconnect_storage_server(DisconnectStorageServer) -> Vec<pool::ConnectionStatus>;
    }
    StorageDomainApi domain {
        domain_create(Create) -> Done;
        domain_format(Format) -> Done;
        domain_attach(Attach) -> Done;
        domain_activate(Activate) -> Done;
        domain_deactivate(Deactivate) -> Done;
        domain_detach(Detach) -> Done;
        domain_get_info(GetInfo) -> domain::DomainInfo;
        domain_get_stats(GetStats) -> domain::DomainStats;
        domain_validate(Validate) -> Done;
        domain_get_images(GetImages) -> Vec<uuid::Uuid>;
        domain_get_volumes(GetVolumes) -> Vec<uuid::Uuid>;
        domain_dump(Dump) -> domain::DomainDump;
    }
    VolumeApi volume {
        volume_create(Create) -> uuid::Uuid;
        volume_delete(Delete) -> uuid::Uuid;
        volume_get_info(GetInfo) -> volume::VolumeReport;
        volume_get_size(GetSize) -> volume::VolumeSize;
        volume_extend_size(ExtendSize) -> uuid::Uuid;
        volume_set_legality(SetLegality) -> Done;
        volume_set_description(SetDescription) -> Done;
        volume_measure(MeasureVolume) -> volume::Measure;
        volume_get_qemu_image_info(GetQemuImageInfo) -> volume::QemuImageInfo;
    }
    ImageApi image {
        image_prepare(Prepare) -> image::PreparedImage;
        image_teardown(Teardown) -> Done;
        image_delete(Delete) -> uuid::Uuid;
        image_get_volumes(GetVolumes) -> Vec<uuid::Uuid>;
    }
    TaskApi task {
        task_get_status(GetStatus) -> task::TaskStatus;
        task_get_info(GetInfo) -> task::TaskInfo;
        task_stop(Stop) -> Done;
        task_revert(Revert) -> Done;
        task_clear(Clear) -> Done;
    }
}

impl host::fence::FenceApi for Echoes {
    fn fence_node(
        &self,
        _: &CallContext,
        _: host::fence::FenceNode,
    ) -> Result<host::fence::FenceReport, VdsmError> {
        reached("Host.fenceNode")
    }
}

impl host::network::NetworkApi for Echoes {
    fn setup_networks(
        &self,
        _: &CallContext,
        params: host::network::SetupNetworks,
    ) -> Result<host::network::SetupAnswer, VdsmError> {
        let strangers = params.networks.values().flat_map(|it| it.strangers.keys());
        let strangers: Vec<&str> = strangers.map(String::as_str).collect();
        match strangers.as_slice() {
            [] => reached("Host.setupNetworks"),
            some => reached(&some.join(",")),
        }
    }

    fn confirm_connectivity(
        &self,
        _: &CallContext,
        _: host::network::ConfirmConnectivity,
    ) -> Result<Done, VdsmError> {
        reached("Host.confirmConnectivity")
    }

    fn set_safe_network_config(
        &self,
        _: &CallContext,
        _: host::network::SetSafeNetworkConfig,
    ) -> Result<Done, VdsmError> {
        reached("Host.setSafeNetworkConfig")
    }

    fn get_network_capabilities(
        &self,
        _: &CallContext,
        _: host::network::GetNetworkCapabilities,
    ) -> Result<host::network::NetworkCapabilities, VdsmError> {
        reached("Host.getNetworkCapabilities")
    }

    fn get_network_statistics(
        &self,
        _: &CallContext,
        _: host::network::GetNetworkStatistics,
    ) -> Result<host::network::NetworkStatistics, VdsmError> {
        reached("Host.getNetworkStatistics")
    }

    fn get_lldp(
        &self,
        _: &CallContext,
        _: host::network::GetLldp,
    ) -> Result<std::collections::BTreeMap<String, host::network::Lldp>, VdsmError> {
        reached("Host.getLldp")
    }
}

macro_rules! later {
    ($($subject:path),* $(,)?) => { $( impl $subject for Echoes {} )* };
}

later! {
    host::storage::HostStorageApi, host::devices::HostDeviceApi,
    host::jobs::JobApi, host::transfer::TransferApi,
    host::external::ExternalVmApi, host::secrets::SecretsApi, host::tuning::HostTuningApi,
    vm::hotplug::HotplugApi, vm::disks::DiskApi, vm::snapshot::SnapshotApi, vm::backup::BackupApi,
    vm::migration::MigrationApi, vm::guest::GuestApi, vm::state::VmStateApi, vm::tuning::VmTuningApi,
    pool::master::PoolMasterApi, pool::merge::MergeApi, pool::ovf::OvfApi,
    domain::devices::DomainDeviceApi, schema::sdm::SdmApi, schema::lease::LeaseApi,
    schema::lvm::VolumeGroupApi, schema::iscsi::IscsiApi, schema::managed::ManagedVolumeApi,
    schema::nbd::NbdApi,
}

impl Api for Echoes {
    fn mismatched(&self, _: &CallContext, verb: &'static VerbDecl, mismatches: &[Mismatch]) {
        let told = mismatches
            .iter()
            .map(|mismatch| format!("{} {mismatch}", verb.method));
        self.mismatches.borrow_mut().extend(told);
    }
}

fn call(api: &Echoes, method: &str, params: &Value) -> Result<Value, VdsmError> {
    let raw = to_raw_value(params).unwrap();
    let cx = CallContext {
        flow_id: Some("flow".to_owned()),
        ..Default::default()
    };
    dispatch(api, &cx, method, Some(&raw)).map(|raw| serde_json::from_str(raw.get()).unwrap())
}

const ID: &str = "11111111-2222-3333-4444-555555555555";

#[test]
fn keys_of_networks_that_nobody_knows_are_kept() {
    let api = Echoes::default();
    let params = json!({"networks": {"n": {"nic": "a", "later": {"x": [1]}}}, "bondings": {}, "options": {}});
    let error = call(&api, "Host.setupNetworks", &params).unwrap_err();
    assert_eq!(error.message, "later");
    let told = api.mismatches.borrow().join(" ");
    assert!(told.contains("networks.n.later"), "{told}");
    let open: schema::Open<host::network::BondWish> =
        serde_json::from_value(json!({"nics": ["a"], "y": 1})).unwrap();
    assert_eq!(
        serde_json::to_value(&open).unwrap(),
        json!({"nics": ["a"], "y": 1})
    );
}

#[test]
fn answers_and_errors_come_back() {
    let api = Echoes::default();
    assert_eq!(call(&api, "Host.ping", &json!({})), Ok(json!(true)));
    assert_eq!(call(&api, "Host.ping2", &json!({})).unwrap_err().code, 99);
    assert_eq!(
        call(&api, "Host.echo", &json!({"message": "hi"})),
        Ok(json!("hi flow"))
    );
    assert_eq!(
        call(&api, "Host.getHardwareInfo", &json!({})),
        Ok(json!({"systemFamily": "f"}))
    );
    assert_eq!(
        call(&api, "Host.getVMList", &json!({"vmList": [ID]})),
        Ok(json!([ID]))
    );
    assert!(api.mismatches.borrow().is_empty());
    assert_eq!(call(&api, "Host.echo", &json!([5])), Ok(json!("5 flow")));
    assert_eq!(
        *api.mismatches.borrow(),
        ["Host.echo message: expected string, found 5"]
    );
}

#[test]
fn unknown_methods_are_told_as_upstream_tells_them() {
    for method in [
        "Host.noSuch",
        "NoSuch.method",
        "nodot",
        "Host.",
        "",
        ".",
        "Host.getVMList.x",
        "VM.reboot",
    ] {
        let error = call(&Echoes::default(), method, &json!({})).unwrap_err();
        assert_eq!(error.code, -32601);
        assert_eq!(
            error.message,
            format!("The method does not exist or is not available: {{'method': '{method}'}}")
        );
    }
}

/// A value that fits a type, made from its description.
fn example(ty: &schema::desc::Type) -> Value {
    use schema::desc::{Scalar, Type};
    match ty {
        Type::Bool | Type::Done => json!(true),
        Type::Integer { .. } => json!(1),
        Type::Float => json!(1.5),
        Type::Uuid => json!(ID),
        Type::Text(Scalar::Integer { .. } | Scalar::Float) => json!("1"),
        Type::Text(Scalar::Bool) => json!("true"),
        Type::Enum(desc) => json!(desc.values[0].name),
        Type::Optional(inner) => example(inner),
        Type::List(item) => json!([example(item)]),
        Type::Map { key, value } => json!({ example(key).as_str().unwrap_or("1"): example(value) }),
        Type::Object(desc) => desc
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), example(field.ty)))
            .collect::<Map<_, _>>()
            .into(),
        Type::Union(variants) => example(variants[0]),
        Type::Dict => json!({}),
        Type::Any | Type::Str | Type::Secret | Type::SecretJson | Type::DomainXml => json!("text"),
    }
}

#[test]
fn every_verb_reaches_its_own_handler() {
    let answered = [
        "Host.ping",
        "Host.ping2",
        "Host.echo",
        "Host.getHardwareInfo",
        "Host.getVMList",
    ];
    let api = Echoes::default();
    for verb in verbs() {
        let params: Map<_, _> = verb
            .params
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), example(field.ty)))
            .collect();
        let params = Value::Object(params);
        let answer = call(&api, verb.method, &params);
        if !verb.implemented {
            assert_eq!(answer, Err(VdsmError::not_implemented(verb.method)));
            let raw = to_raw_value(&params).unwrap();
            let (_, mismatches) = verb.read(Some(&raw)).unwrap();
            assert!(mismatches.is_empty(), "{}: {mismatches:?}", verb.method);
            assert_eq!(verb.try_params(Some(&raw)), Ok(()), "{}", verb.method);
        } else if !answered.contains(&verb.method) {
            let error = answer.unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (7777, verb.method));
        }
        assert!(!verb.summary().is_empty());
    }
    assert!(
        api.mismatches.borrow().is_empty(),
        "{:?}",
        api.mismatches.borrow()
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| Number::from_f64(float).map_or(Value::Null, Value::Number)),
        "[ -~]{0,8}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            ID,
            "",
            "true",
            "1",
            "-1",
            "4",
            "RAW",
            "18446744073709551616",
            "1e400",
            "{}"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|items| Value::Object(items.into_iter().collect())),
        ]
    })
}

/// Parameters of a verb, some right, some not.
fn any_call() -> impl Strategy<Value = (&'static VerbDecl, Value)> {
    let all: Vec<_> = verbs().collect();
    prop::sample::select(all).prop_flat_map(|verb| {
        let value = |ty: &'static schema::desc::Type| {
            prop_oneof![3 => Just(example(ty)), 2 => any_json(), 1 => any_json().prop_map(|json| json!([json]))]
        };
        let fields: Vec<_> =
            verb.params.fields.iter().map(|field| (Just(field.name.to_owned()), value(field.ty))).collect();
        let named = fields.prop_map(|fields| Value::Object(fields.into_iter().collect()));
        (Just(verb), prop_oneof![4 => named, 1 => any_json()])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_sent_is_refused_or_understood((verb, params) in any_call()) {
        let raw = to_raw_value(&params).unwrap();
        let shown = schema::redact(Some(&raw), Some(verb));
        prop_assert!(shown.len() <= schema::redact::LONGEST + 64);
        match call(&Echoes::default(), verb.method, &params) {
            Ok(_) => {}
            Err(error) => prop_assert!(
                matches!(error.code, 7777 | 99 | -32602 | -32001), "{} {params}: {error}", verb.method
            ),
        }
        // What was read has its Rust types, also where no handler exists yet.
        if let Err(error) = verb.try_params(Some(&raw)) {
            prop_assert!(error.code == -32602, "{} {params}: {error}", verb.method);
        }
    }

    #[test]
    fn any_text_is_masked_without_panic(text in "([ -~]|passwd|=|'|\"|<ovirt-vm:file|>|ü){0,24}") {
        let masked = schema::redact::mask_xml(&text);
        prop_assert!(masked.len() <= text.len() + 8 * schema::redact::MASK.len());
    }

    #[test]
    fn checking_never_panics((verb, value) in any_call()) {
        let _ = schema::check(&value, verb.result);
    }
}

/// How verbs begin that change something.
const DOES: [&str; 12] = [
    "set", "create", "delete", "remove", "add", "start", "stop", "move", "copy", "merge", "update",
    "clear",
];

#[test]
fn what_only_looks_is_told_from_what_does() {
    let looks = |method: &str| schema::find(method).map(schema::VerbDecl::only_looks);
    for method in [
        "Host.getStats",
        "Host.dumpxmls",
        "Volume.getInfo",
        "StorageDomain.validate",
        "VM.screenshot",
    ] {
        assert_eq!(looks(method), Some(true), "{method}");
    }
    for method in [
        "VM.create",
        "VM.destroy",
        "Volume.create",
        "Volume.setDescription",
        "StoragePool.connect",
        "StoragePool.spmStart",
        "Image.prepare",
        "Task.stop",
        "Host.setLogLevel",
    ] {
        assert_eq!(looks(method), Some(false), "{method}");
    }
    // No word of a verb that changes something begins or sounds as one that looks.
    for verb in schema::verbs().filter(|verb| verb.only_looks()) {
        let name = verb.name.to_lowercase();
        assert!(
            DOES.iter().all(|word| !name.starts_with(word)),
            "{}",
            verb.method
        );
    }
}
