//! What a panic leaves in the log: where it was, on which thread, and its text only if that is a constant of the
//! program. A text that was composed may hold what no log may show: a parameter, a secret.

use std::panic::PanicHookInfo;

/// From now on panics are told in the log, and nowhere else.
pub(crate) fn tell_in_the_log() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(place, thread, text = text(info), "panic");
    }));
}

fn text<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    shown(info.payload().downcast_ref::<&'static str>().copied())
}

fn shown(constant: Option<&'static str>) -> &'static str {
    constant.unwrap_or("(not shown: it may hold parameters)")
}
