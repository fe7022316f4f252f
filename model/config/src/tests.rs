//! Tests of the whole: files in, options, warnings and errors out.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use proptest::prelude::*;
use rstest::rstest;

use crate::{
    Accelerator, Config, ConfigError, LockMode, MAX_FILE_BYTES, OwnerNames, Source, WarningKind,
    dropin_order, ini_text, options, upstream,
};

fn load(text: &str) -> Result<crate::Loaded, crate::ConfigErrors> {
    Config::load(&[Source::new("a.conf", text)])
}

fn one_error(text: &str) -> ConfigError {
    let mut errors = load(text).expect_err(text).0;
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

#[test]
fn defaults_are_upstreams() {
    let config = Config::default();
    assert!(config.vars.ssl);
    assert_eq!(config.addresses.management_port, 54321);
    assert_eq!(config.addresses.management_ip.to_string(), "::");
    assert_eq!(
        config.vars.host_sample_stats_interval,
        Duration::from_secs(15)
    );
    assert_eq!(config.irs.repository, PathBuf::from("/rhev/data-center"));
    assert_eq!(config.sanlock.mode, LockMode::Sanlock);
    assert_eq!(config.vars.accelerator, Accelerator::Auto);
    assert_eq!(
        config.addresses.request_queues,
        ["jms.topic.vdsm_requests", "jms.topic.vdsm_irs_requests"]
    );
}

#[test]
fn later_files_win_option_by_option() {
    let files = [
        Source::new(
            "main",
            "[vars]\nssl = false\nhost_mem_reserve=100\n[irs]\nrepository: /a\n",
        ),
        Source::new("50-x", "[irs]\nRepository = /b\n"),
    ];
    let config = Config::load(&files).expect("valid").config;
    assert!(!config.vars.ssl);
    assert_eq!(config.vars.host_mem_reserve, 100);
    assert_eq!(config.irs.repository, PathBuf::from("/b"));
}

#[rstest]
#[case("ssl", "TRUE", true)]
#[case("ssl", "On", true)]
#[case("ssl", "1", true)]
#[case("ssl", "no", false)]
#[case("ssl", "0", false)]
fn booleans_as_python_reads_them(
    #[case] option: &str,
    #[case] value: &str,
    #[case] expected: bool,
) {
    let config = load(&format!("[vars]\n{option}={value}")).expect("valid");
    assert_eq!(config.config.vars.ssl, expected);
}

#[rstest]
#[case("[addresses]\nmanagement_port = 70000", "management_port", "70000")]
#[case("[addresses]\nmanagement_port = -1", "management_port", "-1")]
#[case("[addresses]\nmanagement_ip = localhost", "management_ip", "localhost")]
#[case("[vars]\nssl = maybe", "ssl", "maybe")]
#[case("[vars]\nssl =", "ssl", "")]
#[case("[vars]\nssl = true # yes", "ssl", "true # yes")]
#[case("[vars]\naccelerator = xen", "accelerator", "xen")]
#[case("[vars]\nrun_dir = run/vdsm", "run_dir", "run/vdsm")]
#[case(
    "[vars]\nhost_sample_stats_interval = 0",
    "host_sample_stats_interval",
    "0"
)]
#[case("[sanlock]\nmode = auto", "mode", "auto")]
#[case("[supervdsm]\nowner_qemu = qemu", "owner_qemu", "qemu")]
#[case("[supervdsm]\nowner_qemu = qemu:../x", "owner_qemu", "qemu:../x")]
#[case("[supervdsm]\nallowed_roots = /a,b", "allowed_roots", "/a,b")]
#[case(
    "[rpc]\nmax_frame_bytes = 99999999999999999999",
    "max_frame_bytes",
    "99999999999999999999"
)]
fn a_bad_value_names_place_and_what_is_allowed(
    #[case] text: &str,
    #[case] name: &str,
    #[case] bad: &str,
) {
    let error = one_error(text);
    let shown = error.to_string();
    let ConfigError::BadValue {
        place,
        option,
        value,
        allowed,
        ..
    } = error
    else {
        panic!("{shown}");
    };
    assert_eq!(
        (place.as_str(), option.as_str(), value.as_str()),
        ("a.conf:2", name, bad)
    );
    assert!(!allowed.is_empty());
    assert!(shown.contains("a.conf:2") && shown.contains(name) && shown.contains(&allowed));
}

#[rstest]
#[case("ssl = true", 1, "before the first")]
#[case("[vars\nssl=true", 1, "not a section")]
#[case("[]\n", 1, "not a section")]
#[case("[vars]\nssl", 2, "not `option = value`")]
#[case("[vars]\n= true", 2, "not `option = value`")]
#[case("[vars]\nssl=true\nSSL=false", 3, "already, in line 2")]
#[case("[vars]\n[irs]\n[vars]\n", 3, "already, in line 1")]
fn bad_syntax_names_file_and_line(#[case] text: &str, #[case] at: usize, #[case] part: &str) {
    let errors = load(text).expect_err(text).0;
    let ConfigError::Syntax { file, line, why } = &errors[0] else {
        panic!("{errors:?}");
    };
    assert_eq!((file.as_str(), *line), ("a.conf", at));
    assert!(why.contains(part), "{why}");
}

#[test]
fn all_errors_are_told_at_once() {
    let errors = load("[vars]\nssl=x\naccelerator=y\n[irs]\nrepository=z\n").expect_err("bad");
    assert_eq!(errors.0.len(), 3);
    assert_eq!(errors.to_string().matches("; ").count(), 2);
}

#[rstest]
#[case("[vars]\nsssl=1", "vars", "sssl", 2, WarningKind::UnknownOption)]
#[case("[nowhere]\na=1", "nowhere", "", 1, WarningKind::UnknownSection)]
#[case(
    "[vars]\n\nmigration_downtime=1",
    "vars",
    "migration_downtime",
    3,
    WarningKind::NotReadYet
)]
#[case("[gluster]\nfoo=1", "gluster", "foo", 2, WarningKind::UnknownOption)]
fn what_has_no_effect_is_told(
    #[case] text: &str,
    #[case] section: &str,
    #[case] option: &str,
    #[case] line: usize,
    #[case] kind: WarningKind,
) {
    let warnings = load(text).expect("valid").warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let w = &warnings[0];
    assert_eq!(
        (w.section.as_str(), w.option.as_str(), w.line, w.kind),
        (section, option, line, kind)
    );
    assert!(w.to_string().starts_with(&format!("a.conf:{line}: ")));
}

#[test]
fn values_may_go_over_lines_with_comments_between() {
    let text = "[addresses]\nrequest_queues = a,\n   b\n # not c\n\n   d\n\n[vars]\nssl=no\n";
    let config = load(text).expect("valid").config;
    assert_eq!(config.addresses.request_queues, ["a", "b", "d"]);
    assert!(!config.vars.ssl);
}

#[test]
fn references_are_resolved_over_files_and_defaults() {
    let files = [
        Source::new(
            "a",
            "[DEFAULT]\nbase = /data\n[vars]\nstate_dir = %(base)s/state\n",
        ),
        Source::new(
            "b",
            "[vars]\nlog_file = %(run_dir)s/100%%.log\n[irs]\nrepository=%(BASE)s/dc",
        ),
    ];
    let loaded = Config::load(&files).expect("valid");
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.vars.state_dir, PathBuf::from("/data/state"));
    assert_eq!(
        loaded.config.vars.log_file,
        Some(PathBuf::from("/run/vdsm/100%.log"))
    );
    assert_eq!(loaded.config.irs.repository, PathBuf::from("/data/dc"));
}

#[rstest]
#[case("[vars]\nlog_file = /a%b", "followed by")]
#[case("[vars]\nlog_file = /a%", "followed by")]
#[case("[vars]\nlog_file = /%(nothing)s", "not set")]
#[case("[vars]\nlog_file = %(log_file)s", "deep")]
#[case("[vars]\nlog_file = %(state_dir", "followed by")]
fn bad_references_are_errors(#[case] text: &str, #[case] part: &str) {
    let error = one_error(text);
    assert!(
        matches!(&error, ConfigError::Interpolation { place, .. } if place == "a.conf:2"),
        "{error}"
    );
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn references_do_not_blow_up() {
    let mut text = String::from("[vars]\n");
    for level in 0..9 {
        let value = format!("%(x{})s", level + 1).repeat(50);
        let _ = writeln!(text, "x{level} = {value}");
    }
    let _ = writeln!(text, "x9 = {}\nlog_file = %(x0)s", "y".repeat(1000));
    let errors = load(&text).expect_err("too long").0;
    assert!(errors[0].to_string().contains("grows beyond"), "{errors:?}");
}

#[test]
fn a_huge_file_is_refused() {
    let error = one_error(&" ".repeat(MAX_FILE_BYTES + 1));
    assert!(matches!(error, ConfigError::TooLarge { .. }));
}

#[test]
fn the_documented_file_holds_every_option_and_its_defaults_load() {
    let documented = Config::to_ini_documented();
    assert_eq!(
        load(&documented).expect("comments only").config,
        Config::default()
    );
    let table = options::table();
    let mut active = String::new();
    for line in documented.lines() {
        let option = line.strip_prefix("# ").and_then(|l| l.split_once(" = "));
        let known = |name: &str| {
            table
                .iter()
                .any(|s| s.options.iter().any(|o| o.name == name))
        };
        match option {
            Some((name, _)) if known(name) => active.push_str(&line[2..]),
            _ => active.push_str(line),
        }
        active.push('\n');
    }
    let loaded = load(&active).expect("the defaults written out are valid");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
    for section in &table {
        assert!(active.contains(&format!("\n[{}]\n", section.name)));
        for option in &section.options {
            assert!(
                active.contains(&format!("\n{} = ", option.name)),
                "{}",
                option.name
            );
        }
    }
}

/// Ours are marked so, and nothing else has a name that upstream lacks.
#[test]
fn options_are_upstreams_or_marked_ours() {
    for section in options::table() {
        for option in &section.options {
            let ours =
                section.doc.trim().starts_with("Ours.") || option.doc.trim().starts_with("Ours.");
            assert_ne!(
                ours,
                upstream::has_option(section.name, option.name),
                "[{}] {}",
                section.name,
                option.name
            );
        }
    }
}

#[test]
fn dropins_are_read_by_name_whatever_their_folder() {
    let mut paths: Vec<PathBuf> = [
        "/usr/lib/b/90-x.conf",
        "/run/b/10-x.conf",
        "/etc/b/90-x.conf",
        "/etc/b/50.conf",
    ]
    .map(PathBuf::from)
    .to_vec();
    dropin_order(&mut paths);
    let expected = [
        "/run/b/10-x.conf",
        "/etc/b/50.conf",
        "/usr/lib/b/90-x.conf",
        "/etc/b/90-x.conf",
    ];
    assert_eq!(paths, expected.map(PathBuf::from));
}

#[test]
fn owners_are_user_and_group() {
    let config = load("[supervdsm]\nowner_qemu = libvirt-qemu:107")
        .expect("valid")
        .config;
    let expected = OwnerNames {
        user: "libvirt-qemu".into(),
        group: "107".into(),
    };
    assert_eq!(config.supervdsm.owner_qemu, expected);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,400}") {
        let _ = load(&text);
    }

    #[test]
    fn any_lines_are_read_or_refused(lines in prop::collection::vec("[ \\t]{0,3}([\\[\\]a-z=:%()s#;]{0,12}|ssl=.{0,4}|\\[vars\\])", 0..30)) {
        let _ = load(&lines.join("\n"));
    }

    #[test]
    fn what_tools_write_is_read_back(uri in "[!-~]([ -~]{0,40}[!-~])?") {
        let text = ini_text(&[("vars", &[("libvirt_uri", &uri), ("ssl", "no")])]);
        let loaded = load(&text).expect("valid");
        prop_assert_eq!(loaded.config.vars.libvirt_uri, uri);
        prop_assert!(!loaded.config.vars.ssl);
    }
}
