//! Messages of shaping, byte for byte as iproute2's `tc` 6.1 sends them for upstream's command lines, and read back.

use net_model::VlanId;
use netlink::core::Emitable as _;
use proptest::prelude::*;

use super::*;

fn device() -> Device {
    Device {
        index: 7,
        root: ROOT_HANDLE,
    }
}

fn vlan(id: i64) -> QosClass {
    QosClass(Some(VlanId::new(id).expect("an id")))
}

/// The message without `struct nlmsghdr`.
fn bytes(message: &TcMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn curve_of(m2: u64) -> Curve {
    Curve {
        m2,
        ..Curve::default()
    }
}

#[test]
#[cfg(target_endian = "little")]
fn filters_are_those_of_tc() {
    let basic = bytes(&device().filter(vlan(18)));
    let expected = b"\x44\x00\x02\x00\x38\x00\x02\x00\x08\x00\x01\x00\x01\x00\x00\x00\x2c\x00\x02\x00\x28\x00\x01\x00\
        \x00\x00\x04\x00\x00\x00\x00\x00\x0c\x00\x01\x00\x2e\x10\x00\x00\x00\x10\x00\x00\x08\x00\x02\x00\
        \x00\x00\x00\x00\x08\x00\x03\x00\x12\x00\x00\x00\x08\x00\x01\x00\x12\x00\x89\x13";
    assert!(basic.ends_with(expected), "{basic:02x?}");
    assert_eq!(basic.len(), 116 - 16);
    assert_eq!(device().filter(vlan(18)).header.info, 1_180_416);
    let any = bytes(&device().filter(QosClass(None)));
    let expected = b"\x30\x00\x02\x00\x08\x00\x01\x00\x88\x13\x00\x00\x24\x00\x05\x00\x01\x00\x01\x00\x00\x00\x00\x00\
        \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    assert!(any.ends_with(expected), "{any:02x?}");
    assert_eq!(device().filter(QosClass(None)).header.info, 327_680_768);
}

#[test]
#[cfg(target_endian = "little")]
fn classes_are_those_of_tc() {
    let qos = HostQos {
        ls: Some(curve_of(1000)),
        ul: Some(curve_of(800)),
        rt: None,
    };
    let expected = b"\x10\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\xe8\x03\x00\x00\
        \x10\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x64\x00\x00\x00";
    assert_eq!(curves(&qos), expected);
    assert_eq!(u32::from(handle(ROOT_HANDLE, 18)), 327_745_554);
}

/// As the kernel hands it back: the options nested, then read.
fn back(class: QosClass, qos: &HostQos) -> Option<(QosClass, HostQos)> {
    let object = device().object(handle(ROOT_HANDLE, 0), handle(ROOT_HANDLE, class.minor()));
    let mut message = object.message(HFSC, None);
    let options = DefaultNla::new(OPTIONS, curves(qos));
    message
        .attributes
        .push(TcAttribute::Options(vec![TcOption::Other(options)]));
    read_class(&message, ROOT_HANDLE)
}

proptest! {
    #[test]
    fn what_is_asked_for_is_read_back(
        id in prop::option::of(1_i64..4095),
        slopes in prop::array::uniform3(prop::option::of((0_u64..1 << 28, 0_u64..1 << 20, 1_u64..1 << 28))),
    ) {
        let rate = |it: Option<(u64, u64, u64)>| it.map(|(m1, d, m2)| Curve { m1: m1 * 8, d, m2: m2 * 8 });
        let [ls, ul, rt] = slopes;
        let ls = ls.map(|(m1, d, m2)| Curve { m1, d, m2 });
        let qos = HostQos { ls, ul: rate(ul), rt: rate(rt) };
        let class = id.map_or(QosClass(None), vlan);
        prop_assert_eq!(back(class, &qos), Some((class, qos)));
    }

    #[test]
    fn any_options_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let object = device().object(TcHandle::UNSPEC, handle(ROOT_HANDLE, 18));
        let mut message = object.message(HFSC, None);
        let options = DefaultNla::new(OPTIONS, bytes);
        message.attributes.push(TcAttribute::Options(vec![TcOption::Other(options)]));
        prop_assert!(read_class(&message, ROOT_HANDLE).is_some());
    }
}
