//! Undoing the compression of an answer, bounded in what comes out.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// Why an answer is not understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// An encoding that was not asked for.
    #[error("the service answered in the encoding {0:?}, expected gzip or none")]
    Unknown(String),
    /// The compressed bytes are broken.
    #[error("the service's answer is not what its encoding says")]
    Broken,
    /// It is longer than allowed once it is unpacked.
    #[error("upstream response too large")]
    TooLong,
}

/// Undoes a content encoding (RFC 9110, section 8.4); gives at most `limit` bytes.
pub fn decode(body: Vec<u8>, encoding: &str, limit: u64) -> Result<Vec<u8>, DecodeError> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => unpack(MultiGzDecoder::new(body.as_slice()), limit),
        "deflate" => unpack(ZlibDecoder::new(body.as_slice()), limit),
        other => Err(DecodeError::Unknown(other.chars().take(40).collect())),
    }
}

fn unpack(from: impl Read, limit: u64) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    from.take(limit + 1)
        .read_to_end(&mut out)
        .map_err(|_| DecodeError::Broken)?;
    if out.len() as u64 > limit {
        return Err(DecodeError::TooLong);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn bombs_are_bounded() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&vec![0; 1 << 20]).unwrap();
        let packed = packed.finish().unwrap();
        assert!(packed.len() < 4096);
        assert!(matches!(
            decode(packed.clone(), "gzip", 1000),
            Err(DecodeError::TooLong)
        ));
        assert_eq!(decode(packed, "GZIP", 1 << 20).unwrap().len(), 1 << 20);
        assert!(matches!(
            decode(vec![1, 2, 3], "gzip", 10),
            Err(DecodeError::Broken)
        ));
        assert!(matches!(
            decode(vec![], "br", 10),
            Err(DecodeError::Unknown(_))
        ));
    }
}
