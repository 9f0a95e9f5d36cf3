//! A small file of the kernel, opened once and read from its start again and again.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::linux::parse::ParseError;

/// Why a file gave no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It could not be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It says something else than expected.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// Keeps the descriptor of a file whose content the kernel makes anew for each read.
///
/// Opens on the first read, and again on the read after one that failed: a file that comes back
/// is found without further ado.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    file: Option<File>,
}

impl KeptFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file into `buffer` and hands the text to `parse`.
    ///
    /// One system call: a kernel file that fits the buffer comes whole. Of a longer one the last,
    /// cut line is left out, so that half a number is never taken for one.
    pub(crate) fn read<T>(
        &mut self,
        buffer: &mut [u8],
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<T, ReadError> {
        match self.fill(buffer) {
            Ok(filled) => {
                let text = &buffer[..filled];
                Ok(parse(if filled < buffer.len() { text } else { full_lines(text) })?)
            }
            Err(error) => {
                self.file = None;
                Err(error.into())
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(File::open(&self.path)?),
        };
        loop {
            match file.read_at(buffer, 0) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

fn full_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    &text[..end]
}
