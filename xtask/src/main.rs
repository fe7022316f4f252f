//! Checks of the architecture: what must be absent stays absent.
//!
//! `cargo run -p xtask -- check` reads `cargo metadata` and the sources and tells every breach of
//! `ARCHITECTURE.md`, section "Absences". `-- graph` prints the dependency graph of the workspace;
//! `check` compares it with `xtask/graph.txt`, `check --bless` rewrites that file.
//!
//! [`workspace`] knows the crates and who depends on whom, [`sources`] reads the files,
//! [`absences`] holds the rules as data.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command that people run and read")]

mod absences;
mod sources;
mod workspace;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Checks of the architecture")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check all absences and the dependency graph.
    Check {
        /// Rewrite xtask/graph.txt instead of comparing with it.
        #[arg(long)]
        bless: bool,
    },
    /// Print the dependency graph of the workspace.
    Graph,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let workspace = workspace::Workspace::load()?;
    match arguments.verb {
        Verb::Graph => {
            print!("{}", workspace.graph());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Check { bless } => check(&workspace, bless),
    }
}

fn check(workspace: &workspace::Workspace, bless: bool) -> Result<ExitCode> {
    let files = sources::load(workspace)?;
    let mut breaches = absences::check(workspace, &files);
    breaches.extend(check_graph(workspace, bless)?);
    for breach in &breaches {
        println!("{breach}");
    }
    println!(
        "xtask: {} crates, {} files, {} rules, {} breaches",
        workspace.crates.len(),
        files.len(),
        absences::RULES,
        breaches.len()
    );
    Ok(if breaches.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check_graph(workspace: &workspace::Workspace, bless: bool) -> Result<Vec<String>> {
    let path = workspace.root.join("xtask/graph.txt");
    let graph = workspace.graph();
    if bless {
        fs::write(&path, &graph).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let golden = read_or_empty(&path);
    Ok(if golden == graph {
        Vec::new()
    } else {
        vec![
            "xtask/graph.txt: the dependency graph has changed; look at `cargo run -p xtask -- graph`, \
             and if it is meant: `cargo run -p xtask -- check --bless`"
                .to_owned(),
        ]
    })
}

fn read_or_empty(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
