//! `vdsm-tool config`: the documented default `vdsm.conf`, and what is wrong with a file.
//!
//! Names, defaults and meanings are those of the crate `config`; nothing of the machine's own files is read.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use config::{Config, Source};

use crate::{
    cli::{Config as ConfigArgs, ConfigCommand},
    output,
};

/// Runs a subcommand.
pub(crate) fn run(args: &ConfigArgs) -> Result<()> {
    match &args.command {
        ConfigCommand::Default => {
            output::line(Config::to_ini_documented().trim_end());
            Ok(())
        }
        ConfigCommand::Check(check) => {
            for line in checked(&check.file)? {
                output::line(&line);
            }
            output::line("the configuration can be used");
            Ok(())
        }
    }
}

/// Reads one file alone, as `vdsmd --config` does; answers what is set in it and has no effect.
fn checked(file: &Path) -> Result<Vec<String>> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let loaded = Config::load(&[Source::new(name, text)])?;
    Ok(loaded.warnings.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vdsm.conf");
        fs::write(&file, text).unwrap();
        checked(&file)
    }

    #[test]
    fn the_default_file_has_no_faults() {
        let found = check(&Config::to_ini_documented()).unwrap();
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn what_has_no_effect_is_told_and_what_is_wrong_fails() {
        let found = check("[vars]\nno_such = 1\n").unwrap();
        assert!(found[0].ends_with("vdsm.conf:2: there is no option no_such in [vars]"));
        let error = check("[addresses]\nmanagement_port = many\n").unwrap_err();
        assert!(error.to_string().contains("management_port"), "{error}");
        let missing = checked(Path::new("/nonexistent/vdsm.conf")).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read"), "{missing}");
    }
}
