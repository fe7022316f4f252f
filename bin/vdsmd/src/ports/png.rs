//! A portable pixmap (what QEMU makes of a console) as PNG (what a browser shows).

/// Largest picture, pixels: 8K.
const MOST_PIXELS: usize = 7680 * 4320;

/// Turns a binary PPM (`P6`, 8 bits a channel) into a PNG. The guest decides over its size, so it is bounded.
pub(crate) fn from_ppm(ppm: &[u8]) -> Result<Vec<u8>, String> {
    let (width, height, pixels) = parse(ppm).ok_or("not a portable pixmap")?;
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer
        .write_image_data(pixels)
        .map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(out)
}

fn parse(ppm: &[u8]) -> Option<(u32, u32, &[u8])> {
    let mut rest = ppm.strip_prefix(b"P6")?;
    let width = number(&mut rest)?;
    let height = number(&mut rest)?;
    let depth = number(&mut rest)?;
    // One white space ends the header.
    let pixels = rest.get(1..)?;
    let count = (width as usize).checked_mul(height as usize)?;
    if depth != 255 || count == 0 || count > MOST_PIXELS {
        return None;
    }
    Some((width, height, pixels.get(..count * 3)?))
}

/// The next number of the header; comments run from `#` to the end of the line.
fn number(rest: &mut &[u8]) -> Option<u32> {
    loop {
        match rest.first()? {
            b'#' => {
                let end = rest.iter().position(|byte| *byte == b'\n')?;
                *rest = rest.get(end..)?;
            }
            byte if byte.is_ascii_whitespace() => *rest = rest.get(1..)?,
            _ => break,
        }
    }
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixmap_becomes_a_png() {
        let png = from_ppm(b"P6\n# made by QEMU\n2 1\n255\nabcdef").unwrap();
        let decoder = png::Decoder::new(std::io::Cursor::new(png));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; 6];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(&pixels, b"abcdef");
        assert_eq!((reader.info().width, reader.info().height), (2, 1));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            &b""[..],
            b"P5\n1 1\n255\nx",
            b"P6\n1 1\n255\nab",
            b"P6\n0 0\n255\n",
            b"P6\n99999 99999\n255\n",
            b"P6\n1 1\n65535\nabcdef",
            b"P6\n4294967296 1\n255\n",
        ] {
            assert!(from_ppm(bad).is_err(), "{bad:?}");
        }
    }
}
