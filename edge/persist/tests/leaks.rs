//! A store holds nothing open, and errors leave nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{collections::BTreeMap, fs};

use persist::Store;

#[test]
fn stores_leave_nothing() {
    guard::isolated!(|| {
        let dir = tempfile::tempdir().unwrap();
        let store: Store<BTreeMap<String, u32>> = Store::open(dir.path(), 1).unwrap();
        let record = BTreeMap::from([("a".to_owned(), 1)]);
        store.put("a", &record).unwrap();
        store.put("a/b", &record).unwrap_err();
        fs::create_dir(dir.path().join("folder.json")).unwrap();
        store.put("folder", &record).unwrap_err();
        fs::write(dir.path().join("bad.json"), "{").unwrap();
        store.get("bad").unwrap_err();
        assert_eq!(store.load_all().unwrap().quarantined.len(), 2);
        assert!(store.remove("a").unwrap());
    });
}
