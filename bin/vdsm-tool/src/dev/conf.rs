//! The configuration files of a private agent.

use std::path::PathBuf;

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

/// `qemu.conf` of the private libvirt: QEMU's own output goes to files, so that no virtlogd is needed.
const QEMU_CONF: &str = "stdio_handler = \"file\"\nvnc_listen = \"127.0.0.1\"\n";

/// Writes both. Whole or not at all, and never through a link: one folder belongs to the agent's user.
pub(crate) fn write(layout: &Layout, args: &UpArgs, port: u16, libvirt_uri: &str) -> Result<()> {
    let conf = vdsm_conf(layout, args, port, libvirt_uri);
    let qemu = layout.config_home().join("libvirt/qemu.conf");
    for (path, text) in [(layout.conf(), conf.as_str()), (qemu, QEMU_CONF)] {
        persist::write_atomic(&path, text.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;
    use config::{Accelerator, Config, LockMode, Source};

    use super::*;
    use crate::cli::{Cli, Command, Dev, DevCommand};

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
