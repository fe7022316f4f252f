//! The absences of `ARCHITECTURE.md`, each as a rule over crates or sources.
//!
//! A rule answers one line a breach: where, what, and why it must not be.

use crate::{sources::Source, workspace::Workspace};

/// How many rules there are.
pub(crate) const RULES: usize = DEPENDENCY_RULES.len() + TEXT_RULES.len() + FILE_RULES.len();

type Breaches = Vec<String>;

const DEPENDENCY_RULES: &[fn(&Workspace) -> Breaches] = &[
    model_is_pure,
    domains_know_only_models,
    schema_stays_at_the_wire,
    one_crate_a_c_library,
    root_helper_is_fenced,
];

/// Text that may stand in shipped code of few places only.
struct TextRule {
    /// What is looked for.
    needles: &'static [&'static str],
    /// May this file hold it?
    allowed: fn(&Source) -> bool,
    /// Why not elsewhere.
    why: &'static str,
}

const TEXT_RULES: &[TextRule] = &[
    TextRule {
        needles: &[
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "std::time::Instant",
            "std::env",
            "Instant::now",
            "async fn",
            ".await",
        ],
        allowed: |source| source.layer != "model",
        why: "crates in model/ do no I/O, read no clock, are not async",
    },
    TextRule {
        needles: &["process::Command"],
        allowed: |source| matches!(source.krate.as_str(), "exec" | "xtask"),
        why: "only exec starts programs",
    },
    TextRule {
        needles: &["\"sudo\"", "\"/bin/sh\"", "\"sh\"", "\"bash\""],
        allowed: |source| source.krate == "xtask",
        why: "nothing calls sudo, nothing goes through a shell",
    },
    TextRule {
        needles: &[
            "SystemTime::now",
            "Timestamp::now",
            "Zoned::now",
            "OffsetDateTime::now",
        ],
        allowed: |source| {
            source.path.ends_with("edge/observe/src/clock.rs") || source.krate == "xtask"
        },
        why: "only observe::clock reads the wall clock",
    },
    TextRule {
        needles: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
        allowed: |source| may_be_unsafe(&source.krate) || source.krate == "xtask",
        why: "unsafe lives in libvirt, stats, storage-io and exec only",
    },
    TextRule {
        needles: &["serde_json::Value", "RawValue"],
        allowed: |source| !matches!(source.layer.as_str(), "domain"),
        why: "past a handler there is no JSON of the wire",
    },
];

const FILE_RULES: &[fn(&Source) -> Option<String>] =
    &[opens_with_purpose, is_not_too_long, forbids_unsafe];

/// All breaches of all rules.
pub(crate) fn check(workspace: &Workspace, sources: &[Source]) -> Breaches {
    let mut breaches: Breaches = DEPENDENCY_RULES
        .iter()
        .flat_map(|rule| rule(workspace))
        .collect();
    for source in sources {
        breaches.extend(TEXT_RULES.iter().flat_map(|rule| rule.check(source)));
        breaches.extend(FILE_RULES.iter().filter_map(|rule| rule(source)));
    }
    breaches
}

impl TextRule {
    fn check(&self, source: &Source) -> Breaches {
        if (self.allowed)(source) {
            return Vec::new();
        }
        source
            .shipped()
            .filter_map(|(number, line)| {
                let needle = self.needles.iter().find(|needle| line.contains(**needle))?;
                Some(format!(
                    "{}:{number}: {needle}: {}",
                    source.path.display(),
                    self.why
                ))
            })
            .collect()
    }
}

fn may_be_unsafe(krate: &str) -> bool {
    matches!(krate, "libvirt" | "stats" | "storage-io" | "exec")
}

fn model_is_pure(workspace: &Workspace) -> Breaches {
    const IMPURE: &[&str] = &[
        "tokio", "rustix", "libc", "tracing", "tempfile", "virt-sys", "exec",
    ];
    forbid(
        workspace,
        |it| it.layer == "model",
        |name| IMPURE.contains(&name),
        "model/ is pure",
    )
}

fn domains_know_only_models(workspace: &Workspace) -> Breaches {
    forbid(
        workspace,
        |it| it.layer == "domain",
        |name| {
            let wire = matches!(name, "serde_json" | "schema" | "tokio");
            wire || workspace
                .crates
                .get(name)
                .is_some_and(|it| it.layer != "model")
        },
        "domains know models and ports only, never each other, the wire or the edges",
    )
}

fn schema_stays_at_the_wire(workspace: &Workspace) -> Breaches {
    forbid(
        workspace,
        |it| !matches!(it.layer.as_str(), "bin" | "xtask" | "lab") && it.name != "rpc",
        |name| name == "schema",
        "only rpc and bin/* know the API's wire types",
    )
}

fn one_crate_a_c_library(workspace: &Workspace) -> Breaches {
    let mut breaches = forbid(
        workspace,
        |it| it.name != "libvirt",
        |name| name.starts_with("virt"),
        "only libvirt links libvirt",
    );
    breaches.extend(forbid(
        workspace,
        |it| it.name != "storage-io",
        |name| name == "libloading",
        "only storage-io loads libsanlock",
    ));
    breaches
}

fn root_helper_is_fenced(workspace: &Workspace) -> Breaches {
    let fences: &[(&str, &[&str])] = &[
        ("vdsmd", &["net-apply", "block-apply"]),
        ("supervdsmd", &["libvirt", "rpc", "schema", "virt-sys"]),
    ];
    fences
        .iter()
        .flat_map(|(from, never)| {
            let reach = workspace.reach(from);
            never
                .iter()
                .filter(move |name| reach.contains(**name))
                .map(move |name| {
                    format!("{from} reaches {name}: a fence between privileges is broken")
                })
        })
        .collect()
}

fn forbid(
    workspace: &Workspace,
    who: impl Fn(&crate::workspace::Crate) -> bool,
    what: impl Fn(&str) -> bool,
    why: &str,
) -> Breaches {
    let mut breaches = Vec::new();
    for it in workspace.crates.values().filter(|it| who(it)) {
        for dependency in it.dependencies.iter().filter(|name| what(name)) {
            breaches.push(format!(
                "{}/Cargo.toml: {dependency}: {why}",
                it.folder.display()
            ));
        }
    }
    breaches
}

fn opens_with_purpose(source: &Source) -> Option<String> {
    (!source.text.starts_with("//!")).then(|| {
        format!(
            "{}:1: does not open with //! (what it owns)",
            source.path.display()
        )
    })
}

fn is_not_too_long(source: &Source) -> Option<String> {
    const MOST: usize = 800;
    let lines = source.shipped().count();
    (lines > MOST).then(|| {
        format!(
            "{}: {lines} lines of code, at most {MOST}",
            source.path.display()
        )
    })
}

fn forbids_unsafe(source: &Source) -> Option<String> {
    let root = source.path.ends_with("src/lib.rs") || source.path.ends_with("src/main.rs");
    (root && !may_be_unsafe(&source.krate) && !source.text.contains("#![forbid(unsafe_code)]"))
        .then(|| format!("{}: lacks #![forbid(unsafe_code)]", source.path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn source(krate: &str, layer: &str, path: &str, text: &str) -> Source {
        Source {
            path: PathBuf::from(path),
            krate: krate.to_owned(),
            layer: layer.to_owned(),
            test: false,
            text: text.to_owned(),
        }
    }

    fn breaches(source: &Source) -> Vec<String> {
        let texts = TEXT_RULES.iter().flat_map(|rule| rule.check(source));
        texts
            .chain(FILE_RULES.iter().filter_map(|rule| rule(source)))
            .collect()
    }

    #[test]
    fn each_text_rule_finds_its_seed() {
        for (krate, layer, line) in [
            ("vm-model", "model", "use std::fs;"),
            ("vm", "domain", "use std::process::Command;"),
            ("vm", "domain", "exec.run(\"sudo\")"),
            ("rpc", "edge", "SystemTime::now()"),
            ("rpc", "edge", "unsafe { x() }"),
            ("vm", "domain", "fn f(v: serde_json::Value)"),
        ] {
            let seeded = source(krate, layer, "x/src/y.rs", &format!("//! x\n{line}\n"));
            assert_eq!(breaches(&seeded).len(), 1, "{line}");
        }
    }

    #[test]
    fn clean_code_and_tests_pass() {
        let text = "//! x\n// std::fs in a comment\nfn f() {}\n#[cfg(test)]\nmod tests {\n use std::fs;\n}\n";
        assert_eq!(
            breaches(&source("vm-model", "model", "x/src/y.rs", text)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn file_rules_find_their_seeds() {
        assert_eq!(
            breaches(&source("vm", "domain", "x/src/y.rs", "fn f() {}\n")).len(),
            1
        );
        assert_eq!(
            breaches(&source("vm", "domain", "x/src/lib.rs", "//! x\n")).len(),
            1
        );
        let long = format!("//! x\n{}", "fn f() {}\n".repeat(801));
        assert_eq!(
            breaches(&source("vm", "domain", "x/src/y.rs", &long)).len(),
            1
        );
    }
}
