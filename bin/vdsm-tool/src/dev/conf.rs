//! The configuration files of a private agent.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Layout;
use crate::cli::UpArgs;

/// `vdsm.conf`: everything beneath the folder, TLS unless told otherwise, one host alone with its storage.
pub(crate) fn vdsm_conf(layout: &Layout, args: &UpArgs, port: u16, libvirt_uri: &str) -> String {
    let show = |path: PathBuf| path.display().to_string();
    let (trust, state, run) = (
        show(layout.pki()),
        show(layout.vdsm_state()),
        show(layout.vdsm_run()),
    );
    let (log, repository) = (show(layout.log("vdsmd")), show(layout.repository()));
    let (ssl, port) = ((!args.plain).to_string(), port.to_string());
    let sections: [(&str, &[(&str, &str)]); 5] = [
        (
            "vars",
            &[
                ("ssl", &ssl),
                ("trust_store_path", &trust),
                ("libvirt_uri", libvirt_uri),
                ("accelerator", args.accelerator.name()),
                ("state_dir", &state),
                ("run_dir", &run),
                ("log_target", "file"),
                ("log_file", &log),
                ("vm_sample_interval", "2"),
                ("host_sample_stats_interval", "2"),
            ],
        ),
        (
            "addresses",
            &[("management_ip", "127.0.0.1"), ("management_port", &port)],
        ),
        ("irs", &[("repository", &repository)]),
        ("sanlock", &[("mode", "local")]),
        ("supervdsm", &[("enable", "false")]),
    ];
    let head = "# Of a private agent: vdsm-tool dev up writes it anew at each start.\n\n";
    format!("{head}{}", config::ini_text(&sections))
}

/// `qemu.conf` of the private libvirt: QEMU's own output goes to files, so that no virtlogd is needed;
/// displays have ports of this agent's own, because libvirt finds a free port by trying it, and two
/// daemons that try at one time both find it free.
fn qemu_conf(layout: &Layout) -> String {
    let first = display_ports(&layout.dir);
    let last = first + DISPLAY_PORTS - 1;
    format!(
        "stdio_handler = \"file\"\nvnc_listen = \"127.0.0.1\"\n\
         remote_display_port_min = {first}\nremote_display_port_max = {last}\n"
    )
}

/// Ports of displays that one agent has.
const DISPLAY_PORTS: u16 = 50;

/// The first of them: told by the folder's name (FNV-1a), above libvirt's usual 5900 and below the ports
/// that the kernel gives to clients (32768).
fn display_ports(dir: &Path) -> u16 {
    let hash = dir
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    6000 + DISPLAY_PORTS * u16::try_from(hash % 500).unwrap_or_default()
}

/// Writes both. Whole or not at all, and never through a link: one folder belongs to the agent's user.
pub(crate) fn write(layout: &Layout, args: &UpArgs, port: u16, libvirt_uri: &str) -> Result<()> {
    let conf = vdsm_conf(layout, args, port, libvirt_uri);
    let qemu = layout.config_home().join("libvirt/qemu.conf");
    for (path, text) in [(layout.conf(), conf), (qemu, qemu_conf(layout))] {
        persist::write_atomic(&path, text.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use config::{Accelerator, Config, LockMode, Source};

    use super::*;
    use crate::cli::{Cli, Command, Dev, DevCommand};

    #[test]
    fn agents_have_display_ports_of_their_own() {
        let all = [
            "/tmp/a",
            "/tmp/b",
            "/tmp/vdsm-demo.aaaaaa",
            "/tmp/vdsm-demo.aaaaab",
        ];
        let firsts: std::collections::BTreeSet<u16> = all
            .iter()
            .map(|dir| display_ports(Path::new(dir)))
            .collect();
        assert_eq!(firsts.len(), all.len());
        assert!(
            firsts
                .iter()
                .all(|first| (6000..32_768 - DISPLAY_PORTS).contains(first))
        );
        assert!(
            qemu_conf(&Layout::new(Path::new("/tmp/a")).unwrap())
                .lines()
                .count()
                == 4
        );
    }

    #[test]
    fn the_agent_reads_what_is_written() {
        let line = [
            "vdsm-tool",
            "dev",
            "up",
            "--dir",
            "/tmp/d",
            "--plain",
            "--accelerator",
            "tcg",
        ];
        let Command::Dev(Dev {
            command: DevCommand::Up(args),
        }) = Cli::parse_from(line).command
        else {
            panic!("not dev up");
        };
        let layout = Layout::new(Path::new("/tmp/d")).unwrap();
        let uri = "qemu:///session?socket=/tmp/d/run/libvirt/libvirt-sock";
        let text = vdsm_conf(&layout, &args, 50_001, uri);
        let loaded = Config::load(&[Source::new("vdsm.conf", text)]).unwrap();
        assert_eq!(loaded.warnings, []);
        let config = loaded.config;
        assert!(!config.vars.ssl && !config.supervdsm.enable);
        assert_eq!(config.vars.libvirt_uri, uri);
        assert_eq!(config.vars.accelerator, Accelerator::Tcg);
        assert_eq!(config.addresses.management_port, 50_001);
        assert!(config.addresses.management_ip.is_loopback());
        assert_eq!(config.sanlock.mode, LockMode::Local);
        assert_eq!(config.irs.repository, Path::new("/tmp/d/rhev"));
    }
}
