//! Names of the options of the Python VDSM, so that one that is set but not read here can be told from a typo.
//!
//! Source of the fact: upstream's `lib/vdsm/common/config.py.in`. Names only; meanings live in `options.rs`.

/// Does upstream know this section?
pub(crate) fn has_section(section: &str) -> bool {
    NAMES.iter().any(|(name, _)| *name == section)
}

/// Does upstream know this option?
pub(crate) fn has_option(section: &str, option: &str) -> bool {
    NAMES
        .iter()
        .any(|(name, options)| *name == section && options.split_whitespace().any(|o| o == option))
}

const NAMES: &[(&str, &str)] = &[
    (
        "vars",
        "core_dump_enable host_mem_reserve guest_ram_overhead extra_mem_reserve fake_nics \
         ethtool_opts migration_destination_timeout migration_listener_timeout \
         max_migration_listener_timeout migration_listener_prepare_disk_timeout \
         migration_max_bandwidth migration_monitor_interval hidden_nics hidden_bonds \
         hidden_vlans migration_downtime migration_downtime_steps max_outgoing_migrations \
         max_incoming_migrations migration_retry_timeout sys_shutdown_timeout \
         user_shutdown_timeout guest_agent_timeout guest_lifecycle_event_reply_timeout \
         vm_command_timeout hotunplug_timeout hotunplug_check_interval \
         vm_watermark_interval vm_sample_interval vm_sample_jobs_interval \
         host_sample_stats_interval ssl vds_responsiveness_timeout vdsm_nice \
         qemu_drive_cache fake_kvm_support fake_kvm_architecture fake_kvm_memory \
         fake_vmstats_enable fake_sriov_enable http_enable enable_lldp jsonrpc_enable \
         broker_enable report_host_threads_as_cores libvirt_env_variable_debug \
         libvirt_env_variable_log_filters libvirt_env_variable_log_outputs \
         transient_disks_repository verify_client_cert connection_stats_timeout \
         cpu_affinity migration_create_timeout host_numa_scheduling \
         timeout_engine_clear_vms time_sync_snapshot_enable time_sync_cont_enable \
         nowait_domain_stats",
    ),
    ("rpc", "worker_threads tasks_per_worker worker_timeout"),
    ("mom", "conf socket_path tuning_policy"),
    (
        "irs",
        "irs_enable repository hsm_tasks images irsd volume_utilization_percent \
         volume_utilization_chunk_mb vol_size_sample_interval scsi_rescan_maximal_timeout \
         udev_settle_timeout sd_health_check_delay nfs_mount_options lock_util_path \
         lock_cmd free_lock_cmd thread_pool_size max_tasks lvm_dev_whitelist \
         md_backup_versions md_backup_dir maximum_allowed_pvs \
         repo_stats_cache_refresh_timeout task_resource_default_timeout \
         prepare_image_timeout gc_blocker_force_collect_interval maximum_domains_in_pool \
         process_pool_timeout max_ioprocess_idle_time process_pool_max_slots_per_domain \
         process_pool_max_queued_slots_per_domain iscsi_default_ifaces use_volume_leases \
         progress_interval qcow2_compat",
    ),
    ("iscsi", "parallel_logins"),
    ("spm", "watchdog_enable watchdog_interval"),
    ("mailbox", "events_enable events_interval"),
    ("thinp", "monitor_timeout extend_timeout refresh_timeout"),
    ("multipath", "blacklist wait_timeout"),
    ("lvm", "config_method"),
    ("sanlock", "io_timeout"),
    ("jobs", "autodelete_delay"),
    (
        "addresses",
        "management_port management_ip broker_address broker_port request_queues \
         event_queue",
    ),
    (
        "sampling",
        "enable periodic_workers periodic_task_per_worker max_workers \
         external_vm_lookup_interval tpm_data_update_interval nvram_data_update_interval",
    ),
    (
        "metrics",
        "enabled collector_address collector_type queue_size",
    ),
    (
        "devel",
        "cpu_profile_enable cpu_profile_filename cpu_profile_format cpu_profile_builtins \
         cpu_profile_clock memory_profile_enable memory_profile_port manhole_enable \
         coverage_enable m2c_debug_enable api_strict_mode xml_minimal_changes",
    ),
    ("health", "monitor_enable check_interval"),
    ("gluster", "allowed_replica_counts enable_4k_storage"),
    (
        "performance",
        "use_dynamic_hugepages use_preallocated_hugepages reserved_hugepage_count \
         reserved_hugepage_size",
    ),
    ("v2v", "kvm2ovirt_buffer_size"),
    (
        "guest_agent",
        "enable_qga_poller periodic_workers periodic_task_per_worker max_workers \
         qga_command_timeout qga_task_timeout qga_polling_period \
         qga_initial_info_interval qga_info_period qga_sysinfo_period \
         qga_active_users_period qga_disk_info_period qga_cpu_info_period",
    ),
];
