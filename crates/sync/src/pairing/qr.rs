//! QR codes of a text, for a terminal and for a page.

use qrcode::types::QrError;
use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code, on each side (ISO/IEC 18004).
const QUIET_ZONE: usize = 4;
/// The longest text: that of a link.
const MAX_TEXT: usize = 2048;

/// What is wrong with a text for a QR code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QrCodeError {
    /// Too long.
    #[error("a QR code holds at most {MAX_TEXT} bytes here; found {found}")]
    Length {
        /// How many there were.
        found: usize,
    },
    /// The encoder refuses it.
    #[error("no QR code could be made: {0}")]
    Encoding(QrError),
}

/// A terminal's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalColors {
    /// Sets black on white by escape sequences: right on every terminal that has colours.
    Ansi,
    /// No escape sequences, for a terminal with dark text on a light ground.
    DarkOnLight,
    /// No escape sequences, for a terminal with light text on a dark ground.
    LightOnDark,
}

/// The QR code of a text in half blocks, two rows of modules a line, with its quiet zone.
///
/// Some readers do not know inverted codes, so that dark modules must come out dark: that is what `colors` is for.
pub fn terminal(text: &str, colors: TerminalColors) -> Result<String, QrCodeError> {
    let modules = Modules::new(text)?;
    let ink_is_dark = colors != TerminalColors::LightOnDark;
    let (start, end) = match colors {
        // a terminal that knows no bright white takes the white before it
        TerminalColors::Ansi => ("\x1b[30;47;107m", "\x1b[0m"),
        _ => ("", ""),
    };
    let mut out = String::new();
    for y in (0..modules.size).step_by(2) {
        out.push_str(start);
        for x in 0..modules.size {
            let top = modules.is_dark(x, y) == ink_is_dark;
            // below the last row is one more row of quiet zone
            let bottom = modules.is_dark(x, y + 1) == ink_is_dark;
            out.push(match (top, bottom) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push_str(end);
        out.push('\n');
    }
    Ok(out)
}

/// The QR code of a text as an SVG image, black on white with its quiet zone, to be put into a page as it is.
pub fn svg(text: &str) -> Result<String, QrCodeError> {
    let modules = Modules::new(text)?;
    let size = modules.size;
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges" role="img" aria-label="QR code"><path fill="#fff" d="M0 0h{size}v{size}H0z"/><path fill="#000" d=""##
    );
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let run = (x..size).take_while(|x| modules.is_dark(*x, y)).count();
            if run > 0 {
                out.push_str(&format!("M{x} {y}h{run}v1h-{run}z"));
            }
            x += run + 1;
        }
    }
    out.push_str(r#""/></svg>"#);
    Ok(out)
}

/// The modules of a code and its quiet zone.
struct Modules {
    colors: Vec<Color>,
    width: usize,
    size: usize,
}

impl Modules {
    fn new(text: &str) -> Result<Self, QrCodeError> {
        if text.len() > MAX_TEXT {
            return Err(QrCodeError::Length { found: text.len() });
        }
        // a screen is neither torn nor stained: the lowest level of correction gives the largest modules
        let code =
            QrCode::with_error_correction_level(text, EcLevel::L).map_err(QrCodeError::Encoding)?;
        let width = code.width();
        Ok(Self {
            colors: code.into_colors(),
            width,
            size: width + 2 * QUIET_ZONE,
        })
    }

    fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = |n: usize| n.checked_sub(QUIET_ZONE).filter(|n| *n < self.width);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self.colors.get(y * self.width + x) == Some(&Color::Dark),
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
mod tests {
    use super::*;

    /// The dark modules that the characters of a terminal show.
    fn seen(text: &str, ink_is_dark: bool) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in text.lines() {
            let line = line
                .trim_start_matches("\x1b[30;47;107m")
                .trim_end_matches("\x1b[0m");
            let row = |ink: &str| {
                line.chars()
                    .map(|c| ink.contains(c) == ink_is_dark)
                    .collect()
            };
            rows.push(row("█▀"));
            rows.push(row("█▄"));
        }
        rows
    }

    fn expected(text: &str) -> Vec<Vec<bool>> {
        let modules = Modules::new(text).unwrap();
        let rows = modules.size.next_multiple_of(2);
        (0..rows)
            .map(|y| (0..modules.size).map(|x| modules.is_dark(x, y)).collect())
            .collect()
    }

    #[test]
    fn every_terminal_shows_the_same_modules() {
        let text = "ues:join?code=01AZ9-KVT0X";
        let expected = expected(text);
        for (colors, ink_is_dark) in [
            (TerminalColors::Ansi, true),
            (TerminalColors::DarkOnLight, true),
            (TerminalColors::LightOnDark, false),
        ] {
            let shown = terminal(text, colors).unwrap();
            assert_eq!(seen(&shown, ink_is_dark), expected, "{colors:?}");
            assert_eq!(shown.contains('\x1b'), colors == TerminalColors::Ansi);
        }
    }

    #[test]
    fn the_quiet_zone_is_light_and_the_finders_are_dark() {
        let rows = expected("ues:join?code=01AZ9-KVT0X");
        let size = rows[0].len();
        let outside = |n: usize| n < QUIET_ZONE || n >= size - QUIET_ZONE;
        for (y, row) in rows.iter().enumerate() {
            for (x, dark) in row.iter().enumerate() {
                assert!(!(*dark && (outside(x) || outside(y))), "{x}, {y}");
            }
        }
        for at in QUIET_ZONE..QUIET_ZONE + 7 {
            assert!(rows[QUIET_ZONE][at] && rows[at][QUIET_ZONE]);
            assert!(rows[QUIET_ZONE][size - 1 - at] && rows[size - 1 - QUIET_ZONE][at]);
        }
    }

    #[test]
    fn the_image_has_the_same_modules() {
        let text = "ues:join?code=01AZ9-KVT0X";
        let image = svg(text).unwrap();
        let modules = Modules::new(text).unwrap();
        let mut found = vec![vec![false; modules.size]; modules.size];
        let path = image
            .split("d=\"")
            .nth(2)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        for run in path.split('M').skip(1) {
            let numbers: Vec<usize> = run
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|n| n.parse().ok())
                .collect();
            let [x, y, length, 1, back] = numbers[..] else {
                panic!("{run}");
            };
            assert_eq!(length, back);
            found[y][x..x + length].fill(true);
        }
        assert_eq!(found, expected(text)[..modules.size]);
        let start = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {0}\"",
            modules.size
        );
        assert!(image.starts_with(&start) && image.ends_with("</svg>"));
    }

    #[test]
    fn nothing_of_the_text_gets_into_the_image() {
        assert!(!svg("<script>&\"").unwrap().contains("script"));
    }

    #[test]
    fn the_longest_text_fits() {
        assert!(svg(&"a".repeat(2048)).is_ok());
        assert_eq!(
            terminal(&"a".repeat(2049), TerminalColors::Ansi),
            Err(QrCodeError::Length { found: 2049 })
        );
    }
}
