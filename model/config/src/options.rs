//! The table of options: name, type, default, what is allowed, and what it means.
//!
//! One table makes the typed structs, the reader, the documentation of the code and of the default file.
//! Options marked *ours* do not exist in the Python VDSM; all others have its names, units and defaults
//! (upstream `lib/vdsm/common/config.py.in`). Only options that something reads stand here.

use core::net::IpAddr;
use std::{path::PathBuf, time::Duration};

use crate::{
    merge::Reader,
    value::{
        self as kind, Accelerator, LockMode, LogLevel, LogTarget, OwnerNames, Qcow2Compat, boolean,
        int, lock_mode, log_level, log_target, path, seconds, text,
    },
};

/// Documentation of one section.
pub(crate) struct SectionDoc {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) options: Vec<OptionDoc>,
}

/// Documentation of one option.
pub(crate) struct OptionDoc {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) doc: String,
    pub(crate) allowed: String,
}

macro_rules! options {
    ($( #[doc = $sdoc:literal] [$section:ident] $ty:ident {
        $( $(#[doc = $doc:literal])+ $name:ident: $t:ty = $default:literal, $kind:expr; )+
    } )+) => {
        $(
            #[doc = $sdoc]
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $ty {
                $(
                    $(#[doc = $doc])+
                    #[doc = concat!("\n\nDefault: `", $default, "`.")]
                    pub $name: $t,
                )+
            }

            impl $ty {
                fn read(reader: &mut Reader<'_>) -> Option<Self> {
                    $( let $name = reader.read(stringify!($section), stringify!($name), $default, &$kind); )+
                    Some(Self { $( $name: $name?, )+ })
                }

                fn docs() -> Vec<OptionDoc> {
                    vec![ $( OptionDoc {
                        name: stringify!($name),
                        default: $default,
                        doc: [$( $doc ),+].concat(),
                        allowed: { let kind: kind::Kind<$t> = $kind; kind.allowed().to_owned() },
                    } ),+ ]
                }
            }
        )+

        /// All options, typed.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $( #[doc = $sdoc] pub $section: $ty, )+
        }

        impl Config {
            pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
                $( let $section = $ty::read(reader); )+
                Some(Self { $( $section: $section?, )+ })
            }
        }

        /// Documentation of all sections.
        pub(crate) fn table() -> Vec<SectionDoc> {
            vec![ $( SectionDoc { name: stringify!($section), doc: $sdoc, options: $ty::docs() } ),+ ]
        }
    };
}

options! {
    /// The agent as a whole: encryption, virtual machines, sampling, paths, log.
    [vars] Vars {
        /// Encrypt and authenticate connections with TLS. Without it anyone who reaches the port commands the host.
        ssl: bool = "true", boolean();
        /// Ours. Folder of certificates: keys/vdsmkey.pem, certs/vdsmcert.pem and certs/cacert.pem beneath it.
        trust_store_path: PathBuf = "/etc/pki/vdsm", path();
        /// Refuse clients unless a name in their certificate belongs to the address that they come from. Clients of
        /// this host are let in always.
        verify_client_cert: bool = "false", boolean();
        /// Ours. File of revocation lists (PEM), one for each authority that certifies clients; clients that stand
        /// there are refused. Empty: revocation is not looked at.
        revocation_lists: Option<PathBuf> = "", kind::optional_path();
        /// Memory kept for the host, MiB.
        host_mem_reserve: u32 = "256", int(0..=1_048_576);
        /// Memory kept for programs that the agent does not manage, MiB.
        extra_mem_reserve: u32 = "65", int(0..=1_048_576);
        /// Memory that running a guest takes beyond its own, MiB.
        guest_ram_overhead: u32 = "65", int(0..=1_048_576);
        /// Patterns of host interfaces that are reported though they are virtual, with commas between.
        fake_nics: Vec<String> = "dummy_*,veth_*", kind::words();
        /// Patterns of host interfaces that are not reported, with commas between.
        hidden_nics: Vec<String> = "w*,usb*", kind::words();
        /// Patterns of bonds that are not reported, with commas between.
        hidden_bonds: Vec<String> = "", kind::words();
        /// Patterns of VLAN interfaces that are not reported, with commas between.
        hidden_vlans: Vec<String> = "", kind::words();
        /// Have lldpad listen, where it runs, on cards on which it does nothing yet, so that what switches tell can be asked for.
        enable_lldp: bool = "true", boolean();
        /// Seconds until a shutdown or restart that the guest was asked for is forced, if the caller says nothing.
        sys_shutdown_timeout: Duration = "120", seconds(1..=86_400);
        /// Seconds a guest's user is given to close programs before a shutdown.
        user_shutdown_timeout: Duration = "30", seconds(0..=86_400);
        /// Seconds that one call to the hypervisor about one guest may take.
        vm_command_timeout: Duration = "60", seconds(1..=3_600);
        /// Seconds between samples of the guests' statistics.
        vm_sample_interval: Duration = "15", seconds(1..=3_600);
        /// Seconds between samples of the host's statistics.
        host_sample_stats_interval: Duration = "15", seconds(1..=3_600);
        /// Count each thread of a core as a core.
        report_host_threads_as_cores: bool = "false", boolean();
        /// Ours. How guests run: auto probes KVM by booting a few bytes and falls back to software, saying so;
        /// kvm never falls back; tcg is software.
        accelerator: Accelerator = "auto", kind::accelerator();
        /// Ours. Seconds that these few bytes may take under KVM before it counts as hanging: well below one on a host that is
        /// not busy. The verdict holds until the host's next boot.
        kvm_probe_timeout: Duration = "5", seconds(1..=600);
        /// Ours. How to reach libvirt.
        libvirt_uri: String = "qemu:///system", text();
        /// Ours. Folder of what must outlive a restart of the host: tasks and their undo steps.
        state_dir: PathBuf = "/var/lib/vdsm", path();
        /// Ours. Folder of sockets and of what may be lost with a restart of the host.
        run_dir: PathBuf = "/run/vdsm", path();
        /// Ours. Where the log goes.
        log_target: LogTarget = "auto", log_target();
        /// Ours. File of the log, for log_target file (and auto without systemd).
        log_file: Option<PathBuf> = "", kind::optional_path();
        /// Ours. How much is logged.
        log_level: LogLevel = "info", log_level();
    }

    /// Where the agent listens, and names of its queues.
    [addresses] Addresses {
        /// Port. 0 takes any that is free (ours; for tests).
        management_port: u16 = "54321", int(0..=65_535);
        /// Address to listen on; :: is all, IPv4 and IPv6.
        management_ip: IpAddr = "::", kind::address();
        /// Destinations that take requests, with commas between.
        request_queues: Vec<String> = "jms.topic.vdsm_requests,jms.topic.vdsm_irs_requests", kind::words();
        /// Destination of events.
        event_queue: String = "jms.queue.events", text();
    }

    /// The server: threads that serve calls, and limits on what clients may take.
    [rpc] Rpc {
        /// Threads that serve calls.
        worker_threads: u32 = "8", int(1..=256);
        /// Calls that may wait for each thread; more are refused.
        tasks_per_worker: u32 = "10", int(1..=10_000);
        /// Seconds after which a call that has not ended is logged as stuck.
        worker_timeout: Duration = "60", seconds(1..=86_400);
        /// Ours. Largest frame, bytes; a client that announces or sends more is told so and cut off.
        max_frame_bytes: usize = "4194304", int(4_096..=268_435_456);
        /// Ours. Connections at one time; more are closed at once.
        max_connections: usize = "2000", int(1..=100_000);
        /// Ours. Connections from one address at one time; 0 is three quarters of max_connections.
        max_connections_per_peer: usize = "0", int(0..=100_000);
        /// Ours. Seconds within which a new connection must have said what it speaks and, with TLS, who it is.
        handshake_timeout: Duration = "10", seconds(1..=300);
        /// Ours. Seconds for which clients wait in the queue of systemd's socket while the agent starts, before verbs
        /// answer code 99. Engine waits 20 s for an answer; systemd waits 60 s for the agent.
        start_hold: Duration = "10", seconds(0..=50);
        /// Ours. Seconds without a byte after which a connection without heart-beat and subscription is closed; 0 never.
        idle_timeout: Duration = "900", seconds(0..=604_800);
        /// Ours. Bytes that may wait for a client that does not read; beyond that it is cut off.
        max_outgoing_bytes: usize = "16777216", int(65_536..=1_073_741_824);
    }

    /// Storage.
    [irs] Irs {
        /// Folder of links to pools, domains and images.
        repository: PathBuf = "/rhev/data-center", path();
        /// Threads that run storage tasks.
        thread_pool_size: u32 = "10", int(1..=256);
        /// Tasks that may be there at one time.
        max_tasks: u32 = "500", int(1..=100_000);
        /// Milliseconds to wait for a storage resource that another task holds.
        task_resource_default_timeout: u64 = "120000", int(0..=86_400_000);
        /// Seconds between checks of a storage domain.
        sd_health_check_delay: Duration = "10", seconds(1..=3_600);
        /// Seconds that one access to files of a storage domain may take.
        process_pool_timeout: Duration = "60", seconds(1..=3_600);
        /// Level of new qcow2 volumes in domains older than format V4; later ones always use 1.1.
        qcow2_compat: Qcow2Compat = "0.10", kind::qcow2_compat();
    }

    /// The cluster lock of storage domains.
    [sanlock] Sanlock {
        /// Ours. sanlock needs its daemon and fails without it; local keeps other hosts out of nothing: use it only
        /// where no other host can reach the storage.
        mode: LockMode = "sanlock", lock_mode();
        /// Seconds of sanlock's I/O timeout, on which all its timeouts are built. Not for mode local.
        io_timeout: u32 = "10", int(1..=300);
    }

    /// Ours. Fencing: switching the power of other hosts, in Engine's name.
    [fencing] Fencing {
        /// Folder of the programs `fence_AGENT`.
        agent_dir: PathBuf = "/usr/sbin", path();
        /// Seconds that an agent may run; then it is killed, with all that it started. Engine waits 180 s for the
        /// answer (its vdsTimeout).
        agent_timeout: Duration = "150", seconds(1..=3_600);
    }

    /// Sampling of the host.
    [sampling] Sampling {
        /// Ours. Folders whose free space the host's statistics tell, with commas between.
        disk_stats_paths: Vec<PathBuf> = "/tmp,/var/log,/run/vdsm/", kind::paths();
    }

    /// Ours. The root helper, and how the agent reaches it.
    [supervdsm] Supervdsm {
        /// Use the helper. Without it, what needs root answers an error; the rest works.
        enable: bool = "true", boolean();
        /// Its socket.
        socket: PathBuf = "/run/vdsm/svdsm.sock", path();
        /// User whose processes may send requests, by name or number; root may as well.
        client_user: String = "vdsm", text();
        /// Folders beneath which owner and mode of paths may be changed, with commas between.
        allowed_roots: Vec<PathBuf> = "/rhev/data-center,/var/lib/vdsm", kind::paths();
        /// The owner that requests call vdsm, by names or numbers.
        owner_vdsm: OwnerNames = "vdsm:kvm", kind::owner();
        /// The owner that requests call qemu, by names or numbers.
        owner_qemu: OwnerNames = "qemu:qemu", kind::owner();
        /// Clients at one time; more are closed at once.
        max_clients: usize = "16", int(1..=1_024);
        /// Seconds that one request may take, its sending and answer included. Changes of networks bring times of their own.
        request_timeout: Duration = "10", seconds(1..=300);
        /// Change the host's networks when asked. Without it, or without CAP_NET_ADMIN, such requests are refused.
        networks: bool = "true", boolean();
        /// The running set of network files, a symbolic link beside its generations; what was set up last.
        netconf_running: PathBuf = "/var/lib/vdsm/staging/netconf", path();
        /// The persistent set of network files, a symbolic link beside its generations; what is restored at boot.
        netconf_persistent: PathBuf = "/var/lib/vdsm/persistence/netconf", path();
        /// Folder of the journal of a change and of the routing tables of networks; root's own.
        network_state: PathBuf = "/var/lib/supervdsm", path();
        /// File that says that networks were restored since the host started.
        networks_restored: PathBuf = "/run/vdsm/nets_restored", path();
        /// Folder of DHCP clients, gone with the boot; root's own.
        dhcp_dir: PathBuf = "/run/supervdsm/dhcp", path();
        /// The DHCP client.
        dhcp_client: PathBuf = "/usr/libexec/vdsm/vdsm-dhcp", path();
        /// Tell NetworkManager and systemd-networkd, where they are, which interfaces are ours to manage.
        network_managers: bool = "true", boolean();
        /// The file of the host's name servers.
        resolv_conf: PathBuf = "/etc/resolv.conf", path();
    }

    /// For developers.
    [devel] Devel {
        /// Refuse parameters that are not as declared even where they can be understood, and compare every answer and
        /// event with its declaration.
        api_strict_mode: bool = "false", boolean();
    }
}
