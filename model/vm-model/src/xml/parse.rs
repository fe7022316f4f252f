//! Reading XML into the tree, with limits: domain XML comes from the network, from guests' hosts
//! and from files on shared storage.

use quick_xml::{
    Reader,
    events::{BytesRef, BytesStart, Event},
};

use super::{Document, Element, Node};
use crate::error::{ModelError, ModelResult};

/// What is accepted. Beyond is an error, not a smaller tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text.
    pub bytes: usize,
    /// Elements within elements.
    pub depth: usize,
    /// Nodes and attributes, all together.
    pub nodes: usize,
}

impl Default for Limits {
    /// Far above what Engine sends: payloads of cloud-init may take some 100 KiB.
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            depth: 64,
            nodes: 200_000,
        }
    }
}

impl Document {
    /// Reads a document within the default [`Limits`].
    pub fn parse(text: &str) -> ModelResult<Self> {
        Self::parse_within(text, &Limits::default())
    }

    /// Reads a document within these limits.
    pub fn parse_within(text: &str, limits: &Limits) -> ModelResult<Self> {
        if text.len() > limits.bytes {
            let why = format!("{} bytes are more than {}", text.len(), limits.bytes);
            return Err(ModelError::Xml { at: 0, why });
        }
        Parser::new(text, *limits).run()
    }
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    limits: Limits,
    nodes: usize,
    open: Vec<Element>,
    declaration: bool,
    before: Vec<Node>,
    root: Option<Element>,
    after: Vec<Node>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, limits: Limits) -> Self {
        Self {
            reader: Reader::from_str(text),
            limits,
            nodes: 0,
            open: Vec::new(),
            declaration: false,
            before: Vec::new(),
            root: None,
            after: Vec::new(),
        }
    }

    fn run(mut self) -> ModelResult<Document> {
        loop {
            let event = self
                .reader
                .read_event()
                .map_err(|error| self.fail(error.to_string()))?;
            if matches!(event, Event::Eof) {
                break;
            }
            self.event(event)?;
        }
        if let Some(open) = self.open.last() {
            return Err(self.fail(format!("<{}> is not closed", open.name)));
        }
        let (declaration, before, after) = (self.declaration, self.before, self.after);
        match self.root {
            Some(root) => Ok(Document {
                declaration,
                before,
                root,
                after,
            }),
            None => Err(ModelError::Xml {
                at: 0,
                why: "there is no element".to_owned(),
            }),
        }
    }

    fn event(&mut self, event: Event<'a>) -> ModelResult<()> {
        match event {
            Event::Start(start) => self.start(&start),
            Event::Empty(start) => {
                self.start(&start)?;
                self.end()
            }
            Event::End(_) => self.end(),
            Event::Text(text) => {
                let text = text
                    .decode()
                    .map_err(|error| self.fail(error.to_string()))?;
                self.text(&text)
            }
            Event::GeneralRef(reference) => {
                let character = self.reference(&reference)?;
                self.text(character.encode_utf8(&mut [0; 4]))
            }
            Event::CData(data) => {
                let data = data
                    .decode()
                    .map_err(|error| self.fail(error.to_string()))?;
                self.check_characters(&data)?;
                self.node(Node::CData(data.into_owned()))
            }
            Event::Comment(comment) => {
                let comment = comment
                    .decode()
                    .map_err(|error| self.fail(error.to_string()))?;
                self.check_characters(&comment)?;
                self.node(Node::Comment(comment.into_owned()))
            }
            Event::PI(instruction) => {
                let text = self.utf8(&instruction)?;
                self.check_characters(&text)?;
                self.node(Node::Instruction(text))
            }
            Event::Decl(_) => self.declare(),
            Event::DocType(_) => Err(self.fail("document types are not accepted")),
            Event::Eof => Ok(()),
        }
    }

    fn declare(&mut self) -> ModelResult<()> {
        if self.declaration
            || self.root.is_some()
            || !self.open.is_empty()
            || !self.before.is_empty()
        {
            return Err(self.fail("the XML declaration is not at the beginning"));
        }
        self.declaration = true;
        Ok(())
    }

    fn start(&mut self, start: &BytesStart<'_>) -> ModelResult<()> {
        if self.root.is_some() {
            return Err(self.fail("a second element beside the root"));
        }
        if self.open.len() >= self.limits.depth {
            return Err(self.fail(format!("deeper than {}", self.limits.depth)));
        }
        self.count(1)?;
        let name = self.utf8(start.name().as_ref())?;
        self.check_name(&name)?;
        let mut element = Element::new(name);
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| self.fail(error.to_string()))?;
            self.count(1)?;
            let key = self.utf8(attribute.key.as_ref())?;
            self.check_name(&key)?;
            let value = attribute
                .unescape_value()
                .map_err(|error| self.fail(error.to_string()))?;
            self.check_characters(&value)?;
            element.attributes.push((key, value.into_owned()));
        }
        self.open.push(element);
        Ok(())
    }

    fn end(&mut self) -> ModelResult<()> {
        let Some(element) = self.open.pop() else {
            return Err(self.fail("an end without a beginning"));
        };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> ModelResult<()> {
        self.check_characters(text)?;
        let Some(parent) = self.open.last_mut() else {
            if text
                .chars()
                .all(|c| c.is_ascii_whitespace() || c == '\u{feff}')
            {
                return Ok(());
            }
            return Err(self.fail("text outside of the root"));
        };
        if let Some(Node::Text(before)) = parent.children.last_mut() {
            before.push_str(text);
            return Ok(());
        }
        if text.is_empty() {
            return Ok(());
        }
        self.node(Node::Text(text.to_owned()))
    }

    fn node(&mut self, node: Node) -> ModelResult<()> {
        self.count(1)?;
        let list = match self.open.last_mut() {
            Some(parent) => &mut parent.children,
            None if self.root.is_some() => &mut self.after,
            None => &mut self.before,
        };
        list.push(node);
        Ok(())
    }

    fn reference(&self, reference: &BytesRef<'_>) -> ModelResult<char> {
        if let Some(c) = reference
            .resolve_char_ref()
            .map_err(|error| self.fail(error.to_string()))?
        {
            return Ok(c);
        }
        match &**reference {
            b"lt" => Ok('<'),
            b"gt" => Ok('>'),
            b"amp" => Ok('&'),
            b"apos" => Ok('\''),
            b"quot" => Ok('"'),
            _ => Err(self.fail("an entity that XML does not have")),
        }
    }

    fn count(&mut self, more: usize) -> ModelResult<()> {
        self.nodes += more;
        if self.nodes > self.limits.nodes {
            return Err(self.fail(format!("more than {} nodes", self.limits.nodes)));
        }
        Ok(())
    }

    fn utf8(&self, bytes: &[u8]) -> ModelResult<String> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.fail(error.to_string())),
        }
    }

    fn check_name(&self, name: &str) -> ModelResult<()> {
        let good_part = |part: &str| {
            part.starts_with(|c: char| c == '_' || c.is_alphabetic())
                && part
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        let good = match name.split_once(':') {
            Some((prefix, local)) => good_part(prefix) && good_part(local),
            None => good_part(name),
        };
        if good {
            Ok(())
        } else {
            Err(self.fail(format!("{name:?} is not a name")))
        }
    }

    fn check_characters(&self, text: &str) -> ModelResult<()> {
        let bad = |c: char| {
            (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
        };
        match text.chars().find(|c| bad(*c)) {
            Some(c) => Err(self.fail(format!("the character {c:?} is not allowed in XML"))),
            None => Ok(()),
        }
    }

    fn fail(&self, why: impl Into<String>) -> ModelError {
        ModelError::Xml {
            at: self.reader.buffer_position(),
            why: why.into(),
        }
    }
}
