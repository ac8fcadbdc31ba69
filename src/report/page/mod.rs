//! The graph of services as a page to look around in.
//!
//! In: services, and the catalog of their hosts. Out: one HTML file that needs nothing else and asks nobody anything.
//! Never: a value of a resource, or markup that came from a name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::diagram;
use super::graph::GraphView;
use super::human::words::one_line;
use crate::catalog::{Catalog, HostCatalog};
use crate::secret::masked;

/// The page. Hosts and services are in it with their resources by kind and target, nothing more.
pub fn html(view: &GraphView, catalog: &Catalog) -> String {
    let name = one_line(catalog.owner.environment.as_str());
    let title = format!("{name}: services and hosts");
    let (style, script) = (include_str!("page.css"), include_str!("page.js"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src \
         'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>\n{script}</script>\n</body>\n</html>\n",
        title = diagram::escaped(&title),
        body = body(&name, &diagram::svg(view)),
        data = harmless(&data(view, catalog)),
    )
}

fn body(name: &str, picture: &str) -> String {
    let name = diagram::escaped(name);
    format!(
        "<header>\n<h1>{name}</h1>\n\
         <input id=\"search\" type=\"search\" placeholder=\"Find a service, role, host or resource   /\" \
         aria-label=\"Find\" autocomplete=\"off\" spellcheck=\"false\">\n<span id=\"found\" role=\"status\"></span>\n\
         <span class=\"zoom\"><button id=\"out\" aria-label=\"Smaller\">&#8722;</button>\
         <button id=\"fit\" title=\"Everything (0)\">Fit</button>\
         <button id=\"in\" aria-label=\"Larger\">+</button></span>\n</header>\n<main>\n\
         <div id=\"stage\" tabindex=\"0\" aria-label=\"The graph: arrow keys move it, + and - zoom\">\n{picture}</div>\n\
         <aside id=\"panel\" aria-live=\"polite\" hidden></aside>\n</main>\n"
    )
}

/// JSON that no `</script>` can end, and that is in one line for old engines, too.
fn harmless(data: &Value) -> String {
    let steers = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    let text = data.to_string();
    text.chars().map(|c| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

fn data(view: &GraphView, catalog: &Catalog) -> Value {
    let services = view.services.iter().map(|service| {
        let role = view.roles.get(&service.role);
        json!({
            "name": one_line(&service.name),
            "role": one_line(&service.role),
            "summary": role.map(|role| one_line(&role.summary)),
            "requires": role.map(|role| role.requires.iter().map(|name| one_line(name)).collect::<Vec<_>>()),
            "needs": service.needs.iter().map(|name| one_line(name)).collect::<Vec<_>>(),
            "hosts": service.hosts,
        })
    });
    let hosts: BTreeMap<&str, Value> =
        catalog.hosts.iter().map(|(name, host)| (name.as_str(), roles(catalog, host))).collect();
    json!({ "services": services.collect::<Vec<_>>(), "hosts": hosts })
}

fn roles(catalog: &Catalog, host: &HostCatalog) -> Value {
    let shown = |text: &str| one_line(&masked(text, &catalog.secrets));
    let roles = host.blocks.iter().map(|block| {
        let resources = block
            .items
            .iter()
            .map(|item| json!([item.resource.kind(), shown(&item.resource.target()), shown(&item.origin.to_string())]));
        json!({
            "role": block.role.as_str(),
            "service": block.service.as_ref().map(crate::name::ServiceName::as_str),
            "resources": resources.collect::<Vec<_>>(),
        })
    });
    json!({ "address": shown(&host.endpoint.address), "roles": roles.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_can_end_the_script() {
        let text = harmless(&json!({ "x": "</script><!-- & \u{2028}" }));
        assert_eq!(text, r#"{"x":"\u003c/script\u003e\u003c!-- \u0026 \u2028"}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), json!({ "x": "</script><!-- & \u{2028}" }));
    }

    #[test]
    fn the_page_asks_nobody_anything() {
        let files = [include_str!("page.css"), include_str!("page.js")].concat();
        for part in ["http:", "https:", "url(", "@import", "fetch(", "innerHTML", "document.write", "eval("] {
            assert!(!files.contains(part), "{part}");
        }
    }
}
