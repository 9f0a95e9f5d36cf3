//! Packs the dashboard: `cargo run -p plimsoll-monitor --example pack` after a change in
//! `assets/src`. What it writes is committed, so that users build nothing.

mod bundle;

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dist = root.join("assets/dist");
    fs::create_dir_all(&dist)?;
    let files = bundle::files(root)?;
    let (mut gzip, mut brotli) = (0, 0);
    for file in &files {
        fs::write(dist.join(&file.stored), &file.content)?;
        let packed = bundle::gzip(&file.content)?;
        gzip += packed.len();
        fs::write(dist.join(format!("{}.gz", file.stored)), packed)?;
        let packed = bundle::brotli(&file.content)?;
        brotli += packed.len();
        fs::write(dist.join(format!("{}.br", file.stored)), packed)?;
    }
    fs::write(root.join("src/dashboard/packed.rs"), bundle::table(&files))?;
    eprintln!("{} files: {gzip} bytes as gzip, {brotli} as brotli", files.len());
    Ok(())
}
