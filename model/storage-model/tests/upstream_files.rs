//! Files that VDSM's own code wrote must be read, and ours must be byte for byte the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use sha1::{Digest, Sha1};
use storage_model::{
    Allocation, DomainClass, DomainMetadata, DomainRole, DomainStatus, DomainType, FormatError,
    LeaseParams, Legality, NewDomain, PartialVolumeMetadata, VolumeFormat, VolumeMetadata,
    VolumeRole, domain_metadata::keys, xlease,
};
use uuid::{Uuid, uuid};

const DOMAIN: Uuid = uuid!("bc1145b0-f543-4063-a483-3f4d5fda26ca");
const OTHER: Uuid = uuid!("0b2d7b4e-3b1b-4a2e-8f3b-8a7f0c6f1d22");
const POOL: Uuid = uuid!("a9ab3cac-7ac5-4d93-aa78-8e4ea38350a8");
const IMAGE: Uuid = uuid!("1a67915b-80df-4dd8-9c14-875067706e2f");

const UNATTACHED: &[u8] = include_bytes!("corpus/domain-v5-local-unattached");
const MASTER: &[u8] = include_bytes!("corpus/domain-v5-local-master");
const UNICODE: &[u8] = include_bytes!("corpus/domain-v5-unicode-name");
const V4: &[u8] = include_bytes!("corpus/domain-v4-nfs");
const VOLUMES: [(&str, &[u8], u32); 5] = [
    ("raw", include_bytes!("corpus/volume-v5-raw.meta"), 5),
    (
        "child",
        include_bytes!("corpus/volume-v5-cow-child.meta"),
        5,
    ),
    ("v4", include_bytes!("corpus/volume-v4.meta"), 4),
    (
        "longest",
        include_bytes!("corpus/volume-v5-longest.meta"),
        5,
    ),
    (
        "unicode",
        include_bytes!("corpus/volume-v5-unicode.meta"),
        5,
    ),
];

fn local1() -> NewDomain {
    NewDomain {
        id: DOMAIN,
        domain_type: DomainType::LocalFs,
        class: DomainClass::Data,
        name: "local1".to_owned(),
        version: 5,
        remote_path: "/srv/storage/dom1".to_owned(),
        block_size: 512,
        alignment: 1 << 20,
    }
}

#[test]
fn a_new_domain_is_written_as_upstream_writes_it() {
    let ours = DomainMetadata::new(&local1()).unwrap().to_bytes();
    assert_eq!(
        String::from_utf8_lossy(&ours),
        String::from_utf8_lossy(UNATTACHED)
    );
    let unicode = NewDomain {
        name: "dépôt ☃ 🦀=x".to_owned(),
        ..local1()
    };
    assert_eq!(DomainMetadata::new(&unicode).unwrap().to_bytes(), UNICODE);
    let v4 = NewDomain {
        version: 4,
        domain_type: DomainType::Nfs,
        name: "nfs1".to_owned(),
        ..local1()
    };
    assert_eq!(DomainMetadata::new(&v4).unwrap().to_bytes(), V4);
}

#[test]
fn a_master_is_read_and_written_back() {
    let md = DomainMetadata::parse(MASTER).unwrap();
    assert!(md.sealed());
    assert_eq!((md.id(), md.version()), (Ok(DOMAIN), Ok(5)));
    assert_eq!(md.domain_type(), Ok(DomainType::LocalFs));
    assert_eq!(
        (md.role(), md.class()),
        (Ok(DomainRole::Master), Ok(DomainClass::Data))
    );
    assert_eq!(md.pools(), Ok(vec![POOL]));
    assert_eq!(
        md.pool_domains(),
        Ok(vec![
            (DOMAIN, DomainStatus::Active),
            (OTHER, DomainStatus::Attached)
        ])
    );
    assert_eq!((md.spm(), md.master_version()), (Ok((1, 3)), Ok(1)));
    assert_eq!((md.block_size(), md.alignment()), (Ok(512), Ok(1 << 20)));
    assert_eq!(
        (md.description(), md.pool_description()),
        ("local1", "pool")
    );
    assert_eq!(md.lease_params(), LeaseParams::default());
    assert_eq!(md.to_bytes(), MASTER);
    let v4 = DomainMetadata::parse(V4).unwrap();
    assert_eq!(
        (v4.block_size(), v4.alignment(), v4.version()),
        (Ok(512), Ok(1 << 20), Ok(4))
    );
    assert_eq!(
        DomainMetadata::parse(UNICODE).unwrap().description(),
        "dépôt ☃ 🦀=x"
    );
}

#[test]
fn changing_one_key_keeps_the_others() {
    let mut md = DomainMetadata::parse(MASTER).unwrap();
    md.set("SOMETHING_NEWER", "kept").unwrap();
    md.set_spm(-1, None);
    let again = DomainMetadata::parse(&md.to_bytes()).unwrap();
    assert_eq!(again.get("SOMETHING_NEWER"), Some("kept"));
    assert_eq!(again.spm(), Ok((-1, 3)));
    assert_eq!(again.get(keys::REMOTE_PATH), Some("/srv/storage/dom1"));
}

#[test]
fn damage_is_named() {
    let text = String::from_utf8(MASTER.to_vec()).unwrap();
    let changed = text.replace("VERSION=5", "VERSION=4");
    assert!(matches!(
        DomainMetadata::parse(changed.as_bytes()),
        Err(FormatError::BrokenSeal { .. })
    ));
    for end in 0..MASTER.len() - 1 {
        let cut = DomainMetadata::parse(&MASTER[..end]);
        let sound = cut.as_ref().is_ok_and(|md| md.version().is_ok());
        assert!(
            !sound || end >= text.find("_SHA").unwrap() - 1,
            "cut at {end}: {cut:?}"
        );
    }
    assert_eq!(
        DomainMetadata::parse(b""),
        Err(FormatError::Empty {
            what: "metadata of a storage domain"
        })
    );
    assert!(matches!(
        DomainMetadata::parse(&[0xff, 0xfe]),
        Err(FormatError::NotUtf8 { .. })
    ));
    assert!(matches!(
        DomainMetadata::parse(&vec![b'x'; 1 << 17]),
        Err(FormatError::TooLarge { .. })
    ));
    let unknown = DomainMetadata::parse(UNATTACHED).unwrap();
    let newer = String::from_utf8(unknown.to_bytes())
        .unwrap()
        .replace("VERSION=5", "VERSION=6");
    let newer = newer.split("_SHA").next().unwrap().to_owned();
    let md = DomainMetadata::parse(newer.as_bytes()).unwrap();
    assert!(!md.sealed());
    assert_eq!(
        md.version(),
        Err(FormatError::UnknownVersion("6".to_owned()))
    );
    let mut md = unknown;
    assert!(matches!(
        md.set(keys::DESCRIPTION, "two\nlines"),
        Err(FormatError::Unwritable { .. })
    ));
    assert!(md.set(keys::DESCRIPTION, "two\u{2028}lines").is_err());
}

#[test]
fn a_padded_file_is_read() {
    let mut padded = MASTER.to_vec();
    padded.resize(4096, 0);
    assert_eq!(DomainMetadata::parse(&padded).unwrap().id(), Ok(DOMAIN));
}

#[test]
fn volumes_are_read_and_written_back() {
    for (name, data, version) in VOLUMES {
        let md = VolumeMetadata::parse(data).unwrap();
        let ours = md.to_bytes(version).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(data),
            "{name}"
        );
    }
    let md = VolumeMetadata::parse(VOLUMES[0].1).unwrap();
    assert_eq!(
        (md.domain, md.image, md.parent),
        (DOMAIN, IMAGE, Uuid::nil())
    );
    assert_eq!((md.capacity, md.ctime), (67_108_864, 1_795_328_270));
    assert_eq!(
        (md.format, md.allocation),
        (VolumeFormat::Raw, Allocation::Sparse)
    );
    assert_eq!((md.role, md.legality), (VolumeRole::Leaf, Legality::Legal));
    let child = VolumeMetadata::parse(VOLUMES[1].1).unwrap();
    assert_eq!(
        (child.parent, child.generation, child.sequence),
        (OTHER, 7, 3)
    );
    let v4 = VolumeMetadata::parse(VOLUMES[2].1).unwrap();
    assert_eq!((v4.capacity, v4.sequence), (67_108_864, 0));
}

#[test]
fn damaged_volumes_are_named() {
    let parse = |text: &str| VolumeMetadata::parse(text.as_bytes());
    assert_eq!(parse("NONE=xxxx\nEOF\n"), Err(FormatError::Cleared));
    assert!(matches!(parse(""), Err(FormatError::Empty { .. })));
    let raw = std::str::from_utf8(VOLUMES[0].1).unwrap();
    assert_eq!(
        parse(&raw.replace("FORMAT=RAW\n", "")),
        Err(FormatError::MissingKey { key: "FORMAT" })
    );
    let bad = parse(
        &raw.replace("FORMAT=RAW", "FORMAT=VMDK")
            .replace("CAP=", "CAP=-"),
    );
    assert!(
        matches!(bad, Err(FormatError::Invalid(ref all)) if all.len() == 2),
        "{bad:?}"
    );
    let (part, errors) =
        PartialVolumeMetadata::parse(raw.replace("CAP=67108864", "CAP=x").as_bytes());
    assert_eq!(
        (part.capacity, part.image, errors.len()),
        (None, Some(IMAGE), 1)
    );
    let huge = raw.replace("CAP=67108864", "SIZE=36028797018963968");
    assert!(matches!(parse(&huge), Err(FormatError::BadValue { .. })));
    let after_eof = format!("{raw}FORMAT=COW\n");
    assert_eq!(parse(&after_eof).unwrap().format, VolumeFormat::Raw);
}

#[test]
fn a_volume_that_does_not_fit_its_slot_is_refused() {
    let mut md = VolumeMetadata::parse(VOLUMES[3].1).unwrap();
    md.description = "☃".repeat(210);
    assert!(matches!(md.to_bytes(5), Err(FormatError::Overflow { .. })));
    md.description = "a\nCAP=1".to_owned();
    assert!(matches!(
        md.to_bytes(5),
        Err(FormatError::Unwritable { .. })
    ));
}

#[test]
fn the_index_of_leases_is_upstreams() {
    let index = xlease::format_index(DOMAIN, 1_795_328_270);
    let digest = format!("{:x}", Sha1::digest(&index));
    assert_eq!(digest, "29be4addfd30c76f163228c1d78c43fd0c9e960e");
    let used: &[u8] = include_bytes!("corpus/xleases-index-head");
    let leases = xlease::leases(used);
    assert_eq!(leases.len(), 2);
    assert_eq!(
        (leases[0].0, leases[0].1.resource.as_str()),
        (2, OTHER.to_string().as_str())
    );
    assert!(!leases[0].1.updating && leases[1].1.updating);
    let record = leases[0].1.to_bytes(xlease::lease_offset(2, 1 << 20));
    assert_eq!(&record[..], &used[512 + 128..512 + 192]);
}
