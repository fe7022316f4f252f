//! The XML tree: it keeps everything, refuses what it must, and never panics.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use proptest::prelude::*;
use vm_model::{
    domain::DomainXml,
    error::ModelError,
    metadata::VmMetadata,
    xml::{Document, Element, Limits, Node},
};

fn same(text: &str) {
    assert_eq!(Document::parse(text).unwrap().to_string(), text);
}

#[test]
fn what_is_not_understood_is_kept() {
    same("<a/>");
    same("<a b=\"c\" d:e=\"f\"><g:h xmlns:g=\"urn:g\"/>text<i/>tail</a>");
    same("<a>\n  <b/>\n  <!-- remark - kept -->\n  <?target data?>\n</a>");
    same("<a><![CDATA[<not> & parsed]]></a>");
    same("<!-- before --><a/><!-- after -->");
    same("<a b=\"&lt;&amp;&quot;&#10;&#9;'\">&lt;&amp;&gt;\"'</a>");
    same("<a>x&#13;y</a>");
    same("<häuser öffnung=\"ja\"/>");
    same("<?xml version=\"1.0\" encoding=\"UTF-8\"?><a/>");
}

#[test]
fn references_become_characters() {
    let document = Document::parse("<a b='&#x41;&apos;'>x&#65;&lt;&gt;&amp;&quot;y</a>").unwrap();
    assert_eq!(document.root.attribute("b"), Some("A'"));
    assert_eq!(document.root.children, [Node::Text("xA<>&\"y".to_owned())]);
}

#[test]
fn a_foreign_encoding_is_written_as_what_it_is() {
    let document = Document::parse("<?xml version='1.0' encoding='ISO-8859-1'?><a>ü</a>").unwrap();
    assert!(
        document
            .to_string()
            .starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
    );
}

#[test]
fn bad_text_is_refused_with_its_place() {
    for bad in [
        "",
        "   ",
        "text",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>text",
        "text<a/>",
        "<a b='1' b='2'/>",
        "<a b=1/>",
        "<a b/>",
        "<a>&unknown;</a>",
        "<a b='&unknown;'/>",
        "<a>&#0;</a>",
        "<a>&#1;</a>",
        "<a>&#xD800;</a>",
        "<a b='\u{1}'/>",
        "<a>\u{8}</a>",
        "<1a/>",
        "<a:b:c/>",
        "<:a/>",
        "<a <b/>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
        "<a/><?xml version='1.0'?>",
        "<a><?xml version='1.0'?></a>",
        "<a",
        "<!-- open",
        "<a><![CDATA[open</a>",
    ] {
        let error = Document::parse(bad).unwrap_err();
        assert!(matches!(error, ModelError::Xml { .. }), "{bad:?}: {error}");
    }
}

#[test]
fn limits_hold() {
    let limits = Limits {
        bytes: 1_000,
        depth: 5,
        nodes: 20,
    };
    let within = |text: &str| Document::parse_within(text, &limits).is_ok();
    let nested = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
    assert!(within(&nested(5)));
    assert!(!within(&nested(6)));
    assert!(within(&format!("<a>{}</a>", "<b/>".repeat(19))));
    assert!(!within(&format!("<a>{}</a>", "<b/>".repeat(20))));
    assert!(!within(&format!("<a>{}</a>", "<b x='1'/>".repeat(10))));
    assert!(!within(&format!("<a>{}</a>", "x".repeat(1_000))));
    // The default survives a bomb of depth.
    assert!(Document::parse(&nested(100_000)).is_err());
}

#[test]
fn editing_keeps_the_rest() {
    let mut root = Document::parse("<a><b x='1'/> text <c/></a>").unwrap().root;
    root.child_mut("b").unwrap().set_attribute("x", "2");
    root.child_or_add("d").set_text("new <text>");
    assert_eq!(root.remove_all("c"), 1);
    root.set_attribute("y", "\"");
    assert_eq!(
        root.to_string(),
        "<a y=\"&quot;\"><b x=\"2\"/> text <d>new &lt;text&gt;</d></a>"
    );
    assert_eq!(root.find("b").unwrap().attribute("x"), Some("2"));
    assert_eq!(root.find("b/c"), None);
    assert_eq!(
        root.child_mut("b")
            .unwrap()
            .remove_attribute("x")
            .as_deref(),
        Some("2")
    );
}

#[test]
fn prefixes_are_resolved_inwards() {
    let text = "<a xmlns='urn:d' xmlns:p='urn:p'><p:b xmlns:p='urn:q'><p:c/><d/></p:b></a>";
    let root = Document::parse(text).unwrap().root;
    let b = root.child("p:b").unwrap();
    let c = b.child("p:c").unwrap();
    assert_eq!(root.uri(&[]), Some("urn:d"));
    assert_eq!(b.uri(&[&root]), Some("urn:q"));
    assert_eq!(c.uri(&[&root, b]), Some("urn:q"));
    assert_eq!(b.child("d").unwrap().uri(&[&root, b]), Some("urn:d"));
    assert_eq!((c.prefix(), c.local_name()), ("p", "c"));
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9._-]{0,5}(:[a-z][a-z0-9]{0,4})?"
}

fn text() -> impl Strategy<Value = String> {
    // Everything that XML can carry, and all that must be escaped.
    "[ \t\n\r<>&\"'\\]a-zäß€𝄞0-9;#x-]{0,12}"
}

fn element() -> impl Strategy<Value = Element> {
    let attributes = || {
        prop::collection::btree_map(name(), text(), 0..4)
            .prop_map(|map| map.into_iter().collect::<Vec<_>>())
    };
    let leaf = (name(), attributes(), text()).prop_map(|(name, attributes, text)| {
        let mut element = Element {
            name,
            attributes,
            children: Vec::new(),
        };
        element.set_text(text);
        element
    });
    leaf.prop_recursive(4, 32, 5, move |inner| {
        let child = prop_oneof![
            4 => inner.prop_map(Node::Element),
            1 => "[ a-z<>&]{0,8}".prop_map(Node::CData),
            1 => "[ a-z<>&]{1,8}".prop_map(Node::Comment),
        ];
        (name(), attributes(), prop::collection::vec(child, 0..5)).prop_map(
            |(name, attributes, children)| Element {
                name,
                attributes,
                children,
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_tree_comes_back(root in element()) {
        let document = Document::new(root);
        prop_assert_eq!(Document::parse(&document.to_string()).unwrap(), document);
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        let _ = Document::parse(&text);
        let _ = VmMetadata::parse(&text);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Document::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_markup_never_panics_and_comes_back(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "<a>", "</a>", "<a/>", "<b x='", "' y=\"", "\">", "'/>", "<!--", "-->", "<![CDATA[",
                "]]>", "<?x ", "?>", "&lt;", "&#65;", "&", ";", "<", ">", "t", " ", "<!DOCTYPE a>",
                "<?xml version='1.0'?>", "xmlns:p='u'", "<p:c/>", "\n", "--", "]]", "\u{0}", "é",
            ]),
            0..24,
        )
    ) {
        let text: String = parts.concat();
        for text in [text.clone(), format!("<a>{text}</a>")] {
            if let Ok(document) = Document::parse(&text) {
                prop_assert_eq!(Document::parse(&document.to_string()).unwrap(), document);
            }
        }
    }

    #[test]
    fn broken_domains_never_panic(cut in 0..2_000_usize, with in "\\PC{0,6}") {
        let text = include_str!("data/engine.xml");
        let at = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let broken = format!("{}{with}{}", &text[..at], &text[at..]);
        if let Ok(mut domain) = DomainXml::parse(&broken) {
            let _ = domain.drives();
            let (_, _, _) = (domain.displays(), domain.nics(), domain.devices_hash());
            let metadata = domain.metadata();
            domain.set_metadata(&metadata);
            prop_assert_eq!(DomainXml::parse(&domain.to_string()).unwrap().metadata(), metadata);
        }
    }
}
