//! Fewer colours, so that a picture of a page weighs a third.

use std::{collections::HashMap, error::Error, io::Cursor};

use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Filter};

type Colour = [u8; 3];

/// The picture with the 256 colours that it has most of; every other becomes the nearest of them.
pub(crate) fn reduced(picture: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut reader = Decoder::new(Cursor::new(picture)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("a picture too large")?];
    let frame = reader.next_frame(&mut pixels)?;
    let bytes_each = frame.color_type.samples();
    let pixels: Vec<Colour> = pixels[..frame.buffer_size()]
        .chunks_exact(bytes_each)
        .map(|p| [p[0], p[1], p[2]])
        .collect();

    let mut counts: HashMap<Colour, usize> = HashMap::new();
    for pixel in &pixels {
        *counts.entry(*pixel).or_default() += 1;
    }
    let mut colours: Vec<_> = counts.into_iter().collect();
    // By the colour where there are equally many, so that the same page is the same file.
    colours.sort_by_key(|(colour, count)| (std::cmp::Reverse(*count), *colour));
    let palette: Vec<Colour> = colours.iter().take(256).map(|(colour, _)| *colour).collect();
    let index: HashMap<Colour, u8> =
        colours.iter().map(|(colour, _)| (*colour, nearest(&palette, *colour))).collect();
    let indexed: Vec<u8> = pixels.iter().map(|pixel| index[pixel]).collect();

    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, frame.width, frame.height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(palette.concat());
    encoder.set_compression(Compression::High);
    // Numbers of colours have no neighbours that a filter could tell from each other.
    encoder.set_filter(Filter::NoFilter);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&indexed)?;
    writer.finish()?;
    Ok(file)
}

fn nearest(palette: &[Colour], colour: Colour) -> u8 {
    let distance = |other: &Colour| -> u32 {
        other.iter().zip(colour).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    let nearest = (0..=u8::MAX).zip(palette).min_by_key(|(_, other)| distance(other));
    nearest.map_or(0, |(index, _)| index)
}
