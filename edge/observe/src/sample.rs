//! What a host does: one sample, of which two make rates.

use std::path::PathBuf;

use host_model::Sample;

use crate::{Host, ObserveError, Observed, clock, cpu, facts, files::Reader, memory};
use crate::{mounts, proc};

impl Host {
    /// One sample. `disks` are folders whose free space is wanted: on local file systems, for one that hangs
    /// holds up the call.
    ///
    /// Errors: `/proc/stat` or `/proc/meminfo` are not there or make no sense; without them there is no sample.
    pub fn sample(&self, disks: &[PathBuf]) -> Result<Observed<Sample>, ObserveError> {
        let mut reader = Reader::new(&self.root);
        let monotonic = clock::monotonic();
        let stat = required(&mut reader, "/proc/stat", proc::stat)?;
        let memory = required(&mut reader, "/proc/meminfo", proc::meminfo)?;
        let page_kib = facts::base_page_kib();
        let value = Sample {
            monotonic,
            unix: clock::now_unix_f64(),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            total: stat.total,
            cpus: stat.cpus,
            boot_time: stat.boot_time,
            own: reader
                .parsed("/proc/self/stat", proc::pid_stat)
                .unwrap_or_default(),
            own_rss_kib: reader
                .parsed("/proc/self/statm", proc::statm_resident)
                .unwrap_or(0)
                .saturating_mul(page_kib),
            load: reader.parsed("/proc/loadavg", proc::loadavg),
            memory,
            hugepages: memory::huge_pages(&mut reader),
            numa: cpu::nodes(&mut reader, page_kib),
            thp: reader.parsed("/sys/kernel/mm/transparent_hugepage/enabled", memory::thp),
            disks: disks.iter().map(|path| self.disk(path)).collect(),
        };
        let problems = reader.problems;
        Ok(Observed { value, problems })
    }

    fn disk(&self, path: &std::path::Path) -> (String, Option<u64>) {
        let full = self.root.join(path.strip_prefix("/").unwrap_or(path));
        let free = mounts::space_free(&full).ok();
        (path.to_string_lossy().into_owned(), free)
    }
}

fn required<T>(
    reader: &mut Reader<'_>,
    path: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ObserveError> {
    if let Some(value) = reader.parsed(path, parse) {
        return Ok(value);
    }
    let missing = ObserveError::Parse {
        path: reader.full(path),
        why: "is not there or cannot be read".to_owned(),
    };
    Err(reader.problems.pop().unwrap_or(missing))
}
