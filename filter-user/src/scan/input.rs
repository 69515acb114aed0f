//! Files and standard input, plain or gzip.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
};

use flate2::bufread::MultiGzDecoder;

/// The name that stands for standard input.
const STDIN: &str = "-";

const BUFFER: usize = 128 * 1024;

/// An open file.
pub struct Input {
    /// Its name, for messages.
    pub name: String,
    /// Its bytes, decompressed.
    pub bytes: Box<dyn BufRead>,
}

/// Opens a file, or standard input for `-`. What begins like gzip (RFC 1952 §2.3.1) is decompressed.
pub fn open(name: &str) -> io::Result<Input> {
    if name == STDIN {
        return Input::new("(standard input)", io::stdin());
    }
    let file = File::open(name)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Input::new(name, file)
}

impl Input {
    /// Reads from `source`, which messages call `name`.
    pub fn new(name: &str, mut source: impl Read + 'static) -> io::Result<Self> {
        let mut magic = Vec::with_capacity(2);
        source.by_ref().take(2).read_to_end(&mut magic)?;
        let gzip = magic == [0x1f, 0x8b];
        let whole = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(source));
        let bytes: Box<dyn BufRead> = if gzip {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self {
            name: name.to_owned(),
            bytes,
        })
    }
}
