//! Parsers meet anything: no panic, and what they accept survives writing and reading.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use proptest::prelude::*;
use storage_model::{
    Allocation, DomainMetadata, DomainStatus, FormatError, Legality, PartialVolumeMetadata,
    VolumeFormat, VolumeMetadata, VolumeRole, layout, xlease,
};
use uuid::Uuid;

const MASTER: &[u8] = include_bytes!("corpus/domain-v5-local-master");
const VOLUME: &[u8] = include_bytes!("corpus/volume-v5-raw.meta");

fn use_all(md: &DomainMetadata) {
    let _ = (
        md.version(),
        md.id(),
        md.domain_type(),
        md.class(),
        md.role(),
        md.pools(),
    );
    let _ = (
        md.block_size(),
        md.alignment(),
        md.pool_domains(),
        md.master_version(),
        md.spm(),
    );
    let _ = (md.lease_params(), md.description(), md.pool_description());
}

fn volume() -> impl Strategy<Value = VolumeMetadata> {
    let ids = (any::<u128>(), any::<u128>(), any::<u128>());
    let words = (0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize);
    let text = "[a-zA-Z0-9 =:{}\"ä☃]{0,30}";
    (
        ids,
        words,
        any::<u64>(),
        any::<i64>(),
        0..1000_u64,
        any::<u32>(),
        text,
    )
        .prop_map(
            |(ids, words, capacity, ctime, generation, sequence, text)| VolumeMetadata {
                domain: Uuid::from_u128(ids.0),
                image: Uuid::from_u128(ids.1),
                parent: Uuid::from_u128(ids.2),
                capacity,
                format: [VolumeFormat::Raw, VolumeFormat::Cow, VolumeFormat::Unknown][words.0],
                allocation: [
                    Allocation::Sparse,
                    Allocation::Preallocated,
                    Allocation::Unknown,
                ][words.1],
                role: [VolumeRole::Leaf, VolumeRole::Internal, VolumeRole::Shared][words.2],
                legality: [Legality::Legal, Legality::Illegal, Legality::Fake][words.3],
                disk_type: "DATA".to_owned(),
                description: text.trim().to_owned(),
                ctime,
                generation,
                sequence: u64::from(sequence),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(md) = DomainMetadata::parse(&data) { use_all(&md); }
        let _ = PartialVolumeMetadata::parse(&data);
        let _ = layout::PendingPool::parse(&data);
        let _ = (xlease::IndexMetadata::parse(&data), xlease::leases(&data));
    }

    #[test]
    fn a_real_file_with_bytes_changed(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        for original in [MASTER, VOLUME] {
            let mut data = original.to_vec();
            for (at, byte) in &changes {
                let at = at.index(data.len());
                data[at] = *byte;
            }
            data.truncate(cut.index(data.len()));
            if let Ok(md) = DomainMetadata::parse(&data) { use_all(&md); }
            let _ = PartialVolumeMetadata::parse(&data);
        }
    }

    #[test]
    fn lines_of_any_text(text in "\\PC{0,400}", key in "[A-Z_]{1,20}", value in "\\PC{0,60}") {
        let _ = DomainMetadata::parse(text.as_bytes());
        let mut md = DomainMetadata::parse(MASTER).unwrap();
        if md.set(&key, &value).is_ok() {
            let again = DomainMetadata::parse(&md.to_bytes()).unwrap();
            prop_assert_eq!(again.get(&key), Some(value.as_str()));
        }
    }

    #[test]
    fn volumes_come_back(md in volume()) {
        match md.to_bytes(5) {
            Ok(data) => prop_assert_eq!(VolumeMetadata::parse(&data), Ok(md)),
            Err(error) => prop_assert!(matches!(error, FormatError::Overflow { .. }), "{error}"),
        }
    }

    #[test]
    fn pool_domains_come_back(ids in proptest::collection::btree_map(any::<u128>(), any::<bool>(), 0..20)) {
        let domains: Vec<_> = ids.into_iter().map(|(id, active)| {
            (Uuid::from_u128(id), if active { DomainStatus::Active } else { DomainStatus::Attached })
        }).collect();
        let mut md = DomainMetadata::parse(MASTER).unwrap();
        md.set_pool_domains(&domains);
        let again = DomainMetadata::parse(&md.to_bytes()).unwrap();
        prop_assert_eq!(again.pool_domains(), Ok(domains));
    }

    #[test]
    fn paths_stay_absolute(path in "[/._a-z]{0,40}") {
        if let Some(clean) = layout::normalize(&path) {
            prop_assert!(clean.starts_with('/') && !clean.contains("//"));
            prop_assert!(!clean.split('/').any(|p| p == ".." || p == "."));
            prop_assert!(!layout::escape_path(&clean).contains('/'));
        }
    }
}
