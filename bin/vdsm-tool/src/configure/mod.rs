//! `vdsm-tool configure`, `is-configured`, `validate-config`, `remove-config`: what other programs of the host must be
//! told so that the agent can work with them.
//!
//! Each module looks at what is there and answers a plan (`plan.rs`), which is shown (`--dry-run`) or applied. A
//! module whose program is not installed is skipped; asked for by name, that is an error. Everything can be asked for
//! again and again: what is done already is left alone.
//!
//! Look next: `accounts.rs`, `certificates.rs`, `libvirt.rs`, `storage.rs`, `lvm_devices.rs`, `selinux.rs` (the modules), `lines.rs` (files
//! that others own), `plan.rs` (changes, originals).

mod accounts;
mod certificates;
mod libvirt;
mod lines;
mod lvm_devices;
mod plan;
mod selinux;
mod storage;

#[cfg(test)]
mod tests;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use config::{Config, Source};
use exec::Command;

use self::plan::{Change, World};
use crate::{
    cli::{ConfigureArgs, LvmFilterArgs, RemoveArgs, StateArgs, Target},
    output,
};

/// What can be configured, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Module {
    /// Memberships of users in groups
    Accounts,
    /// Self-signed certificates, until Engine brings its own
    Certificates,
    /// libvirt and its QEMU driver
    Libvirt,
    /// The lease manager
    Sanlock,
    /// Paths to block storage
    Multipath,
    /// Volume groups
    Lvm,
    /// Which devices LVM may look at: those of the host's own volume groups
    LvmDevices,
    /// Booleans of SELinux
    Sebool,
}

impl Module {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Why there is nothing to configure.
    fn absent(self, world: &World) -> Result<Option<String>> {
        match self {
            Self::Accounts => accounts::absent(world),
            Self::Certificates => certificates::absent(world),
            Self::Libvirt => Ok(libvirt::absent(world)),
            Self::Sanlock => Ok(storage::sanlock_absent(world)),
            Self::Multipath => Ok(storage::multipath_absent(world)),
            Self::Lvm => Ok(storage::lvm_absent(world)),
            Self::LvmDevices => Ok(lvm_devices::absent(world)),
            Self::Sebool => Ok(selinux::absent(world)),
        }
    }

    fn plan(self, world: &World) -> Result<Vec<Change>> {
        match self {
            Self::Accounts => accounts::plan(world),
            Self::Certificates => certificates::plan(world),
            Self::Libvirt => libvirt::plan(world),
            Self::Sanlock => storage::sanlock(world),
            Self::Multipath => storage::multipath(world),
            Self::Lvm => storage::lvm(world),
            Self::LvmDevices => lvm_devices::plan(world),
            Self::Sebool => Ok(selinux::plan(world)),
        }
    }

    /// The way back. Memberships, certificates and booleans stay: others may have come to need them.
    fn undo(self, world: &World) -> Result<Vec<Change>> {
        match self {
            Self::Accounts | Self::Certificates | Self::Sebool => Ok(Vec::new()),
            Self::Libvirt => libvirt::undo(world),
            Self::Sanlock => storage::undo_sanlock(world),
            Self::Multipath => storage::undo_multipath(world),
            Self::Lvm => storage::undo_lvm(world),
            Self::LvmDevices => lvm_devices::undo(world),
        }
    }

    /// How running programs learn of a change: words for systemctl.
    fn tell(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Libvirt => ("restart", &libvirt::UNITS),
            Self::Sanlock => ("restart", &["sanlock.service"]),
            Self::Multipath | Self::LvmDevices => ("reload", &["multipathd.service"]),
            Self::Accounts => ("restart", &["vdsmd.service"]),
            Self::Certificates | Self::Lvm | Self::Sebool => ("", &[]),
        }
    }
}

/// The modules asked for, or all.
fn chosen(asked: &[Module]) -> Vec<Module> {
    let all = Module::value_variants().iter().copied();
    all.filter(|module| asked.is_empty() || asked.contains(module))
        .collect()
}

/// `configure`.
pub(crate) fn configure(args: &ConfigureArgs) -> Result<()> {
    let world = World::new(&args.target.root);
    let voice = Voice(args.target.quiet);
    let mut failed = Vec::new();
    for module in chosen(&args.target.module) {
        let named = !args.target.module.is_empty();
        if let Some(why) = module.absent(&world)? {
            // The package asks for modules by name and does not mind: --quiet.
            if named && !args.target.quiet {
                bail!("{}: {why}", module.name());
            }
            voice.say(&format!("{}: {why}: skipped", module.name()));
            continue;
        }
        if let Err(error) = carry_out(&world, module, module.plan(&world), args, voice) {
            failed.push(format!("{}: {error:#}", module.name()));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{}", failed.join("; "))
}

fn carry_out(
    world: &World,
    module: Module,
    plan: Result<Vec<Change>>,
    args: &ConfigureArgs,
    voice: Voice,
) -> Result<()> {
    let plan = plan?;
    let name = module.name();
    if plan.is_empty() {
        voice.say(&format!("{name}: configured already"));
        return Ok(());
    }
    for change in &plan {
        if args.target.dry_run {
            output::line(&format!("{name}: would change\n{}", change.show(world)?));
            continue;
        }
        let what = change.show(world)?;
        change.apply(world)?;
        voice.say(&format!("{name}: changed\n{what}"));
    }
    if !args.target.dry_run {
        tell_units(world, module, args.force, voice);
    }
    Ok(())
}

/// Programs that run learn of it: with `force` now, else their administrator is told to.
fn tell_units(world: &World, module: Module, force: bool, voice: Voice) {
    let (verb, units) = module.tell();
    if !world.is_live() || !world.has("/run/systemd/system") {
        return;
    }
    for unit in units {
        let is_active = Command::new("systemctl").args(["--quiet", "is-active", unit]);
        if !is_active.run().is_ok_and(|ended| ended.exit.success()) {
            continue;
        }
        if !force {
            voice.say(&format!(
                "{}: takes effect after: systemctl {verb} {unit}",
                module.name()
            ));
            continue;
        }
        let done = Command::new("systemctl").args([verb, unit]).run();
        match done.and_then(exec::Output::check) {
            Ok(_) => voice.say(&format!("{}: {verb}ed {unit}", module.name())),
            Err(error) => output::problem(&format!("systemctl {verb} {unit}: {error}")),
        }
    }
}

/// `remove-config`.
pub(crate) fn remove(args: &RemoveArgs) -> Result<()> {
    let target = &args.target;
    let world = World::new(&target.root);
    let voice = Voice(target.quiet);
    for module in chosen(&target.module) {
        for change in module.undo(&world).with_context(|| module.name())? {
            let what = change.show(&world)?;
            if target.dry_run {
                output::line(&format!("{}: would change\n{what}", module.name()));
                continue;
            }
            change.apply(&world).with_context(|| module.name())?;
            if let Change::File { path, .. } = change {
                plan::forget_original(&world, path)?;
            }
            voice.say(&format!("{}: changed\n{what}", module.name()));
        }
    }
    Ok(())
}

/// `is-configured`: an error that names the modules which are not.
pub(crate) fn is_configured(args: &StateArgs) -> Result<()> {
    let world = World::new(&args.root);
    let mut open = Vec::new();
    for module in chosen(&args.module) {
        let name = module.name();
        if let Some(why) = module.absent(&world)? {
            output::line(&format!("{name}: {why}: nothing to configure"));
        } else if module.plan(&world)?.is_empty() {
            output::line(&format!("{name}: configured"));
        } else {
            output::line(&format!("{name}: not configured"));
            open.push(name);
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    bail!(
        "not configured: {} (vdsm-tool configure does it; --dry-run shows what)",
        open.join(", ")
    )
}

/// Upstream's exit code of `config-lvm-filter` where something has to change and nobody said yes.
const NEEDS_CONFIG: u8 = 4;

/// `config-lvm-filter`.
pub(crate) fn lvm_filter(args: &LvmFilterArgs) -> Result<ExitCode> {
    let target = Target {
        module: vec![Module::LvmDevices],
        dry_run: !args.assume_yes,
        quiet: false,
        root: "/".into(),
    };
    let force = false;
    configure(&ConfigureArgs { target, force })?;
    let open = || Module::LvmDevices.plan(&World::new(Path::new("/")));
    if args.assume_yes || open()?.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    output::line("nothing was changed: --assume-yes does it");
    Ok(ExitCode::from(NEEDS_CONFIG))
}

/// `validate-config`: the agent's own configuration, and whether it fits what is there.
pub(crate) fn validate(args: &StateArgs) -> Result<()> {
    let world = World::new(&args.root);
    let loaded = Config::load(&sources(&world)?)?;
    for warning in &loaded.warnings {
        output::line(&warning.to_string());
    }
    let vars = &loaded.config.vars;
    if vars.ssl {
        for file in ["certs/vdsmcert.pem", "keys/vdsmkey.pem", "certs/cacert.pem"] {
            let path = vars.trust_store_path.join(file);
            if !world.has(&path.to_string_lossy()) {
                bail!("[vars] ssl is on, and {} is not there", path.display());
            }
        }
    }
    output::line("the configuration can be used");
    Ok(())
}

/// The agent's configuration, of the host beneath a folder.
pub(crate) fn configuration(root: &Path) -> Result<Config> {
    let loaded = Config::load(&sources(&World::new(root))?);
    Ok(loaded.context("the agent's configuration is wrong")?.config)
}

/// All files that the agent reads.
fn sources(world: &World) -> Result<Vec<Source>> {
    let mut dropins = Vec::new();
    for folder in config::DROPIN_DIRS {
        let Ok(entries) = std::fs::read_dir(world.at(folder)) else {
            continue;
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let names = names.filter(|name| Path::new(name).extension().is_some_and(|it| it == "conf"));
        dropins.extend(names.map(|name| Path::new(folder).join(name)));
    }
    config::dropin_order(&mut dropins);
    let mut paths = vec![Path::new(config::DEFAULT_FILE).to_owned()];
    paths.extend(dropins);
    let mut sources = Vec::new();
    for path in paths {
        let name = path.to_string_lossy().into_owned();
        if let Some(text) = world.read(&name)? {
            sources.push(Source::new(name, text));
        }
    }
    Ok(sources)
}

/// Tells what happens, or does not.
#[derive(Clone, Copy)]
struct Voice(bool);

impl Voice {
    fn say(self, text: &str) {
        if !self.0 {
            output::line(text);
        }
    }
}
