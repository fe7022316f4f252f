//! The demo: the agent end to end, driven only through its port by the program `vdsm-client`.
//!
//! States: private agent up, storage up, guest up, guest gone, storage gone, summary. Everything lies beneath
//! one temporary folder; whatever happens on the way (an error, Ctrl-C, a panic), [`Home`] ends what was
//! started there and removes it.
//!
//! Look next: `flow.rs` (the verbs in their order), `guest.rs` (those about the VM), `call.rs` (one verb), `console.rs` (the guest's serial
//! console), `table.rs` (statistics), `picture.rs` (the screenshot), `view.rs` (how it looks).

mod call;
mod console;
mod flow;
mod guest;
mod home;
mod picture;
mod table;
mod view;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{
    cli::{DemoArgs, Format, UpArgs},
    dev::{self, ClientLine},
    interrupt,
};
use call::Caller;
use flow::Demo;
use home::Home;

/// `vdsm-tool demo`.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let started = Instant::now();
    let cancel = interrupt::token()?;
    let image = std::fs::metadata(&args.guest_image)
        .with_context(|| format!("no guest image {}", args.guest_image.display()))?;
    let home = Home::make(args.keep)?;
    view::headline(&home, args, image.len());
    view::part("A private agent");
    let agent = dev::start(&up_args(&home, args), &cancel, &mut view::said)?;
    view::agent(&agent);
    let caller = Caller::new(ClientLine::of(&agent)?, &home, &cancel);
    let mut demo = Demo::new(caller, &home, args, &cancel);
    let outcome = demo.play();
    let summary = demo.summary();
    if outcome.is_err() && !cancel.is_cancelled() {
        view::logs(&agent.log);
    }
    view::part("The way out");
    let ended = home.end()?;
    if cancel.is_cancelled() {
        bail!("interrupted; all that was started is ended");
    }
    outcome?;
    if ended.others > 0 || ended.guests > 0 {
        bail!("processes were left behind and had to be ended: {ended}");
    }
    view::ended(&ended, args.keep);
    view::summary(&summary, started.elapsed());
    Ok(())
}

fn up_args(home: &Home, args: &DemoArgs) -> UpArgs {
    UpArgs {
        dir: home.dir().to_owned(),
        port: 0,
        plain: false,
        accelerator: args.accelerator,
        libvirt_uri: None,
        user: None,
        vdsmd: None,
        timeout: std::time::Duration::from_mins(1),
        output: Format::Text,
    }
}
