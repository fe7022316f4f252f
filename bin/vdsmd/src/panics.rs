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

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_composed_text_is_not_shown_and_a_constant_is() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let before = std::panic::take_hook();
        tell_in_the_log();
        let secret = "Kn0123456789";
        tracing::subscriber::with_default(subscriber, || {
            let _ = std::panic::catch_unwind(|| panic!("a composed text with {secret}"));
            let _ = std::panic::catch_unwind(|| panic!("a constant text"));
        });
        std::panic::set_hook(before);
        let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(!told.contains(secret), "{told}");
        assert!(told.contains("a constant text"), "{told}");
        assert!(told.contains("panics.rs:"), "{told}");
    }
}
