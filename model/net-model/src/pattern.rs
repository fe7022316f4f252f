//! Patterns of names, as `[vars] fake_nics` and its like have them: `*` and `?`, as a shell's.

use crate::{Current, LinkKind};

/// Kinds of interfaces that the kernel makes by software and that may stand in for a card (upstream's
/// `ipwrapper.py`: dummy, veth, macvlan).
const FAKES: [&str; 3] = ["dummy", "veth", "macvlan"];

/// Does a name match one of the patterns?
pub fn matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|it| glob(it, name))
}

impl Current {
    /// Interfaces made by software count as cards if their names match one of the patterns (`[vars] fake_nics`).
    pub fn count_as_nics(&mut self, patterns: &[String]) {
        for (name, link) in &mut self.links {
            if let LinkKind::Other(kind) = &link.kind
                && FAKES.contains(&kind.as_str())
                && matches(patterns, name.as_str())
            {
                link.kind = LinkKind::Nic;
            }
        }
    }
}

/// Without going back more than to the last `*`: linear in the name for each of them.
fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut in_name) = (0, 0);
    let mut star = None;
    while let Some(here) = name.get(in_name) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(it) if *it == '?' || it == here => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((of_star, taken)) = star else {
                    return false;
                };
                star = Some((of_star, taken + 1));
                at = of_star + 1;
                in_name = taken + 1;
            }
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|it| *it == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IfName, Link, Mac};

    #[test]
    fn stars_and_marks() {
        for (pattern, name, fits) in [
            ("veth_*", "veth_1", true),
            ("veth_*", "veth_", true),
            ("veth_*", "veth1", false),
            ("bondh?d", "bondhid", true),
            ("bondh?d", "bondhd", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "axxbyybc", true),
            ("a*b*c", "axxbyyb", false),
            ("**", "ab", true),
        ] {
            assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
        }
        let hostile = "*a".repeat(200);
        assert!(!glob(&hostile, &"a".repeat(199)), "and in no long time");
    }

    #[test]
    fn what_is_made_by_software_counts_by_name() {
        let mut current = Current::default();
        for (name, kind) in [
            ("veth_a", "veth"),
            ("vethb", "veth"),
            ("veth_t", "tun"),
            ("dummy_0", "dummy"),
        ] {
            let kind = LinkKind::Other(kind.to_owned());
            let link = Link::new(kind, Mac::default());
            current.links.insert(IfName::new(name).unwrap(), link);
        }
        current.count_as_nics(&["veth_*".to_owned(), "dummy_*".to_owned()]);
        let nics = current.links.iter();
        let nics = nics.filter(|(_, it)| it.kind == LinkKind::Nic);
        let nics: Vec<&str> = nics.map(|(name, _)| name.as_str()).collect();
        assert_eq!(nics, ["dummy_0", "veth_a"]);
    }
}
