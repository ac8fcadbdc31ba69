//! A terminal as a picture.
//!
//! In: a text with colours. Out: an SVG file that needs nothing else. Never: markup that came from the text.

use std::fmt::Write as _;

use super::human::words::one_line;

/// Size of a character cell in pixels; 0.6 of the font size is what monospaced fonts have.
const CELL: (f64, f64) = (8.4, 19.0);
const FONT: f64 = 14.0;
const MARGIN: f64 = 20.0;
const BAR: f64 = 40.0;
const BACKGROUND: &str = "#1b1e28";
const TEXT: &str = "#d0d4e0";
/// Black, red, green, yellow, blue, magenta, cyan, white, and the same again, brighter.
const COLOURS: [&str; 16] = [
    "#3b4252", "#f07178", "#9ece6a", "#e6c07b", "#7aa2f7", "#c594f5", "#7fd5e0", "#d0d4e0", "#6b7394", "#ff8b92",
    "#b9f27c", "#ffd68a", "#9db8ff", "#d9b3ff", "#a4ecf5", "#ffffff",
];

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    colour: Option<usize>,
    bold: bool,
    dim: bool,
}

/// A picture of a terminal that shows the text. Colours are those of SGR (ECMA-48); other sequences are left out.
pub fn terminal(ansi_text: &str, title: &str) -> String {
    let lines = lines(ansi_text);
    let longest = lines.iter().map(|line| line.iter().map(|(_, text)| text.chars().count()).sum()).max().unwrap_or(0);
    let columns = longest.max(title.chars().count() + 16);
    let (width, height) = (cells(columns) + 2.0 * MARGIN, BAR + rows(lines.len()) + MARGIN);
    let mut svg = frame(width, height, title);
    for (index, line) in lines.iter().enumerate() {
        let y = BAR + rows(index) + FONT;
        let mut column = 0;
        for (look, text) in line {
            piece(&mut svg, MARGIN + cells(column), y, *look, text);
            column += text.chars().count();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn cells(columns: usize) -> f64 {
    f64::from(u32::try_from(columns).unwrap_or(u32::MAX)) * CELL.0
}

fn rows(lines: usize) -> f64 {
    f64::from(u32::try_from(lines).unwrap_or(u32::MAX)) * CELL.1
}

fn frame(width: f64, height: f64, title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"ui-monospace, 'SF Mono', Menlo, 'DejaVu Sans Mono', Consolas, monospace\" \
         font-size=\"{FONT}\">\n<rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"{BACKGROUND}\"/>\n"
    );
    for (index, colour) in ["#ff5f57", "#febc2e", "#28c840"].iter().enumerate() {
        let _ = writeln!(svg, "<circle cx=\"{}\" cy=\"20\" r=\"6\" fill=\"{colour}\"/>", 22 + 20 * index);
    }
    let middle = width / 2.0;
    let title = escaped(&one_line(title));
    let _ =
        writeln!(svg, "<text x=\"{middle:.0}\" y=\"25\" fill=\"{}\" text-anchor=\"middle\">{title}</text>", COLOURS[8]);
    svg
}

/// One piece of one line. Its length is given, so that columns are straight whatever font is there.
fn piece(svg: &mut String, x: f64, y: f64, look: Look, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    let fill = look.colour.map_or(TEXT, |colour| COLOURS[colour % COLOURS.len()]);
    let bold = if look.bold { " font-weight=\"bold\"" } else { "" };
    let dim = if look.dim { " opacity=\"0.6\"" } else { "" };
    let length = cells(text.chars().count());
    let text = escaped(text);
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" fill=\"{fill}\"{bold}{dim} xml:space=\"preserve\">{text}</text>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The lines of a text, each in pieces that look alike.
fn lines(text: &str) -> Vec<Vec<(Look, String)>> {
    let mut look = Look::default();
    text.lines().map(|line| pieces(line, &mut look)).collect()
}

fn pieces(line: &str, look: &mut Look) -> Vec<(Look, String)> {
    let mut pieces = Vec::new();
    let mut parts = line.split('\u{1b}');
    pieces.extend(parts.next().map(|text| (*look, one_line(text))));
    for part in parts {
        let Some(sequence) = part.strip_prefix('[') else {
            pieces.push((*look, one_line(part)));
            continue;
        };
        let end = sequence.find(|c: char| ('@'..='~').contains(&c));
        let (codes, rest) = sequence.split_at(end.unwrap_or(sequence.len()));
        if rest.starts_with('m') {
            codes.split(';').for_each(|code| apply(look, code));
        }
        pieces.push((*look, one_line(rest.get(1..).unwrap_or_default())));
    }
    pieces.retain(|(_, text)| !text.is_empty());
    pieces
}

fn apply(look: &mut Look, code: &str) {
    match code.parse::<usize>().unwrap_or(0) {
        0 => *look = Look::default(),
        1 => look.bold = true,
        2 => look.dim = true,
        22 => (look.bold, look.dim) = (false, false),
        code @ 30..=37 => look.colour = Some(code - 30),
        39 => look.colour = None,
        code @ 90..=97 => look.colour = Some(code - 82),
        _ => {}
    }
}
