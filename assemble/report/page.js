"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const STEP = 100;
  const types = { f: "", d: "directory", l: "link", c: "device", b: "device", p: "fifo" };

  // make builds an element; text is always text.
  function make(tag, props, ...children) {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(props || {})) {
      if (k === "class") e.className = v;
      else if (k === "text") e.textContent = v;
      else e.setAttribute(k, v);
    }
    e.append(...children);
    return e;
  }
  function size(n) {
    if (n < 1000) return n + " B";
    let f = n / 1000, i = 0;
    while (f >= 999.5 && i < 3) { f /= 1000; i++; }
    return (f < 9.95 ? f.toFixed(1) : f.toFixed(0)) + " " + "kMGT"[i] + "B";
  }
  const number = (n) => n.toLocaleString("en-US");
  function hex(b64) {
    return Array.from(atob(b64), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  }
  const packageLink = (p, i) => make("a", { href: `#package-${p}-${i}` }, make("bdi", { text: data[p].names[i] }));

  // fileRow is a line of a table of files.
  function fileRow(p, f, short) {
    const [path, type, mode, uid, gid, bytes, owner, layer, sum, link] = f;
    const name = make("th", { scope: "row", class: "mono" }, make("bdi", { text: "/" + path }));
    if (link) name.append(make("span", { class: "muted", text: " → " }), make("bdi", { class: "muted", text: link }));
    else if (types[type]) name.append(make("span", { class: "muted", text: " " + types[type] }));
    const row = make("tr", {}, name);
    if (!short) row.append(owner >= 0 ? make("td", {}, packageLink(p, owner)) : make("td", { class: "muted", text: "–" }));
    row.append(make("td", { class: "mono", text: mode }), make("td", { class: "mono", text: uid + ":" + gid }));
    row.append(make("td", { class: "num", text: type === "f" ? size(bytes) : "–" }));
    if (!short) row.append(make("td", { class: "num", text: layer || "–" }));
    const digest = make("td", {});
    if (sum) { const h = hex(sum); digest.append(make("code", { title: h, text: h.slice(0, 12) })); }
    row.append(digest);
    return row;
  }

  // pages shows a list step by step.
  function pages(body, button, row) {
    let list = [], shown = 0;
    const more = () => {
      const part = document.createDocumentFragment();
      for (const f of list.slice(shown, shown + STEP)) part.append(row(f));
      shown = Math.min(shown + STEP, list.length);
      body.append(part);
      button.hidden = shown >= list.length;
    };
    button.addEventListener("click", () => {
      const first = shown;
      more();
      const next = body.rows[first];
      if (next) { next.tabIndex = -1; next.focus(); }
    });
    return (l) => { list = l; shown = 0; body.replaceChildren(); more(); return shown; };
  }

  function files(section, p) {
    const all = data[p].files, lower = all.map((f) => "/" + f[0].toLowerCase());
    const count = section.querySelector("[data-files-count]"), input = section.querySelector("[data-search]");
    const show = pages(section.querySelector("[data-files]"), section.querySelector("[data-more]"), (f) => fileRow(p, f, false));
    const search = () => {
      const words = input.value.toLowerCase().trim().split(/\s+/).filter(Boolean);
      const owners = words.filter((w) => w.startsWith("package:")).map((w) => w.slice(8));
      const parts = words.filter((w) => !w.startsWith("package:"));
      const found = all.filter((f, i) => parts.every((w) => lower[i].includes(w)) &&
        owners.every((o) => f[6] >= 0 && data[p].names[f[6]].toLowerCase() === o));
      const shown = show(found);
      count.textContent = `${number(found.length)} of ${number(all.length)} paths` + (shown < found.length ? `, the first ${shown} shown` : "");
    };
    let timer = 0;
    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 60); });
    search();
  }

  function packages(section, p) {
    const input = section.querySelector("[data-filter]");
    if (!input) return;
    const body = section.querySelector("tbody"), rows = Array.from(body.rows), texts = rows.map((r) => r.textContent.toLowerCase());
    const count = section.querySelector("[data-count]");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().trim().split(/\s+/).filter(Boolean);
      let n = 0;
      rows.forEach((r, i) => { r.hidden = !words.every((w) => texts[i].includes(w)); n += r.hidden ? 0 : 1; });
      count.textContent = `${number(n)} of ${number(rows.length)} packages`;
    });
    section.querySelectorAll("thead button").forEach((button) => button.addEventListener("click", () => {
      const th = button.parentElement, column = th.cellIndex, numeric = button.hasAttribute("data-number");
      const down = th.hasAttribute("aria-sort") ? th.getAttribute("aria-sort") === "ascending" : numeric;
      section.querySelectorAll("thead th").forEach((h) => h.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (r) => numeric ? Number(r.cells[column].dataset.value) : r.cells[column].textContent.toLowerCase();
      const sorted = rows.map((r, i) => [key(r), i, r]).sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) * (down ? -1 : 1) || a[1] - b[1]);
      body.replaceChildren(...sorted.map((x) => x[2]));
    }));
  }

  // One package, as a page over the page.
  const dialog = document.getElementById("package"), title = document.getElementById("package-title"), content = document.getElementById("package-body");
  let from = null;
  function facts(list) {
    const dl = make("dl", { class: "facts" });
    for (const [k, v] of list) if (v !== "" && v !== undefined) dl.append(make("div", k === "Maintainer" || k === "Home page" ? { class: "wide" } : {}, make("dt", { text: k }), make("dd", {}, v instanceof Node ? v : make("bdi", { text: v }))));
    return dl;
  }
  function links(name, items) {
    const out = [make("h3", { text: `${name} (${items.length})` })];
    out.push(items.length ? make("ul", { class: "links" }, ...items.map((i) => make("li", {}, i))) : make("p", { class: "muted small", text: "none" }));
    return out;
  }
  function openPackage(p, i) {
    const x = data[p] && data[p].packages[i];
    if (!x) return;
    title.replaceChildren(make("bdi", { text: x.n }), " ", make("span", { class: "muted mono", text: x.v }));
    const own = data[p].files.filter((f) => f[6] === i);
    const home = /^https?:\/\//.test(x.u || "") ? make("a", { href: x.u, rel: "noopener noreferrer", text: x.u }) : x.u;
    content.replaceChildren(
      make("p", { class: "lead" }, make("bdi", { text: x.d || "" })),
      facts([["Licence", x.l || "none given"], ["Installed", size(x.s)], ["Origin", x.o], ["Architecture", x.a], ["Layer", x.y.join(", ") || "none"], ["Maintainer", x.m], ["Home page", home]]),
      ...links("Needs", x.need.map((j) => packageLink(p, j))),
      ...links("Needed by", x.by.map((j) => packageLink(p, j))),
      ...links("Dependencies as written", x.dep.map((d) => make("code", { text: d }))),
      make("h3", { text: `Files (${number(own.length)})` }));
    const body = make("tbody"), button = make("button", { type: "button", text: "Show more" });
    const head = make("tr", {}, ...["Path", "Mode", "Owner", "Size", "SHA-256"].map((t) => make("th", { scope: "col", class: t === "Size" ? "num" : "", text: t })));
    content.append(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Files of the package" },
      make("table", { class: "files" }, make("caption", { class: "hide", text: "Files of the package" }), make("thead", {}, head), body)), make("p", {}, button));
    pages(body, button, (f) => fileRow(p, f, true))(own);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    title.focus();
  }
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#package-")) history.replaceState(null, "", location.pathname + location.search);
    if (from && from.isConnected) from.focus();
    from = null;
  });

  // Platforms: one is shown at a time, and the sections' names lead into it.
  const views = Array.from(document.querySelectorAll(".platform"));
  const switches = Array.from(document.querySelectorAll("[data-platform]"));
  let current = views[0];
  function choose(id) {
    current = views.find((v) => v.id === id) || current;
    for (const v of views) v.hidden = v !== current;
    for (const s of switches) s.setAttribute("aria-pressed", String(s.dataset.platform === current.id));
  }
  for (const s of switches) s.addEventListener("click", () => choose(s.dataset.platform));

  function go() {
    const hash = decodeURIComponent(location.hash.slice(1)), match = /^package-(\d+)-(\d+)$/.exec(hash);
    if (match) {
      choose("p" + match[1]);
      return openPackage(Number(match[1]), Number(match[2]));
    }
    if (dialog.open) dialog.close();
    const section = current && current.querySelector(`[data-section="${CSS.escape(hash)}"]`);
    if (section) {
      section.tabIndex = -1;
      section.scrollIntoView();
      return section.focus({ preventScroll: true });
    }
    const target = hash && document.getElementById(hash);
    if (!target) return;
    const view = target.closest(".platform");
    if (view) choose(view.id);
    for (let e = target.parentElement; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
    if (target.tagName === "TR") { document.querySelectorAll("tr.at").forEach((r) => r.classList.remove("at")); target.classList.add("at"); target.focus({ preventScroll: true }); }
  }
  document.addEventListener("click", (e) => {
    const link = e.target.closest && e.target.closest("a[href^='#']");
    if (!link) return;
    const href = link.getAttribute("href");
    if (href.startsWith("#package-") && !dialog.open) from = link;
    if (href === location.hash) { e.preventDefault(); go(); } // the same again
  });
  addEventListener("hashchange", go);
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy).textContent, before = button.textContent;
      try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Not allowed here"; }
      setTimeout(() => { button.textContent = before; }, 1500);
    });
  }
  for (const link of document.querySelectorAll("[data-section-link]")) link.href = "#" + link.dataset.sectionLink;
  views.forEach((v, i) => { files(v.querySelector('[data-section="files"]'), i); packages(v.querySelector('[data-section="packages"]'), i); });
  if (views.length) choose(views[0].id);
  if (location.hash) go();
})();
