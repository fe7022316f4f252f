//! How far something is that is waited for: a bar on a terminal, else a line for each change.

use std::{io::Write, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::clean;

/// How often the spinner of a bar turns.
const TURN: Duration = Duration::from_millis(120);

/// What is known of it just now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// `running`, `cleaning`, ...
    pub(crate) state: String,
    /// The agent's words.
    pub(crate) message: String,
    /// Percent done, where the agent tells it.
    pub(crate) percent: Option<f64>,
}

/// Where reports go.
pub(crate) enum Progress<'a> {
    /// A terminal; the bar is made with the first report.
    Terminal(Option<ProgressBar>),
    /// Anything else: lines, without repetitions.
    Lines {
        /// Where they go.
        out: &'a mut dyn Write,
        /// The last.
        last: String,
    },
}

impl<'a> Progress<'a> {
    /// Nothing is shown before the first report.
    pub(crate) fn new(terminal: bool, out: &'a mut dyn Write) -> Self {
        if terminal {
            Self::Terminal(None)
        } else {
            Self::Lines {
                out,
                last: String::new(),
            }
        }
    }

    /// Shows a report. What cannot be shown is no reason to fail.
    pub(crate) fn show(&mut self, what: &str, report: &Report) {
        match self {
            Self::Terminal(bar) => {
                let bar = bar.get_or_insert_with(new_bar);
                bar.set_style(style(report.percent.is_some()));
                bar.set_message(text(what, report));
                bar.set_position(whole(report.percent.unwrap_or_default()));
            }
            Self::Lines { out, last } => {
                let line = match report.percent {
                    Some(percent) => format!("{} {percent:.0}%", text(what, report)),
                    None => text(what, report),
                };
                if line != *last {
                    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
                    *last = line;
                }
            }
        }
    }

    /// Takes the bar away: its place is needed for the outcome.
    pub(crate) fn end(self) {
        if let Self::Terminal(Some(bar)) = self {
            bar.finish_and_clear();
        }
    }
}

#[expect(clippy::cast_sign_loss, reason = "clamped to 0..=100")]
fn whole(percent: f64) -> u64 {
    percent.clamp(0.0, 100.0) as u64
}

fn text(what: &str, report: &Report) -> String {
    let text = if report.message.is_empty() {
        format!("{what}: {}", report.state)
    } else {
        format!("{what}: {}: {}", report.state, report.message)
    };
    clean(&text).replace('\n', " ")
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new(100);
    bar.enable_steady_tick(TURN);
    bar
}

fn style(known: bool) -> ProgressStyle {
    let template = if known {
        "{spinner} [{bar:30}] {pos:>3}% {elapsed} {wide_msg}"
    } else {
        "{spinner} {elapsed} {wide_msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
