//! The graph of services as a picture.
//!
//! In: services and roles, as the list shows them. Out: an SVG file that needs nothing else, light or dark as its reader
//! likes. Never: markup or a style that came from a name.

mod layout;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use self::layout::{Point, Size, number};
use super::graph::{GraphService, GraphView};
use super::human::words::{self, one_line};

const MARGIN: f64 = 24.0;
/// Inside a box.
const PADDING: f64 = 14.0;
const TITLE: f64 = 15.0;
const SMALL: f64 = 12.0;
/// How wide a character is, for its size: bold, and of the monospaced fonts.
const BOLD: f64 = 0.62;
const MONO: f64 = 0.602;
/// Of a box.
const NARROWEST: f64 = 150.0;
const WIDEST: f64 = 300.0;
/// What a text of one line has at most.
const ROOM: f64 = WIDEST - 2.0 * PADDING;
/// Chips of hosts.
const CHIP: f64 = 22.0;
const CHIP_GAP: f64 = 6.0;
const MOST_ROWS: usize = 4;
const LEGEND: f64 = 30.0;

/// Colours, for a light page; the second are for a dark one.
pub(super) const STYLE: &str = "\
svg.armilla{--page:#ffffff;--box:#f6f8fb;--edge:#c3ccd9;--ink:#17212f;--soft:#566478;--chip:#e2e9f3;--line:#8393a8;--mark:#2563c9}\
@media(prefers-color-scheme:dark){svg.armilla{--page:#14181f;--box:#1d232d;--edge:#3a4555;--ink:#e6ebf2;--soft:#9aa8ba;--chip:#2b3543;--line:#71829a;--mark:#7fb0ff}}\
svg.armilla .page{fill:#fff;fill:var(--page)}\
svg.armilla .box{fill:#f6f8fb;fill:var(--box);stroke:#c3ccd9;stroke:var(--edge);stroke-width:1.2}\
svg.armilla .name{fill:#17212f;fill:var(--ink);font-weight:650;font-size:15px}\
svg.armilla .soft{fill:#566478;fill:var(--soft);font-size:12px}\
svg.armilla .chip rect{fill:#e2e9f3;fill:var(--chip)}\
svg.armilla .chip text{fill:#17212f;fill:var(--ink);font:12px ui-monospace,'SF Mono',Menlo,'DejaVu Sans Mono',Consolas,monospace}\
svg.armilla .arrow{fill:none;stroke:#8393a8;stroke:var(--line);stroke-width:1.6}\
svg.armilla .head{fill:#8393a8;fill:var(--line)}";

/// One service with what its box says.
struct Card<'a> {
    service: &'a GraphService,
    lines: Vec<String>,
    rows: Vec<Vec<Chip>>,
    size: Size,
}

#[derive(Debug, Clone)]
struct Chip {
    text: String,
    /// The host, if it is one.
    host: Option<String>,
    width: f64,
}

/// The picture: what is done first is on the left, and arrows go to what waits for it.
pub fn svg(view: &GraphView) -> String {
    let cards: Vec<Card<'_>> = view.services.iter().map(|service| card(view, service)).collect();
    let places: BTreeMap<&str, usize> =
        view.services.iter().enumerate().map(|(index, service)| (service.name.as_str(), index)).collect();
    let edges: Vec<(usize, usize)> = view
        .services
        .iter()
        .enumerate()
        .flat_map(|(to, service)| {
            service.needs.iter().filter_map(|need| places.get(need.as_str())).map(move |from| (*from, to))
        })
        .collect();
    let drawing = layout::draw(&cards.iter().map(|card| card.size).collect::<Vec<_>>(), &edges);
    let width = (drawing.size.width + 2.0 * MARGIN).max(360.0);
    let height = drawing.size.height + 2.0 * MARGIN + LEGEND;
    let mut svg = head(width, height, &words::count(view.services.len(), "service"));
    for (way, (from, to)) in drawing.arrows.iter().zip(&edges) {
        arrow(&mut svg, way, &view.services[*from].name, &view.services[*to].name);
    }
    for (card, place) in cards.iter().zip(&drawing.boxes) {
        draw_card(&mut svg, card, Point { x: place.x + MARGIN, y: place.y + MARGIN });
    }
    let legend =
        "Services on the left come first; an arrow leads to a service that waits until the one before it is healthy.";
    let legend = if edges.is_empty() { "No service waits for another." } else { legend };
    let _ = writeln!(svg, "<text class=\"soft\" x=\"{MARGIN}\" y=\"{:.1}\">{legend}</text>", height - 16.0);
    svg.push_str("</svg>\n");
    svg
}

fn head(width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"armilla\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"{title} and what they wait for\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\">\n<style>{STYLE}</style>\n\
         <defs><marker id=\"head\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path class=\"head\" d=\"M0 0L10 5L0 10z\"/></marker></defs>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
    )
}

// -- what stands in a box ---------------------------------------------------------------------------------------------

fn card<'a>(view: &GraphView, service: &'a GraphService) -> Card<'a> {
    let mut lines = Vec::new();
    if service.role != service.name {
        lines.push(format!("role {}", one_line(&service.role)));
    }
    let requires = view.roles.get(&service.role).map(|role| role.requires.as_slice()).unwrap_or_default();
    if !requires.is_empty() {
        lines.push(format!("with {}", words::list(&requires.iter().map(|name| one_line(name)).collect::<Vec<_>>())));
    }
    let lines: Vec<String> = lines.iter().map(|line| shortened(line, ROOM, SMALL * BOLD)).collect();
    let title = text_width(&shortened(&one_line(&service.name), ROOM, TITLE * BOLD), TITLE * BOLD);
    let said = lines.iter().map(|line| text_width(line, SMALL * BOLD)).fold(title, f64::max);
    let chips = chips(service);
    let all: f64 = chips.iter().map(|chip| chip.width + CHIP_GAP).sum::<f64>() - CHIP_GAP;
    // Up to four hosts side by side, more in a square.
    let wanted = if chips.len() <= 4 { all } else { (all * (CHIP + CHIP_GAP)).sqrt() * 1.6 };
    let longest = chips.iter().map(|chip| chip.width).fold(0.0, f64::max);
    let inner = said.max(wanted).max(longest).clamp(NARROWEST - 2.0 * PADDING, ROOM);
    let rows = rows(chips, inner);
    let height = PADDING * 2.0
        + TITLE
        + number(lines.len()) * (SMALL + 5.0)
        + if rows.is_empty() { 0.0 } else { 10.0 + number(rows.len()) * (CHIP + CHIP_GAP) - CHIP_GAP };
    Card { service, lines, rows, size: Size { width: inner + 2.0 * PADDING, height } }
}

fn chips(service: &GraphService) -> Vec<Chip> {
    if service.hosts.is_empty() {
        return vec![chip("no host", None)];
    }
    let names = words::hosts(&service.hosts);
    let is_host = |text: &str| service.hosts.iter().any(|host| host.as_str() == text);
    names.split(' ').map(|text| chip(text, is_host(text).then(|| text.to_owned()))).collect()
}

fn chip(text: &str, host: Option<String>) -> Chip {
    let text = shortened(text, ROOM - 16.0, SMALL * MONO);
    let width = text_width(&text, SMALL * MONO) + 16.0;
    Chip { text, host, width }
}

/// Chips in rows of at most this width; what does not fit into the last row is counted.
fn rows(chips: Vec<Chip>, most: f64) -> Vec<Vec<Chip>> {
    let mut rows: Vec<Vec<Chip>> = Vec::new();
    let (mut used, mut left) = (f64::INFINITY, chips.len());
    for chip in chips {
        if used + CHIP_GAP + chip.width > most + 0.5 {
            if rows.len() == MOST_ROWS {
                // The last chip of the last row makes place for the number.
                let last = rows.last_mut().and_then(Vec::pop).map_or(0, |_| 1);
                rows.last_mut().into_iter().for_each(|row| row.push(self::chip(&format!("+ {}", left + last), None)));
                return rows;
            }
            rows.push(Vec::new());
            used = -CHIP_GAP;
        }
        used += CHIP_GAP + chip.width;
        left -= 1;
        rows.last_mut().into_iter().for_each(|row| row.push(chip.clone()));
    }
    rows
}

fn text_width(text: &str, cell: f64) -> f64 {
    // Letters of the far east are twice as wide.
    text.chars().map(|c| if c > '\u{2e7f}' { 1.7 * cell } else { cell }).sum()
}

/// The text, or its beginning.
fn shortened(text: &str, most: f64, cell: f64) -> String {
    if text_width(text, cell) <= most {
        return text.to_owned();
    }
    let mut used = cell;
    let fits = |c: &char| {
        used += text_width(&c.to_string(), cell);
        used <= most
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

// -- drawing ----------------------------------------------------------------------------------------------------------

fn draw_card(svg: &mut String, card: &Card<'_>, at: Point) {
    let name = one_line(&card.service.name);
    let _ = writeln!(
        svg,
        "<g class=\"service\" data-service=\"{0}\"><title>{0}</title>\n<rect class=\"box\" x=\"{1:.1}\" y=\"{2:.1}\" \
         width=\"{3:.1}\" height=\"{4:.1}\" rx=\"9\"/>",
        escaped(&name),
        at.x,
        at.y,
        card.size.width,
        card.size.height
    );
    let (x, mut y) = (at.x + PADDING, at.y + PADDING + TITLE - 3.0);
    let title = escaped(&shortened(&name, ROOM, TITLE * BOLD));
    let _ = writeln!(svg, "<text class=\"name\" x=\"{x:.1}\" y=\"{y:.1}\">{title}</text>");
    for line in &card.lines {
        y += SMALL + 5.0;
        let _ = writeln!(svg, "<text class=\"soft\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(line));
    }
    y += 13.0;
    for row in &card.rows {
        let mut x = x;
        for chip in row {
            draw_chip(svg, chip, Point { x, y });
            x += chip.width + CHIP_GAP;
        }
        y += CHIP + CHIP_GAP;
    }
    svg.push_str("</g>\n");
}

fn draw_chip(svg: &mut String, chip: &Chip, at: Point) {
    let host = chip.host.as_ref().map(|host| format!(" data-host=\"{}\"", escaped(host))).unwrap_or_default();
    let _ = writeln!(
        svg,
        "<g class=\"chip\"{host}><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{CHIP}\" rx=\"6\"/><text x=\"{:.1}\" \
         y=\"{:.1}\">{}</text></g>",
        at.x,
        at.y,
        chip.width,
        at.x + 8.0,
        at.y + 15.0,
        escaped(&chip.text)
    );
}

/// Straight through columns, bent between them.
fn arrow(svg: &mut String, way: &[Point], from: &str, to: &str) {
    let at = |point: &Point| format!("{:.1} {:.1}", point.x + MARGIN, point.y + MARGIN);
    let Some(first) = way.first() else { return };
    let mut path = format!("M{}", at(first));
    for pair in way.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if (a.y - b.y).abs() < 0.5 {
            let _ = write!(path, "L{}", at(b));
        } else {
            let bend = (b.x - a.x) / 2.0;
            let (first, second) = (Point { x: a.x + bend, y: a.y }, Point { x: b.x - bend, y: b.y });
            let _ = write!(path, "C{} {} {}", at(&first), at(&second), at(b));
        }
    }
    let (from, to) = (escaped(&one_line(from)), escaped(&one_line(to)));
    let _ = writeln!(
        svg,
        "<path class=\"arrow\" data-from=\"{from}\" data-to=\"{to}\" d=\"{path}\" marker-end=\"url(#head)\"/>"
    );
}

/// A text that is only a text, in an element and in an attribute.
pub(super) fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::HostName;

    #[test]
    fn a_name_is_never_markup() {
        let hostile = "<script>\"'&\u{202e}".to_owned();
        let host = HostName::new("zk1").expect("a name");
        let service = GraphService { name: hostile.clone(), role: hostile, hosts: vec![host], needs: vec![] };
        let picture = svg(&GraphView { services: vec![service], roles: BTreeMap::new() });
        assert!(!picture.contains("<script>") && !picture.contains('\u{202e}'), "{picture}");
        assert!(picture.contains("&lt;script&gt;&quot;&#39;&amp;\\u{202e}"), "{picture}");
    }

    #[test]
    fn hosts_that_have_no_place_are_counted() {
        let hosts: Vec<HostName> =
            (0..200).map(|n| HostName::new(&format!("odd-{}-host", n * 3)).expect("a name")).collect();
        let service = GraphService { name: "s".into(), role: "s".into(), hosts, needs: vec![] };
        let card = card(&GraphView::default(), &service);
        let shown = card.rows.iter().flatten().filter(|chip| chip.host.is_some()).count();
        let last = card.rows.last().and_then(|row| row.last()).map(|chip| chip.text.clone());
        assert_eq!((card.rows.len(), last), (MOST_ROWS, Some(format!("+ {}", 200 - shown))));
        assert!(card.size.width <= WIDEST);
    }
}
