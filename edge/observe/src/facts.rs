//! What a host is: all facts for its capabilities, read anew at each call.

use std::path::Path;

use host_model::Facts;

use crate::{Host, Observed, cpu, files::Reader, firmware, memory, mounts};
use crate::{os, packages, parts, proc};

impl Host {
    /// All facts. Takes a few milliseconds of reading /proc and /sys.
    pub fn facts(&self) -> Observed<Facts> {
        let mut reader = Reader::new(&self.root);
        let mut cpu = reader
            .text("/proc/cpuinfo")
            .map(|text| proc::cpuinfo(&text))
            .unwrap_or_default();
        cpu.mhz = cpu.mhz.or_else(|| cpu::max_mhz(&mut reader));
        let numa = cpu::nodes(&mut reader, base_page_kib());
        let kernel = os::kernel(&mut reader);
        let value = Facts {
            cpus: cpu::cpus(&mut reader, &numa),
            cpu,
            numa,
            numa_balancing: reader.number("/proc/sys/kernel/numa_balancing"),
            memory: reader
                .parsed("/proc/meminfo", proc::meminfo)
                .unwrap_or_default(),
            hugepages: memory::huge_pages(&mut reader),
            os: os::os(&mut reader),
            packages: packages::packages(self, &reader),
            dmi: firmware::dmi(&mut reader),
            vdsm_id: reader
                .text("/etc/vdsm/vdsm.id")
                .and_then(|text| text.lines().next().map(|line| line.trim().to_owned()))
                .filter(|id| !id.is_empty()),
            vulnerabilities: firmware::vulnerabilities(&mut reader),
            selinux: reader.number("/sys/fs/selinux/enforce"),
            fips: firmware::fips(&mut reader),
            kdump: firmware::kdump(&mut reader),
            nested: firmware::nested(&mut reader),
            iommu: firmware::iommu(&mut reader, &kernel.machine),
            rng_sources: rng_sources(&reader),
            iscsi_initiator: reader
                .text("/etc/iscsi/initiatorname.iscsi")
                .and_then(|text| os::initiator(&text)),
            fc_hosts: firmware::fc_hosts(&mut reader),
            boot_uuid: mounts::boot_uuid(&mut reader),
            vnc_tls: reader
                .text("/etc/libvirt/qemu.conf")
                .map(|text| os::vnc_tls(&text)),
            affinity: self.affinity(),
            parts: parts::parts(&mut reader),
            kernel,
        };
        let problems = reader.problems;
        Observed { value, problems }
    }

    fn affinity(&self) -> Vec<u32> {
        if !self.is_live() {
            return Vec::new();
        }
        let set = rustix::thread::sched_getaffinity(None);
        set.map_or_else(
            |_| Vec::new(),
            |set| {
                let most = rustix::thread::CpuSet::MAX_CPU;
                let cpus = (0..most).filter(|cpu| set.is_set(*cpu));
                cpus.filter_map(|cpu| u32::try_from(cpu).ok()).collect()
            },
        )
    }
}

/// KiB of a page of memory.
pub(crate) fn base_page_kib() -> u64 {
    rustix::param::page_size() as u64 / 1024
}

fn rng_sources(reader: &Reader<'_>) -> Vec<String> {
    ["random", "hwrng"]
        .into_iter()
        .filter(|name| reader.exists(&Path::new("/dev").join(name).to_string_lossy()))
        .map(str::to_owned)
        .collect()
}
