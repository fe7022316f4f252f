//! `vdsm-lab`: lab hosts by hand, and layers for tests.
//!
//! The hosts of `up` stay until `down`: their QEMUs are recorded in `standing/` of the lab's folder. Where to look
//! next: the library.
#![forbid(unsafe_code)]

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use hosts::{Image, Layer, Shape, Standing};

/// Lab hosts: throw-away machines with a full kernel and systemd.
#[derive(Debug, Parser)]
#[command(name = "vdsm-lab", version)]
struct Args {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts hosts that stay, on one private network (data0: 10.77.0.1, 10.77.0.2), with two shared disks
    Up {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
        hosts: u8,
        /// Memory of each, in MiB
        #[arg(long, default_value_t = 2048)]
        memory: u32,
        /// From this layer (such as `installed`), not from the image
        #[arg(long)]
        layer: Option<String>,
        /// Boot, instead of starting from memory
        #[arg(long)]
        cold: bool,
    },
    /// Ends the hosts that stay
    Down,
    /// Takes away what killed runs of tests left
    Clear,
    /// Runs a command line on a host that stays; its exit code is this program's
    Run {
        /// The host's number
        host: u8,
        /// The command line; several words are joined by blanks
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
        /// How long it may take, in seconds
        #[arg(long, default_value_t = 600)]
        timeout: u64,
    },
    /// Copies a file into a host that stays
    Put {
        /// The host's number
        host: u8,
        /// The file here
        from: PathBuf,
        /// Its path there
        to: String,
    },
    /// Prints the ssh command that reaches a host that stays
    Ssh {
        /// The host's number
        host: u8,
    },
    /// Makes a layer: what a script, run among these files, makes of a pristine host. Prints its name, for LAB_LAYER
    Layer {
        /// Its name
        name: String,
        /// The script: bash, as root
        #[arg(long)]
        script: PathBuf,
        /// A file to have beside it
        #[arg(long = "file")]
        files: Vec<PathBuf>,
        /// Make the snapshots of host 1 to this now, too
        #[arg(long, default_value_t = 1)]
        hosts: u8,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "vdsm-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Up {
            hosts,
            memory,
            layer,
            cold,
        } => {
            let shape = Shape {
                memory_mib: memory,
                ..Shape::default()
            };
            up(hosts, shape, layer.as_deref(), cold)?;
        }
        Verb::Down => say(&format!("{} host(s) ended", Standing::end_all()?)),
        Verb::Clear => hosts::clear(),
        Verb::Run {
            host,
            command,
            timeout,
        } => return command_on(host, &command.join(" "), Duration::from_secs(timeout)),
        Verb::Put { host, from, to } => Standing::find(host)?.put(&from, &to)?,
        Verb::Ssh { host } => say(&Standing::find(host)?.ssh_line()),
        Verb::Layer {
            name,
            script,
            files,
            hosts,
        } => {
            let script = std::fs::read_to_string(&script)
                .with_context(|| format!("cannot read {}", script.display()))?;
            let layer = Layer::make(&Image::current()?, &name, &files, &script)?;
            prepare(&layer, hosts)?;
            say(&layer.name());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Side by side: a host that boots by software emulation hardly keeps one processor busy.
fn prepare(layer: &Layer, hosts: u8) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let makers: Vec<_> = (1..=hosts)
            .map(|number| scope.spawn(move || layer.prepare(number, Shape::default())))
            .collect();
        makers.into_iter().try_for_each(|maker| {
            let made = maker.join();
            made.map_err(|_| anyhow::anyhow!("a thread that made a snapshot panicked"))??;
            Ok(())
        })
    })
}

fn up(hosts: u8, shape: Shape, layer: Option<&str>, cold: bool) -> anyhow::Result<()> {
    let image = Image::current()?;
    let layer = match layer {
        Some(name) => Layer::named(&image, name)?,
        None => Layer::pristine(&image),
    };
    let started = std::time::Instant::now();
    for host in Standing::start(hosts, shape, &layer, cold)? {
        say(&format!("{} is ready: {}", host.name(), host.ssh_line()));
    }
    say(&format!(
        "ready after {:.1} s. make lab-run CMD='...' (HOST=2 for the other), make lab-stop",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn command_on(host: u8, command: &str, timeout: Duration) -> anyhow::Result<ExitCode> {
    let output = Standing::find(host)?.run(command, timeout)?;
    let _ = std::io::stdout().write_all(output.stdout.as_bytes());
    let _ = std::io::stderr().write_all(output.stderr.as_bytes());
    Ok(ExitCode::from(u8::try_from(output.code).unwrap_or(255)))
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
