//! An XML tree that keeps everything: unknown elements, namespaces as written, comments,
//! processing instructions, white space, order.
//!
//! [`Document::parse`] reads it (see `parse`, with [`Limits`]; no DTD, no entities of its own),
//! `Display` writes it (see `write`). Names are kept as written (`ovirt-vm:vm`); [`Element::uri`]
//! resolves their prefix.

mod parse;
mod write;

pub use parse::Limits;

/// A whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Did it have an XML declaration? It is written as UTF-8, whatever it said.
    pub declaration: bool,
    /// Comments and the like before the root.
    pub before: Vec<Node>,
    /// The root.
    pub root: Element,
    /// Comments and the like after the root.
    pub after: Vec<Node>,
}

/// Something within an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Text, unescaped.
    Text(String),
    /// The content of `<![CDATA[...]]>`.
    CData(String),
    /// The content of `<!--...-->`.
    Comment(String),
    /// The content of `<?...?>`.
    Instruction(String),
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// Name as written, with its prefix.
    pub name: String,
    /// Attributes in order: name as written, value unescaped. Namespace declarations are among them.
    pub attributes: Vec<(String, String)>,
    /// What is within.
    pub children: Vec<Node>,
}

impl Document {
    /// A document of `root` alone.
    pub fn new(root: Element) -> Self {
        Self {
            declaration: false,
            before: Vec::new(),
            root,
            after: Vec::new(),
        }
    }
}

impl Element {
    /// An empty element.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// An element with a text.
    pub fn with_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut element = Self::new(name);
        element.set_text(text);
        element
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with_attribute(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_attribute(name, value);
        self
    }

    /// The same with one more child.
    #[must_use]
    pub fn with_child(mut self, child: Element) -> Self {
        self.push(child);
        self
    }

    /// The prefix of the name; empty if it has none.
    pub fn prefix(&self) -> &str {
        self.name.split_once(':').map_or("", |(prefix, _)| prefix)
    }

    /// The name without prefix.
    pub fn local_name(&self) -> &str {
        self.name
            .split_once(':')
            .map_or(self.name.as_str(), |(_, local)| local)
    }

    /// Value of the attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Sets the attribute, in its place if it is there.
    pub fn set_attribute(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.attributes.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((name.to_owned(), value)),
        }
    }

    /// Takes the attribute off and gives its value.
    pub fn remove_attribute(&mut self, name: &str) -> Option<String> {
        let place = self.attributes.iter().position(|(key, _)| key == name)?;
        Some(self.attributes.remove(place).1)
    }

    /// The elements within.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            _ => None,
        })
    }

    /// The elements within, to change.
    pub fn elements_mut(&mut self) -> impl Iterator<Item = &mut Element> {
        self.children.iter_mut().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            _ => None,
        })
    }

    /// The elements within that have that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements().filter(move |element| element.name == name)
    }

    /// The first element within that has that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name == name)
    }

    /// The first element within that has that name, to change.
    pub fn child_mut(&mut self, name: &str) -> Option<&mut Element> {
        self.elements_mut().find(|element| element.name == name)
    }

    /// The first element within that has that name, added as last if there is none.
    pub fn child_or_add(&mut self, name: &str) -> &mut Element {
        let place = self
            .children
            .iter()
            .position(|node| matches!(node, Node::Element(element) if element.name == name));
        let place = place.unwrap_or_else(|| {
            self.push(Element::new(name));
            self.children.len() - 1
        });
        match self.children.get_mut(place) {
            Some(Node::Element(element)) => element,
            _ => unreachable!("the place holds the element that was found or added"),
        }
    }

    /// Follows names divided by `/`, the first of each.
    pub fn find(&self, path: &str) -> Option<&Element> {
        path.split('/')
            .try_fold(self, |element, name| element.child(name))
    }

    /// Follows names divided by `/`, the first of each, to change.
    pub fn find_mut(&mut self, path: &str) -> Option<&mut Element> {
        path.split('/')
            .try_fold(self, |element, name| element.child_mut(name))
    }

    /// Adds an element as last.
    pub fn push(&mut self, child: Element) {
        self.children.push(Node::Element(child));
    }

    /// Takes away the elements within for which `which` holds; says how many.
    pub fn remove(&mut self, which: impl Fn(&Element) -> bool) -> usize {
        let before = self.children.len();
        self.children
            .retain(|node| !matches!(node, Node::Element(element) if which(element)));
        before - self.children.len()
    }

    /// Takes away the elements within that have that name; says how many.
    pub fn remove_all(&mut self, name: &str) -> usize {
        self.remove(|element| element.name == name)
    }

    /// The text right within, without that of elements within.
    pub fn text(&self) -> String {
        self.children
            .iter()
            .filter_map(|node| match node {
                Node::Text(text) | Node::CData(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Replaces everything within by a text.
    pub fn set_text(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.children = if text.is_empty() {
            Vec::new()
        } else {
            vec![Node::Text(text)]
        };
    }

    /// Has it no elements within?
    pub fn is_leaf(&self) -> bool {
        self.elements().next().is_none()
    }

    /// The namespace declared here for the prefix (empty: the default one).
    pub fn declared(&self, prefix: &str) -> Option<&str> {
        if prefix.is_empty() {
            return self.attribute("xmlns");
        }
        self.attributes
            .iter()
            .find(|(key, _)| key.strip_prefix("xmlns:") == Some(prefix))
            .map(|(_, value)| value.as_str())
    }

    /// The namespace of the name. `ancestors` are the elements around it, outermost first.
    pub fn uri<'a>(&'a self, ancestors: &[&'a Element]) -> Option<&'a str> {
        let prefix = self.prefix();
        std::iter::once(self)
            .chain(ancestors.iter().rev().copied())
            .find_map(|element| element.declared(prefix))
    }
}
