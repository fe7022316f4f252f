//! What tests of networks have in common: a host whose agent waits long enough for emulated hosts, and scripts in the words
//! of `lab/tests/agent.sh` and `lab/tests/network.sh`.

use std::time::Duration;

use hosts::{Host, Lab, Network, Result};

/// Emulated hosts are slow, and busy ones slower: deadlines are for what hangs.
pub const LONG: Duration = Duration::from_mins(10);

/// Emulated hosts have no watchdog for sanlock, either.
const CONFIG: &str =
    "[rpc]\nhandshake_timeout = 300\n[sanlock]\nmode = local\n[supervdsm]\nrequest_timeout = 120\n";

/// Host 1 with the product, an interface in each of these networks (`data0`, `data1`, ...), and the words.
pub fn agent(lab: &Lab, networks: &[&Network]) -> Result<Host> {
    let mut builder = lab.host(1).layer(&lab.installed()?);
    for network in networks {
        builder = builder.nic(network);
    }
    let host = builder.start()?;
    host.write("/etc/vdsm/vdsm.conf.d/90-lab.conf", 0o644, CONFIG)?;
    put_words(&host)?;
    Ok(host)
}

/// Gives a host the words that [`script`] and [`until`] speak.
pub fn put_words(host: &Host) -> Result<()> {
    host.write("/root/agent.sh", 0o644, include_str!("../agent.sh"))?;
    host.write("/root/network.sh", 0o644, include_str!("../network.sh"))
}

fn words(text: &str) -> String {
    format!(". /root/agent.sh; . /root/network.sh; {text}")
}

/// Runs a script in the words of both files, for at most [`LONG`]: what it printed.
pub fn script(host: &Host, text: &str) -> Result<String> {
    host.check_for(&words(text), LONG)
}

/// Waits, for at most [`LONG`], until a script in these words succeeds; `what` is for the message.
pub fn until(host: &Host, what: &str, text: &str) -> Result<()> {
    host.wait_until(what, &words(text), LONG)
}
