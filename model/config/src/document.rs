//! The documented default file, and text of files that tools write.

use std::fmt::Write as _;

use crate::options::SectionDoc;

const WIDTH: usize = 90;

pub(crate) fn documented(table: &[SectionDoc]) -> String {
    let mut out = String::from(
        "# Configuration of the agent: every option with its default.\n\
         # Put own values here, or into a file of vdsm.conf.d; a % within a value is written %%.\n",
    );
    for section in table {
        let _ = write!(out, "\n[{}]\n", section.name);
        comment(&mut out, section.doc);
        for option in &section.options {
            out.push('\n');
            comment(&mut out, &option.doc);
            comment(&mut out, &format!("Must be {}.", option.allowed));
            let _ = writeln!(out, "# {} = {}", option.name, option.default);
        }
    }
    out
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

/// Text of a file with the given sections and options, values escaped so that [`crate::Config::load`] reads
/// them back as given. A line break within a value becomes a space.
pub fn ini_text(sections: &[(&str, &[(&str, &str)])]) -> String {
    let mut out = String::new();
    for (section, options) in sections {
        let _ = writeln!(out, "[{section}]");
        for (option, value) in *options {
            let value = value.replace('%', "%%").replace(['\n', '\r'], " ");
            let _ = writeln!(out, "{option} = {value}");
        }
        out.push('\n');
    }
    out
}
