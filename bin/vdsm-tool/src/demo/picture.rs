//! The screenshot: from the answer of `VM.screenshot` to a PNG file.
//!
//! libvirt gives PNG where QEMU can make it, else PPM, which is turned into PNG here. Either way the picture
//! is decoded, so that a broken one is noticed.

use std::{fs, io::Cursor, path::Path};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Most pixels of a picture that is looked at.
const MAX_PIXELS: usize = 8192 * 8192;

/// What was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Pixels.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    /// Bytes of the file.
    pub(crate) bytes: usize,
}

/// Saves the answer's picture as PNG. Errors: it is none, or all of it has one colour.
pub(crate) fn save(answer: &Value, path: &Path) -> Result<Saved> {
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    if field("encoding") != "base64" {
        bail!("the picture is not in base64 but {:?}", field("encoding"));
    }
    let data = STANDARD
        .decode(field("data"))
        .context("the picture is not base64")?;
    let data = match field("mime_type") {
        "image/png" => data,
        "image/x-portable-pixmap" => from_ppm(&data)?,
        other => bail!("the picture is of an unknown type {other:?}"),
    };
    let (width, height) = look_at(&data)?;
    fs::write(path, &data).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Saved {
        width,
        height,
        bytes: data.len(),
    })
}

/// Decodes a PNG; its size. An error if nothing is on it.
fn look_at(data: &[u8]) -> Result<(u32, u32)> {
    let mut reader = png::Decoder::new(Cursor::new(data))
        .read_info()
        .context("not a PNG")?;
    let size = reader
        .output_buffer_size()
        .filter(|size| *size <= MAX_PIXELS * 4);
    let mut pixels = vec![0; size.context("the picture is too large")?];
    let info = reader
        .next_frame(&mut pixels)
        .context("the PNG is broken")?;
    pixels.truncate(info.buffer_size());
    if pixels
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a == b))
    {
        bail!("the picture has nothing on it");
    }
    Ok((info.width, info.height))
}

/// A PNG of a binary PPM (`P6 width height 255` and the pixels).
fn from_ppm(data: &[u8]) -> Result<Vec<u8>> {
    let (width, height, pixels) = ppm(data).context("not a PPM")?;
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(out)
}

fn ppm(data: &[u8]) -> Option<(u32, u32, &[u8])> {
    let mut rest = data;
    let mut fields = Vec::new();
    while fields.len() < 4 {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        let (word, after) = rest.split_at(end);
        rest = after;
        if word.first() == Some(&b'#') {
            rest = rest.get(rest.iter().position(|byte| *byte == b'\n')?..)?;
        } else {
            fields.push(str::from_utf8(word).ok()?);
        }
    }
    let [magic, width, height, depth] = fields.as_slice() else {
        return None;
    };
    let (width, height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
    let count = usize::try_from(width)
        .ok()?
        .checked_mul(usize::try_from(height).ok()?)?;
    let whole = *magic == "P6" && *depth == "255" && (1..=MAX_PIXELS).contains(&count);
    let pixels = rest.get(1..)?.get(..count.checked_mul(3)?)?;
    whole.then_some((width, height, pixels))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(mime: &str, data: &[u8]) -> Value {
        json!({ "encoding": "base64", "mime_type": mime, "data": STANDARD.encode(data) })
    }

    #[test]
    fn a_ppm_becomes_a_png_and_a_png_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.png");
        let ppm = b"P6\n# a remark\n2 1\n255\n\x00\x01\x02\xff\xfe\xfd";
        let saved = save(&answer("image/x-portable-pixmap", ppm), &path).unwrap();
        assert_eq!((saved.width, saved.height), (2, 1));
        let png = fs::read(&path).unwrap();
        assert_eq!(save(&answer("image/png", &png), &path).unwrap(), saved);
    }

    #[test]
    fn empty_broken_and_unknown_pictures_are_refused() {
        let path = Path::new("/nonexistent/p.png");
        let blank = b"P6 2 1 255\n\x00\x00\x00\x00\x00\x00";
        assert!(
            save(&answer("image/x-portable-pixmap", blank), path)
                .unwrap_err()
                .to_string()
                .contains("nothing")
        );
        for bad in [
            &b"P6 2 1 255\n\x00"[..],
            b"P5 1 1 255\n\x00\x00\x00",
            b"",
            b"P6 99999999 99999999 255\n",
        ] {
            assert!(save(&answer("image/x-portable-pixmap", bad), path).is_err());
        }
        assert!(save(&answer("image/png", b"not a png"), path).is_err());
        assert!(save(&answer("image/gif", b"GIF"), path).is_err());
        assert!(save(&json!({ "data": "" }), path).is_err());
    }
}
