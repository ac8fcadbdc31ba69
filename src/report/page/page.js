"use strict";
// Names become text nodes and attributes, never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const stage = document.getElementById("stage");
const svg = stage.querySelector("svg");
const panel = document.getElementById("panel");
const search = document.getElementById("search");
const whole = { x: 0, y: 0, w: svg.viewBox.baseVal.width, h: svg.viewBox.baseVal.height };
let view = { ...whole };
let chosen = null;
// Whoever has looked closer keeps what they see.
let touched = false;

// -- looking around -------------------------------------------------------------------------------------------------

function show() {
  svg.setAttribute("viewBox", [view.x, view.y, view.w, view.h].join(" "));
}

// So many pixels of the picture are one of the screen.
function scale() {
  const box = stage.getBoundingClientRect();
  return Math.max(view.w / Math.max(box.width, 1), view.h / Math.max(box.height, 1));
}

function zoom(factor, at) {
  touched = true;
  const width = Math.min(Math.max(view.w * factor, whole.w / 12), whole.w * 4);
  const by = width / view.w;
  const x = at ? at.x : view.x + view.w / 2;
  const y = at ? at.y : view.y + view.h / 2;
  view = { x: x - (x - view.x) * by, y: y - (y - view.y) * by, w: width, h: view.h * by };
  show();
}

function fit() {
  touched = false;
  const box = stage.getBoundingClientRect();
  // What fits is not blown up.
  const grow = Math.max(1, Math.min(box.width / whole.w, box.height / whole.h));
  view = { x: -(whole.w * (grow - 1)) / 2, y: -(whole.h * (grow - 1)) / 2, w: whole.w * grow, h: whole.h * grow };
  show();
}

function place(event) {
  const point = new DOMPoint(event.clientX, event.clientY);
  return point.matrixTransform(svg.getScreenCTM().inverse());
}

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 300), place(event));
}, { passive: false });

const fingers = new Map();
let moved = 0;
stage.addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, event);
  moved = 0;
});
stage.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const by = scale();
  touched = true;
  if (fingers.size === 1) {
    view.x -= (event.clientX - before.clientX) * by;
    view.y -= (event.clientY - before.clientY) * by;
    show();
  } else {
    const [a, b] = [...fingers.values()];
    const other = a.pointerId === event.pointerId ? b : a;
    const far = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    zoom(Math.max(far(before), 1) / Math.max(far(event), 1), place(event));
  }
  moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
  if (moved > 4 && !stage.hasPointerCapture(event.pointerId)) {
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("moving");
  }
  fingers.set(event.pointerId, event);
});
for (const name of ["pointerup", "pointercancel"]) {
  stage.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    stage.classList.remove("moving");
  });
}

document.getElementById("in").addEventListener("click", () => zoom(0.8));
document.getElementById("out").addEventListener("click", () => zoom(1.25));
document.getElementById("fit").addEventListener("click", fit);
window.addEventListener("resize", () => { if (!touched) fit(); });

// -- choosing -------------------------------------------------------------------------------------------------------

function make(name, content, classes) {
  const element = document.createElement(name);
  if (classes) element.className = classes;
  for (const one of [].concat(content ?? [])) element.append(one);
  return element;
}

function names(list, choose) {
  const row = make("div", [], "names");
  for (const name of list) {
    const button = make("button", name);
    button.addEventListener("click", () => choose(name));
    row.append(button);
  }
  return row;
}

function heading(title) {
  const close = make("button", "\u00d7");
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", forget);
  return make("h2", [make("span", title), close]);
}

function open(...content) {
  panel.replaceChildren(...content);
  panel.hidden = false;
  panel.scrollTop = 0;
}

function section(title, content) {
  return [make("h3", title), content];
}

function chooseService(name) {
  const service = data.services.find((one) => one.name === name);
  if (!service) return;
  chosen = { service: name };
  const users = data.services.filter((one) => one.needs.includes(name)).map((one) => one.name);
  const parts = [heading(name), make("p", "service, role " + service.role)];
  if (service.summary) parts.push(make("p", service.summary));
  if (service.needs.length) parts.push(...section("waits for", names(service.needs, chooseService)));
  if (users.length) parts.push(...section("needed by", names(users, chooseService)));
  if ((service.requires || []).length) parts.push(...section("brings along", make("p", service.requires.join(", "))));
  const many = service.hosts.length;
  parts.push(...section(many === 1 ? "1 host" : many + " hosts", names(service.hosts, chooseHost)));
  open(...parts);
  paint();
}

function chooseHost(name) {
  const host = data.hosts[name];
  chosen = { host: name };
  const parts = [heading(name)];
  if (!host) parts.push(make("p", "Left out by a limit: nothing is known of it here."));
  else if (host.address !== name) parts.push(make("p", host.address));
  for (const block of host ? host.roles : []) {
    const list = make("ul");
    for (const [kind, target, origin] of block.resources) {
      list.append(make("li", [make("span", kind, "kind"), make("code", target), make("small", origin)]));
    }
    const title = block.service ? "service " + block.service : "role " + block.role;
    parts.push(...section(title + ", " + block.resources.length + (block.resources.length === 1 ? " resource" : " resources"), list));
  }
  open(...parts);
  paint();
}

function forget() {
  chosen = null;
  panel.hidden = true;
  paint();
}

const services = [...svg.querySelectorAll("g.service")];
const chips = [...svg.querySelectorAll("g.chip")];
const arrows = [...svg.querySelectorAll(".arrow")];

function reach(element, label, choose) {
  element.setAttribute("tabindex", "0");
  element.setAttribute("role", "button");
  element.setAttribute("aria-label", label);
  element.addEventListener("click", (event) => {
    event.stopPropagation();
    if (moved <= 4) choose();
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    choose();
  });
}
for (const box of services) reach(box, "service " + box.dataset.service, () => chooseService(box.dataset.service));
for (const chip of chips) {
  const service = chip.closest("g.service").dataset.service;
  const host = chip.dataset.host;
  if (host) reach(chip, "host " + host, () => chooseHost(host));
  else reach(chip, "hosts of " + service, () => chooseService(service));
}

// -- finding --------------------------------------------------------------------------------------------------------

function fits(service, text) {
  const about = [service.name, service.role, service.summary || "", ...service.hosts];
  if (about.some((one) => one.toLowerCase().includes(text))) return true;
  return service.hosts.some((name) => (data.hosts[name] ? data.hosts[name].roles : []).some((block) =>
    (block.service === service.name || block.service === null) &&
    block.resources.some(([kind, target]) => (kind + " " + target).toLowerCase().includes(text))));
}

function paint() {
  const text = search.value.trim().toLowerCase();
  const found = new Set(data.services.filter((service) => !text || fits(service, text)).map((service) => service.name));
  document.getElementById("found").textContent = text ? found.size + " of " + data.services.length : "";
  for (const box of services) {
    box.classList.toggle("faint", !found.has(box.dataset.service));
    box.classList.toggle("chosen", Boolean(chosen) && chosen.service === box.dataset.service);
  }
  for (const chip of chips) {
    chip.classList.toggle("chosen", Boolean(chosen) && Boolean(chosen.host) && chip.dataset.host === chosen.host);
  }
  for (const arrow of arrows) {
    const { from, to } = arrow.dataset;
    arrow.classList.toggle("faint", !found.has(from) || !found.has(to));
    arrow.classList.toggle("chosen", Boolean(chosen) && (chosen.service === from || chosen.service === to));
  }
}

search.addEventListener("input", paint);
search.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    const first = services.find((box) => !box.classList.contains("faint"));
    if (first) chooseService(first.dataset.service);
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (search.value) search.value = "";
    forget();
    return;
  }
  if (document.activeElement === search) return;
  const step = 60 * scale();
  const keys = {
    "/": () => search.focus(), "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), "0": fit,
    ArrowLeft: () => (view.x -= step), ArrowRight: () => (view.x += step),
    ArrowUp: () => (view.y -= step), ArrowDown: () => (view.y += step),
  };
  if (!keys[event.key] || panel.contains(document.activeElement)) return;
  event.preventDefault();
  touched = true;
  keys[event.key]();
  show();
});

fit();
paint();
