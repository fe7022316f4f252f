//! Writing the tree. What is written reads back as the same tree.

use std::fmt::{self, Write};

use super::{Document, Element, Node};

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.declaration {
            f.write_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        }
        for node in &self.before {
            node.fmt(f)?;
        }
        self.root.fmt(f)?;
        for node in &self.after {
            node.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.name)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}=\"")?;
            escape(f, value, true)?;
            f.write_char('"')?;
        }
        if self.children.is_empty() {
            return f.write_str("/>");
        }
        f.write_char('>')?;
        for node in &self.children {
            node.fmt(f)?;
        }
        write!(f, "</{}>", self.name)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element(element) => element.fmt(f),
            Self::Text(text) => escape(f, text, false),
            Self::CData(data) => write!(f, "<![CDATA[{data}]]>"),
            Self::Comment(comment) => write!(f, "<!--{comment}-->"),
            Self::Instruction(instruction) => write!(f, "<?{instruction}?>"),
        }
    }
}

/// Also hides the white space that a reader would change: all but blanks within attributes, and
/// carriage returns everywhere.
fn escape(f: &mut fmt::Formatter<'_>, text: &str, attribute: bool) -> fmt::Result {
    for c in text.chars() {
        match c {
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' if attribute => f.write_str("&quot;")?,
            '\t' | '\n' if attribute => write!(f, "&#{};", u32::from(c))?,
            '\r' => f.write_str("&#13;")?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}
