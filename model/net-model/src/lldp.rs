//! What a neighbour tells by LLDP: what `lldptool get-tlv -n` prints, as upstream reports it.
//!
//! `lldptool` (lldpad) prints an element by a line with its name, and its content on lines that begin with a tab (here four spaces):
//!
//! ```text
//! Chassis ID TLV
//!     MAC: 01:23:45:67:89:ab
//! Time to Live TLV
//!     120
//! ```
//!
//! Elements that upstream does not report are left out, and so are known ones that lack what they must have: a
//! neighbour, who may be anybody on the cable, takes nothing but his own words away. Facts: upstream's
//! `network/lldpad/lldptool.py` (names, numbers, keys of properties), IEEE 802.1AB; what lldptool prints of whole frames is in
//! `tests/lldp`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Elements of one frame that are reported (a frame has at most 1,500 bytes).
const MOST_TLVS: usize = 256;
/// Bytes kept of one value.
const LONGEST_VALUE: usize = 1024;
/// Lines of one element that are looked at.
const MOST_LINES: usize = 64;

const IEEE_8021: u32 = 0x00_80c2;
const IEEE_8023: u32 = 0x00_120f;
const ORGANISATION: u8 = 127;

/// One element that a neighbour told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tlv {
    /// Its type, 0 to 127.
    pub kind: u8,
    /// Type 127: the organisation's number.
    pub oui: Option<u32>,
    /// Type 127: its number within the organisation.
    pub subtype: Option<u8>,
    /// Upstream's name of it.
    pub name: String,
    /// Its content, by upstream's names.
    pub properties: BTreeMap<String, String>,
}

/// How the content of an element is read.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// `Subtype: value`; both, under this name.
    Typed(&'static str),
    /// One line, under this name.
    Line(&'static str),
    /// `Name: value` lines, names in small letters.
    Lines,
    /// Address, numbering of the interface, perhaps an object.
    Management,
    /// `PVID: 2000`.
    PortVlan,
    /// `VID 2000: Name foo`.
    Vlan,
    /// `Aggregation capable`, `Currently not aggregated`, `Aggregated Port ID: 600`.
    Aggregation,
}

struct Known {
    /// What `lldptool` prints, without its last word, " TLV".
    title: &'static str,
    name: &'static str,
    kind: u8,
    organisation: Option<(u32, u8)>,
    shape: Shape,
}

/// One whose name at upstream is what `lldptool` prints.
const fn plain(title: &'static str, kind: u8, shape: Shape) -> Known {
    Known {
        title,
        name: title,
        kind,
        organisation: None,
        shape,
    }
}

const fn special(title: &'static str, organisation: (u32, u8), shape: Shape) -> Known {
    Known {
        organisation: Some(organisation),
        ..plain(title, ORGANISATION, shape)
    }
}

/// lldptool prints both kinds of link aggregation alike; upstream takes it for 802.1's.
const KNOWN: [Known; 12] = [
    plain("Chassis ID", 1, Shape::Typed("chassis ID")),
    plain("Port ID", 2, Shape::Typed("port ID")),
    plain("Time to Live", 3, Shape::Line("time to live")),
    plain("Port Description", 4, Shape::Line("port description")),
    plain("System Name", 5, Shape::Line("system name")),
    plain("System Description", 6, Shape::Line("system description")),
    plain("System Capabilities", 7, Shape::Lines),
    plain("Management Address", 8, Shape::Management),
    special("Port VLAN ID", (IEEE_8021, 1), Shape::PortVlan),
    special("VLAN Name", (IEEE_8021, 3), Shape::Vlan),
    special("Link Aggregation", (IEEE_8021, 7), Shape::Aggregation),
    Known {
        name: "MTU",
        ..special("Maximum Frame Size", (IEEE_8023, 4), Shape::Line("mtu"))
    },
];

/// The elements in what `lldptool get-tlv -n -i NIC` printed, in their order.
pub fn parse(text: &str) -> Vec<Tlv> {
    elements(text)
        .into_iter()
        .filter_map(|(title, lines)| tlv(title, &lines))
        .take(MOST_TLVS)
        .collect()
}

/// Is the agent of this card on, by what `lldptool get-lldp -i NIC adminStatus` printed (`adminStatus=rx`)?
pub fn is_enabled(text: &str) -> bool {
    let word = text.trim().strip_prefix("adminStatus=");
    word.is_some_and(|it| it != "disabled")
}

fn elements(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix('\t'), all.last_mut()) {
            (Some(line), Some((_, lines))) if lines.len() < MOST_LINES => lines.push(line),
            (Some(_), _) => {}
            (None, _) if line.is_empty() => {}
            (None, _) => all.push((line, Vec::new())),
        }
    }
    all
}

fn tlv(title: &str, lines: &[&str]) -> Option<Tlv> {
    let title = title.strip_suffix(" TLV")?;
    let known = KNOWN.iter().find(|it| it.title == title)?;
    if lines.first().is_some_and(|it| is_bad(title, it)) {
        return None;
    }
    Some(Tlv {
        kind: known.kind,
        oui: known.organisation.map(|it| it.0),
        subtype: known.organisation.map(|it| it.1),
        name: known.name.to_owned(),
        properties: properties(known.shape, lines)?,
    })
}

/// lldpad found the element too short: `Bad VLAN Name TLV: 00fe04...`, with what its memory holds behind it.
fn is_bad(title: &str, line: &str) -> bool {
    let what = line
        .strip_prefix("Bad ")
        .and_then(|it| it.split_once(" TLV: "));
    what.is_some_and(|(what, _)| what == title || what == "PVID")
}

fn properties(shape: Shape, lines: &[&str]) -> Option<BTreeMap<String, String>> {
    let first = lines.first().copied();
    let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), kept(value))]);
    match shape {
        Shape::Typed(name) => typed(name, first?),
        Shape::Line(name) => Some(one(name, first?)),
        Shape::Lines => Some(named(lines)),
        Shape::Management => management(lines),
        Shape::PortVlan => Some(one("Port VLAN ID", after_colon(first?))),
        Shape::Vlan => {
            let (id, name) = first?.split_once(':')?;
            let id = id.split_once(' ').map_or(id, |(_, id)| id);
            let mut all = one("VLAN ID", id);
            all.extend(one("VLAN Name", name));
            Some(all)
        }
        Shape::Aggregation => {
            let yes = |line: &str| {
                if line.contains("not ") {
                    "False"
                } else {
                    "True"
                }
            };
            let mut all = one("Aggregation capable", yes(first?));
            all.extend(one("Currently aggregated", yes(lines.get(1)?)));
            all.extend(one("Aggregated Port ID", after_colon(lines.get(2)?)));
            Some(all)
        }
    }
}

fn typed(name: &str, line: &str) -> Option<BTreeMap<String, String>> {
    let (subtype, value) = line.split_once(':')?;
    Some(BTreeMap::from([
        (format!("{name} subtype"), kept(subtype)),
        (name.to_owned(), kept(value)),
    ]))
}

fn named(lines: &[&str]) -> BTreeMap<String, String> {
    let pairs = lines.iter().map(|line| {
        let name = line.split_once(':').map_or(*line, |(name, _)| name);
        (kept(name).to_lowercase(), kept(after_colon(line)))
    });
    pairs.collect()
}

fn management(lines: &[&str]) -> Option<BTreeMap<String, String>> {
    let mut all = typed("management address", lines.first()?)?;
    all.extend(typed("interface numbering", lines.get(1)?)?);
    if let Some(object) = lines.get(2) {
        all.insert("object identifier".to_owned(), kept(after_colon(object)));
    }
    Some(all)
}

fn after_colon(line: &str) -> &str {
    line.split_once(':').map_or(line, |(_, value)| value)
}

/// Without white space around it, and bounded.
fn kept(value: &str) -> String {
    let value = value.trim();
    let mut end = value.len().min(LONGEST_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A switch's frame, as lldptool prints it.
    const SWITCH: &str = "Chassis ID TLV\n\tMAC: 01:23:45:67:89:ab\nPort ID TLV\n\tLocal: 588\n\
        Time to Live TLV\n\t120\nSystem Name TLV\n\tsite1-row2-rack3\nSystem Description TLV\n\t\
        manufacturer, Build date: 2016-01-20 05:03:06 UTC\nSystem Capabilities TLV\n\tSystem \
        capabilities:  Bridge, Router\n\tEnabled capabilities: Bridge, Router\nManagement Address \
        TLV\n\tIPv4: 10.21.0.40\n\tIfindex: 36\n\tOID: $\nPort Description TLV\n\tsome important \
        server, port 4\nMAC/PHY Configuration Status TLV\n\tAuto-negotiation supported and enabled\n\
        Link Aggregation TLV\n\tAggregation capable\n\tCurrently not aggregated\n\tAggregated Port \
        ID: 600\nMaximum Frame Size TLV\n\t9216\nPort VLAN ID TLV\n\tPVID: 2000\nVLAN Name TLV\n\tVID \
        2000: Name foo\nVLAN Name TLV\n\tVID 2001: Name bar\nUnidentified Org Specific TLV\n\tOUI: \
        0x009069, Subtype: 1, Info: 5045\nEnd of LLDPDU TLV\n";

    fn told(text: &str) -> Vec<String> {
        let word = |it: &Tlv| {
            let organisation = it.oui.zip(it.subtype);
            let number = organisation.map_or(it.kind.to_string(), |(oui, subtype)| {
                format!("{}:{oui}:{subtype}", it.kind)
            });
            format!("{number} {}: {:?}", it.name, it.properties)
        };
        parse(text).iter().map(word).collect()
    }

    #[test]
    fn a_frame_is_reported_as_upstream_does() {
        assert_eq!(
            told(SWITCH),
            [
                r#"1 Chassis ID: {"chassis ID": "01:23:45:67:89:ab", "chassis ID subtype": "MAC"}"#,
                r#"2 Port ID: {"port ID": "588", "port ID subtype": "Local"}"#,
                r#"3 Time to Live: {"time to live": "120"}"#,
                r#"5 System Name: {"system name": "site1-row2-rack3"}"#,
                r#"6 System Description: {"system description": "manufacturer, Build date: 2016-01-20 05:03:06 UTC"}"#,
                r#"7 System Capabilities: {"enabled capabilities": "Bridge, Router", "system capabilities": "Bridge, Router"}"#,
                r#"8 Management Address: {"interface numbering": "36", "interface numbering subtype": "Ifindex", "management address": "10.21.0.40", "management address subtype": "IPv4", "object identifier": "$"}"#,
                r#"4 Port Description: {"port description": "some important server, port 4"}"#,
                r#"127:32962:7 Link Aggregation: {"Aggregated Port ID": "600", "Aggregation capable": "True", "Currently aggregated": "False"}"#,
                r#"127:4623:4 MTU: {"mtu": "9216"}"#,
                r#"127:32962:1 Port VLAN ID: {"Port VLAN ID": "2000"}"#,
                r#"127:32962:3 VLAN Name: {"VLAN ID": "2000", "VLAN Name": "Name foo"}"#,
                r#"127:32962:3 VLAN Name: {"VLAN ID": "2001", "VLAN Name": "Name bar"}"#,
            ]
        );
    }

    #[test]
    fn a_management_address_may_lack_its_object() {
        let text = "\nManagement Address TLV\n\tIPv6: fe80::1\n\tIfindex: 83886080\n";
        assert_eq!(
            told(text),
            [
                r#"8 Management Address: {"interface numbering": "83886080", "interface numbering subtype": "Ifindex", "management address": "fe80::1", "management address subtype": "IPv6"}"#
            ]
        );
    }

    #[test]
    fn what_lacks_its_content_is_left_out_and_the_rest_stays() {
        let text = "Chassis ID TLV\nPort ID TLV\n\tnonsense\nVLAN Name TLV\n\tVID\nLink Aggregation \
                    TLV\n\tx\n\ty\nManagement Address TLV\n\tIPv4: 1\n\tlost on the line\n\tno element\n\
                    System Name TLV\n\t  here \n";
        assert_eq!(told(text), [r#"5 System Name: {"system name": "here"}"#]);
    }

    #[test]
    fn it_is_on_unless_it_says_that_it_is_not() {
        for (text, on) in [
            ("adminStatus=rx\n", true),
            ("adminStatus=rxtx", true),
            ("adminStatus=disabled\n", false),
            ("", false),
            ("Device not found", false),
        ] {
            assert_eq!(is_enabled(text), on, "{text:?}");
        }
    }

    #[test]
    fn a_neighbour_who_talks_too_much_is_cut_short() {
        let long = format!("System Name TLV\n\t{}\n", "\u{e4}".repeat(4000));
        let tlvs = parse(&long.repeat(1000));
        assert_eq!(tlvs.len(), MOST_TLVS);
        let value = &tlvs[0].properties["system name"];
        assert!(value.len() <= LONGEST_VALUE && value.chars().all(|it| it == '\u{e4}'));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,300}") {
            let _ = (parse(&text), is_enabled(&text));
        }

        /// Titles that are known, with any content.
        #[test]
        fn any_content_is_survived(
            elements in prop::collection::vec((0..KNOWN.len(), prop::collection::vec("[^\n]{0,20}", 0..5)), 0..20),
        ) {
            let mut text = String::new();
            for (known, lines) in &elements {
                text.push_str(KNOWN[*known].title);
                for line in lines {
                    text.push_str("\n\t");
                    text.push_str(line);
                }
                text.push('\n');
            }
            prop_assert!(parse(&text).len() <= elements.len());
        }
    }
}
