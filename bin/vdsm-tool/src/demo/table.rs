//! Statistics of the guest as a table, one row a sample.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Columns: title and width.
const COLUMNS: [(&str, usize); 9] = [
    ("time", 6),
    ("status", 12),
    ("cpuUser %", 9),
    ("cpuSys %", 8),
    ("mem %", 5),
    ("writeOps", 8),
    ("written", 10),
    ("writeRate", 11),
    ("the guest says", 40),
];

/// One answer of `VM.getStats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// `status`.
    pub(crate) status: String,
    /// `disks.vda.writeOps`.
    pub(crate) write_ops: u64,
    cells: [String; 6],
}

impl Sample {
    /// Reads the answer. Errors: it is not the one VM's statistics, or its disk is not in it.
    pub(crate) fn of(answer: &Value) -> Result<Self> {
        let vm = answer.get(0).context("VM.getStats answered no list")?;
        let disk = vm
            .pointer("/disks/vda")
            .context("VM.getStats tells nothing of the disk vda")?;
        let write_ops = text(disk.get("writeOps"));
        let write_ops: u64 = write_ops
            .parse()
            .with_context(|| format!("writeOps: {write_ops:?}"))?;
        let written = number(disk.get("writtenBytes")).unwrap_or_default();
        let rate = number(disk.get("writeRate")).unwrap_or_default();
        let status: String = text(vm.get("status"));
        let cells = [
            text(vm.get("cpuUser")),
            text(vm.get("cpuSys")),
            text(vm.get("memUsage")),
            write_ops.to_string(),
            format!("{:.1} MiB", written / MIB),
            format!("{:.1} MiB/s", rate / MIB),
        ];
        Ok(Self {
            status,
            write_ops,
            cells,
        })
    }

    /// The row.
    pub(crate) fn row(&self, at: Duration, guest: &str) -> String {
        let mut cells = vec![format!("{:.1} s", at.as_secs_f64()), self.status.clone()];
        cells.extend(self.cells.iter().cloned());
        cells.push(guest.to_owned());
        line(cells.iter().map(String::as_str))
    }
}

const MIB: f64 = 1_048_576.0;

/// The head of the table.
pub(crate) fn head() -> [String; 2] {
    let titles = line(COLUMNS.iter().map(|(title, _)| *title));
    let rule: Vec<String> = COLUMNS
        .iter()
        .map(|(_, width)| "-".repeat(*width))
        .collect();
    [titles, line(rule.iter().map(String::as_str))]
}

fn line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let padded = cells
        .zip(COLUMNS)
        .map(|(cell, (_, width))| format!("{cell:<width$}"));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// A number, or a number in a string.
fn number(value: Option<&Value>) -> Option<f64> {
    let value = value?;
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// A scalar without quotes; a dash for what is not there.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sample_becomes_a_row_beneath_its_head() {
        let answer = json!([{ "status": "Up", "cpuUser": "12.50", "cpuSys": "1.00", "memUsage": "0",
            "disks": { "vda": { "writeOps": "42", "writtenBytes": "1048576", "writeRate": "524288.0" } } }]);
        let sample = Sample::of(&answer).unwrap();
        assert_eq!(sample.write_ops, 42);
        let row = sample.row(Duration::from_millis(1500), "tick");
        let [titles, _] = head();
        for (title, cell) in [
            ("status", "Up"),
            ("writeOps", "42"),
            ("written", "1.0 MiB"),
            ("writeRate", "0.5 MiB/s"),
        ] {
            assert_eq!(
                titles.find(&format!("{title} ")),
                row.find(cell),
                "{title}\n{titles}\n{row}"
            );
        }
    }

    #[test]
    fn an_answer_without_the_disk_is_an_error() {
        assert!(Sample::of(&json!([])).is_err());
        assert!(Sample::of(&json!([{ "status": "Up" }])).is_err());
        assert!(Sample::of(&json!({ "status": "Up" })).is_err());
    }
}
