//! The man page: the command line's own, and a section with all verbs.

use std::fmt::Write as _;

use clap_mangen::Man;

use crate::{
    cli::{self, Detail},
    failure::Failure,
    help,
};

/// The page, as roff.
pub(crate) fn page() -> Result<String, Failure> {
    let man = Man::new(cli::command(Detail::Help))
        .section("1")
        .manual("VDSM");
    let mut bytes = Vec::new();
    man.render(&mut bytes)?;
    let mut page = String::from_utf8_lossy(&bytes).into_owned();
    page.push_str(&verbs());
    page.push_str(EXAMPLES);
    Ok(page)
}

fn verbs() -> String {
    let mut text = ".SH VERBS\n".to_owned();
    for verb in schema::verbs() {
        let params: Vec<_> = verb
            .params
            .fields
            .iter()
            .map(|field| {
                if field.required() {
                    format!("{}=...", field.name)
                } else {
                    format!("[{}=...]", field.name)
                }
            })
            .collect();
        let usage = format!("{} {} {}", verb.namespace, verb.name, params.join(" "));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            ".TP\n\\fB{}\\fR\n{}\n",
            escaped(usage.trim()),
            escaped(&help::about(verb))
        );
    }
    text
}

const EXAMPLES: &str = r#".SH EXAMPLES
.nf
vdsm\-client Host getVMList
vdsm\-client VM getStats vmID=b3f6fa00\-b315\-4ad4\-8108\-f73da817b5c5 \-o table
echo '{"vmList": []}' | vdsm\-client \-f \- Host getVMFullList
vdsm\-client \-\-wait=600 Task getStatus taskID=b3f6fa00\-b315\-4ad4\-8108\-f73da817b5c5
vdsm\-client \-\-events \-\-prefix '|virt|VM_status|' \-\-count 1
vdsm\-client VM setTicket vmID=... password=@ticket.txt ttl=120 existingConnAction=keep
printf 'Host ping2\enHost getVMList\en' | vdsm\-client \-\-batch
.fi
.SH SEE ALSO
.BR vdsmd (8)
"#;

/// Text as roff: no line may begin as a request does.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    let lines = text.lines().map(|line| {
        if line.starts_with(['.', '\'']) {
            format!("\\&{line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
