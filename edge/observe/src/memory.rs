//! Huge pages.

use std::collections::BTreeMap;

use host_model::{HugePages, PageCount};

use crate::files::Reader;

/// Where the kernel keeps them.
pub(crate) const HUGEPAGES: &str = "/sys/kernel/mm/hugepages";

/// Size in KiB of a folder `hugepages-2048kB`.
fn size_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
    number.parse().ok()
}

/// All sizes and counts of the host.
pub(crate) fn huge_pages(reader: &mut Reader<'_>) -> BTreeMap<u64, HugePages> {
    let mut out = BTreeMap::new();
    for name in reader.names(HUGEPAGES) {
        let Some(size) = size_of(&name) else { continue };
        let mut count = |what: &str| {
            reader
                .number(&format!("{HUGEPAGES}/{name}/{what}"))
                .unwrap_or(0)
        };
        let pages = HugePages {
            free: count("free_hugepages"),
            total: count("nr_hugepages"),
            mempolicy: count("nr_hugepages_mempolicy"),
            overcommit: count("nr_overcommit_hugepages"),
            reserved: count("resv_hugepages"),
            surplus: count("surplus_hugepages"),
        };
        out.insert(size, pages);
    }
    out
}

/// Sizes and counts of a folder of huge pages, of the host or of a node.
pub(crate) fn page_counts(reader: &mut Reader<'_>, dir: &str) -> BTreeMap<u64, PageCount> {
    let mut out = BTreeMap::new();
    for name in reader.names(dir) {
        let Some(size) = size_of(&name) else { continue };
        let mut count = |what: &str| reader.number(&format!("{dir}/{name}/{what}")).unwrap_or(0);
        let total = count("nr_hugepages");
        let free = count("free_hugepages");
        out.insert(size, PageCount { total, free });
    }
    out
}

/// The chosen word of `always [madvise] never`.
pub(crate) fn thp(text: &str) -> Result<String, String> {
    let (_, rest) = text.split_once('[').ok_or("no [choice]")?;
    let (word, _) = rest.split_once(']').ok_or("no [choice]")?;
    match word {
        "always" | "madvise" | "never" => Ok(word.to_owned()),
        _ => Err(format!("unknown choice {word:?}")),
    }
}
