//! Tokens that stand for secrets, and the search for them in whatever came out: as they are, in hex, in base64 at
//! any place, and as in an URL.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose};

/// Tokens that were given away as secrets.
#[derive(Default)]
pub struct Canaries {
    tokens: Vec<String>,
}

impl Canaries {
    /// A new token of 32 bytes that occurs nowhere else. It can stand in XML, JSON and JSON in XML as it is, not in
    /// an URL.
    pub fn token(&mut self) -> String {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let token = format!("Kn{}+/%={}", &random[..13], &random[13..26]);
        assert_eq!(token.len(), 32);
        self.tokens.push(token.clone());
        token
    }

    /// How many were given away.
    pub fn count(&self) -> usize {
        self.tokens.len()
    }

    /// Where they are found: the form and the words around it.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for token in &self.tokens {
            for (form, shape) in shapes(token) {
                if let Some(at) = text.find(&shape) {
                    let line = text[..at].rfind('\n').map_or(0, |it| it + 1);
                    found.push(format!("{form}: {}", excerpt(&text[line..])));
                }
            }
        }
        found
    }
}

fn excerpt(line: &str) -> &str {
    let line = line.lines().next().unwrap_or_default();
    let mut end = line.len().min(400);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// The forms in which a token may have leaked. Half of it is enough.
fn shapes(token: &str) -> Vec<(&'static str, String)> {
    let hex = token.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut shapes = vec![
        ("first half", token[..16].to_owned()),
        ("second half", token[16..].to_owned()),
        ("hex", hex.to_uppercase()),
        ("hex", hex),
        ("url", percent(token)),
        ("url", percent(token).to_lowercase()),
    ];
    for before in 0..3 {
        let bytes = [&vec![b'x'; before], token.as_bytes()].concat();
        for (form, engine) in [
            ("base64", general_purpose::STANDARD_NO_PAD),
            ("base64 for URLs", general_purpose::URL_SAFE_NO_PAD),
        ] {
            let text = engine.encode(&bytes);
            // Characters that also hold bits of what is before and behind are left out.
            let (start, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            shapes.push((form, text[start..end].to_owned()));
        }
    }
    shapes
}

fn percent(token: &str) -> String {
    let encoded = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter.to_string()
        } else {
            format!("%{:02X}", u32::from(letter))
        }
    };
    token.chars().map(encoded).collect()
}
