//! A QR code as SVG, for a page without script.

use qrcode::{Color, EcLevel, QrCode};
use std::fmt::Write;

/// Modules of white around the code (ISO/IEC 18004).
const QUIET: usize = 4;

/// The SVG element of a text, dark on white whatever the page's colours are. `None` if the text is too long.
pub fn svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let side = width + 2 * QUIET;
    let mut path = String::new();
    for (index, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (index % width + QUIET, index / width + QUIET);
            // Writing into a string does not fail.
            let _ = write!(path, "M{x} {y}h1v1h-1z");
        }
    }
    Some(format!(
        "<svg class=\"qr\" viewBox=\"0 0 {side} {side}\" role=\"img\" aria-label=\"QR code\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}h-{side}z\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_drawn_within_their_quiet_zone() {
        let drawn = svg("otpauth://totp/node.example:alice?secret=AAAA").unwrap();
        assert!(drawn.starts_with("<svg") && drawn.contains("M4 4h1v1h-1z"));
        assert!(!drawn.contains("M3 ") && !drawn.contains(" 3h1"));
        assert!(svg(&"x".repeat(5000)).is_none());
    }
}
