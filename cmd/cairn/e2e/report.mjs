// Opens a page of cairn report in Chromium, as somebody who reads it does, and
// prints what was found as JSON:
//
//   node report.mjs PAGE OUTDIR SEARCH PACKAGE
//
// SEARCH is typed into the search for files, PACKAGE is opened from the table.
// Screenshots go to OUTDIR. Whatever the page asks the network for, whatever it
// writes to the console and whatever axe objects to is in the answer.
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [, , page, out, search, name] = process.argv;
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const found = { console: [], requests: [], dialogs: [], violations: [], steps: {} };

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });

async function open(scheme, width) {
  // The policy of the page keeps axe out too; it is switched off where axe runs,
  // and only there.
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme === "dark" ? "dark" : "light", bypassCSP: scheme !== "plain" });
  const p = await context.newPage();
  p.on("console", (m) => found.console.push(`${m.type()}: ${m.text()}`));
  p.on("pageerror", (e) => found.console.push(`error: ${e.message}`));
  p.on("dialog", (d) => { found.dialogs.push(d.message()); d.dismiss(); });
  p.on("request", (r) => { if (!r.url().startsWith("file://")) found.requests.push(r.url()); });
  const loading = Date.now();
  await p.goto("file://" + page);
  found.steps.loaded = Date.now() - loading;
  return p;
}

async function inspect(p, where) {
  await p.addScriptTag({ path: axe });
  const r = await p.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const v of r.violations) for (const n of v.nodes) found.violations.push(`${where}: ${v.id}: ${v.help}: ${n.target.join(" ")}`);
}

// As it is, with its policy.
{
  const p = await open("plain", 1280);
  found.steps.policy = await p.locator("meta[http-equiv=Content-Security-Policy]").getAttribute("content");
  await p.screenshot({ path: `${out}/top.png` });

  const files = p.locator(".platform:not([hidden]) [data-section=files]");
  found.steps.paths = await files.locator("[data-files-count]").textContent();
  await files.locator("[data-search]").fill(search);
  const began = Date.now();
  await p.waitForFunction((was) => document.querySelector(".platform:not([hidden]) [data-files-count]").textContent !== was, found.steps.paths);
  found.steps.searched = Date.now() - began;
  found.steps.matches = await files.locator("[data-files-count]").textContent();
  found.steps.rows = await files.locator("tbody tr").count();
  found.steps.firstPath = await files.locator("tbody tr th").first().textContent();
  await files.scrollIntoViewIfNeeded();
  await p.screenshot({ path: `${out}/search.png` });
  const more = files.locator("[data-more]");
  await files.locator("[data-search]").fill("");
  await p.waitForTimeout(150);
  if (await more.isVisible()) {
    await more.click();
    found.steps.more = await files.locator("tbody tr").count();
  }

  // The picture: by keyboard.
  const tile = p.locator(".platform:not([hidden]) .tile").first();
  found.steps.tiles = await p.locator(".platform:not([hidden]) .tile").count();
  found.steps.tile = await tile.getAttribute("aria-label");
  await tile.focus();
  await p.screenshot({ path: `${out}/picture.png` });
  await p.keyboard.press("Enter");
  await p.locator("dialog[open]").waitFor({ timeout: 5000 }).catch(() => {});
  found.steps.opened = (await p.locator("dialog[open] h2").count()) ? await p.locator("dialog[open] h2").textContent() : "";
  if (found.steps.opened) {
    await p.keyboard.press("Escape");
    found.steps.focusBack = await tile.evaluate((e) => document.activeElement === e);
  }

  // The package page: from the table, through the filter.
  const packages = p.locator(".platform:not([hidden]) [data-section=packages]");
  await packages.locator("[data-filter]").fill(name);
  found.steps.filtered = await packages.locator("[data-count]").textContent();
  await packages.locator("tbody tr:visible a").first().click();
  await p.locator("dialog[open]").waitFor();
  found.steps.package = await p.locator("#package-title bdi").textContent();
  found.steps.packageFiles = await p.locator("#package-body tbody tr").count();
  found.steps.packageText = await p.locator("#package-body").textContent();
  found.steps.hash = await p.evaluate(() => location.hash);
  await p.screenshot({ path: `${out}/package.png` });
  await p.locator("[data-close]").click();
  await packages.locator("[data-filter]").fill("");

  // Sorting by size, the largest first.
  await packages.locator("thead button", { hasText: "Installed" }).click();
  found.steps.sorted = await packages.locator("tbody tr td[data-value]:nth-of-type(4)").evaluateAll((l) => l.map((e) => Number(e.dataset.value)));

  // The badges tell what is known.
  found.steps.badges = await p.locator(".badge").evaluateAll((l) => l.map((e) => e.textContent.trim().replace(/\s+/g, " ")));
  found.steps.good = await p.locator(".good").count();
  const platforms = p.locator("[data-platform]");
  found.steps.platforms = await platforms.count();
  if (found.steps.platforms > 1) {
    await platforms.nth(1).click();
    found.steps.second = await p.locator(".platform:not([hidden])").evaluateAll((l) => l.map((e) => e.id));
  }
  await p.context().close();
}

for (const scheme of ["light", "dark"]) {
  const p = await open(scheme, 1280);
  await inspect(p, scheme);
  await p.screenshot({ path: `${out}/${scheme}.png`, fullPage: true });
  for (const d of await p.locator("details").all()) await d.evaluate((e) => { e.open = true; });
  await p.locator(".platform:not([hidden]) [data-section=packages] tbody tr a").first().click();
  await p.locator("dialog[open]").waitFor();
  await inspect(p, scheme + ", package");
  await p.context().close();
}
{
  const p = await open("light", 390);
  await inspect(p, "small");
  found.steps.wide = await p.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await p.screenshot({ path: `${out}/small.png` });
  await p.context().close();
}
await browser.close();
console.log(JSON.stringify(found));
