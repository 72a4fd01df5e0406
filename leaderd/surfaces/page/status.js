"use strict";
// The page is one more reader of the snapshot: it asks for no promise, and it lets a lease run out by its own clock when no news comes.
const POLL_MS = 2000, TICK_MS = 100, SETTLE_MS = 80, RETRY_MS = 30000, RANGES = [["15 min", 900], ["24 h", 86400], ["All", 0]];
const WORDS = {
  lease_held: "", other_leader: "", in_queue: "", store_silent: "The store is silent; the lease holds until it runs out.",
};
const $ = (id) => document.getElementById(id);
const cards = new Map();
let ttlNoticed = 10000, lastNews = performance.now(), settle = 0, source = null, fetching = false, again = false;

const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const tone = (node, value) => { if (node.dataset.tone !== value) node.dataset.tone = value; };
const show = (node, yes) => { if (node.hidden === yes) node.hidden = !yes; };
const make = (name, text, cls) => { const node = document.createElement(name); if (text !== undefined) node.textContent = text; if (cls) node.className = cls; return node; };
const draw = (name, attributes, text) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};

function span(seconds) {
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 120) return Math.floor(seconds) + " s";
  if (seconds < 7200) return Math.floor(seconds / 60) + " min";
  if (seconds < 172800) return Math.floor(seconds / 3600) + " h " + Math.floor(seconds % 3600 / 60) + " min";
  return Math.floor(seconds / 86400) + " days";
}
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = (ms) => { const at = new Date(ms); return (at.toDateString() === new Date().toDateString() ? "" : at.toLocaleDateString() + " ") + clock(ms); };

// ---- news from the daemon

function follow() {
  source = new EventSource("/v1/events?promise=0");
  source.onopen = () => { put($("link"), "live"); tone($("link"), "good"); };
  source.onerror = () => {
    const given = source.readyState === EventSource.CLOSED;  // no stream to be had just now: asking again and again must do
    if (given) setTimeout(follow, RETRY_MS);
    put($("link"), given ? "asks every 2 s" : "reconnecting");
    tone($("link"), given ? "quiet" : "warn");
  };
  for (const kind of ["state", "acquired", "lost", "leader_changed", "paused", "queue", "store", "tick"]) {
    source.addEventListener(kind, (event) => { heard(); let body; try { body = JSON.parse(event.data); } catch { return; } if (kind === "tick") validity(body); else soon(); });
  }
}
function heard() { lastNews = performance.now(); }
function soon() { if (!settle) settle = setTimeout(() => { settle = 0; refresh(); }, SETTLE_MS); }

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(4000) });
  if (!answer.ok) throw new Error(path + " answered " + answer.status);
  return answer.json();
}
async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const asked = performance.now();
    const found = await ask("/v1/elections");
    heard();
    overview(found, asked);
    await Promise.allSettled(found.elections.map(history));
  } catch { /* what is shown grows old, and says so */ } finally {
    fetching = false;
    if (again) { again = false; soon(); }
  }
}
async function history(election) {
  const card = cards.get(election.election);
  const key = election.index + "/" + election.leader_instance;
  if (!card || card.historyKey === key && card.settledUntil < performance.now()) return;
  if (card.historyKey !== key) card.settledUntil = performance.now() + 5000;  // a term is written down a moment after it began
  card.historyKey = key;
  const found = await ask("/v1/elections/" + encodeURIComponent(election.election) + "/history");
  card.history = found.terms || [];
  terms(card);
}

// ---- what is shown

function overview(found, asked) {
  put($("instance"), "on " + found.instance);
  store(found.store);
  const names = new Set(found.elections.map((each) => each.election));
  for (const [name, card] of cards) if (!names.has(name)) { card.node.remove(); cards.delete(name); }
  for (const each of found.elections) election(each, asked);
  const led = found.elections.filter((each) => each.leader).length;
  document.title = (led ? "\u25CF " : "\u25CB ") + found.instance + (led ? " leads" + (found.elections.length > 1 ? " " + led + " of " + found.elections.length : "") : " follows") + " \u2013 leaderd";
}
function store(found) {
  if (!found) return;
  put($("store"), found.kind + (found.connected ? " connected" : " not connected" + (found.last_seen_ms === null ? "" : ", last answer " + span(found.last_seen_ms / 1000) + " ago")));
  tone($("store"), found.connected ? "good" : "bad");
}
function cardOf(name) {
  let card = cards.get(name);
  if (card) return card;
  const node = $("card").content.firstElementChild.cloneNode(true);
  const part = (selector) => node.querySelector(selector);
  card = { node, part, until: null, most: 1, range: null, history: [], historyKey: "", settledUntil: 0, since: null };
  node.dataset.election = name;
  node.setAttribute("aria-label", name);
  put(part("h2"), name);
  for (const [label, seconds] of RANGES) {
    const button = make("button", label);
    button.type = "button";
    button.onclick = () => { card.range = seconds; terms(card); };
    button.dataset.seconds = seconds;
    part(".ranges").append(button);
  }
  cards.set(name, card);
  $("elections").append(node);
  return card;
}
function election(each, asked) {
  const card = cardOf(each.election), part = card.part;
  card.body = each;
  if (each.timing) { card.most = Math.max(1, each.timing.valid_for_max_s * 1000); ttlNoticed = each.timing.ttl_s * 1000; }
  state(card, each);
  const leading = each.candidates.find((one) => one.leader);
  const leader = part(".leader");
  put(leader, each.leader_instance || (each.leader ? each.instance : each.pause ? "nobody" : "nobody, or not known"));
  if (each.leader) leader.append(" ", make("small", "this instance"));
  const token = each.token_text ?? each.token ?? leading?.token;
  put(part(".token"), token === null || token === undefined ? "\u2013" : "#" + token);
  card.since = each.term_started_at ? Date.parse(each.term_started_at) : null;
  card.until = each.leader ? asked + each.lease_remaining_ms : null;
  pause(card, each.pause);
  put(part(".why"), each.pause ? "" : WORDS[each.reason] ?? [each.reason.replaceAll("_", " "), each.detail].filter(Boolean).join(": "));
  queue(part(".queue ol"), each.candidates);
  run(card);
}
function state(card, each) {
  const pill = card.part(".state");
  put(pill, each.leader ? (each.state === "suspended" ? "leads here, store silent" : "leads here") : each.state === "follower" ? "follows here" : each.state);
  tone(pill, each.leader ? (each.state === "suspended" ? "warn" : "good") : each.state === "follower" ? "quiet" : each.state === "unknown" ? "bad" : "warn");
}
function pause(card, found) {
  const banner = card.part(".pause");
  show(banner, Boolean(found));
  if (!found) return;
  const until = found.expires_at ? ", until " + day(Date.parse(found.expires_at)) : ", until somebody resumes it";
  put(banner, "Paused" + (found.by ? " by " + found.by : "") + until + (found.reason ? ": " + found.reason : "") + ". Nobody leads.");
}
function queue(list, candidates) {
  const wanted = candidates.length ? candidates.map((one) => [one.instance + (one.own ? " (this instance)" : ""), one.leader ? "leads" : ""]) : [["nobody seen", "none"]];
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  wanted.forEach(([text, cls], place) => {
    const item = list.children[place] || list.appendChild(make("li"));
    put(item, text);
    item.className = cls;
  });
}
function validity(body) {
  for (const one of Array.isArray(body.elections) ? body.elections : [body]) {
    const card = cards.get(one.election);
    if (!card) continue;
    if (card.body && card.body.index !== one.index) soon();
    card.until = one.leader ? performance.now() + one.lease_remaining_ms : null;
    if (card.body) { card.body.leader = one.leader; card.body.state = one.state; state(card, card.body); }
    if (one.store) store(one.store);
    run(card);
  }
}
function run(card) {
  const lease = card.part(".lease"), left = card.until === null ? 0 : Math.max(0, card.until - performance.now());
  show(lease, card.until !== null);
  if (card.until !== null) {
    const part = Math.min(1, left / card.most);
    card.part(".fill").style.width = (part * 100).toFixed(1) + "%";
    tone(lease, part > .4 ? "good" : part > .15 ? "warn" : "bad");
    lease.setAttribute("aria-valuemax", (card.most / 1000).toFixed(1));
    lease.setAttribute("aria-valuenow", (left / 1000).toFixed(1));
    put(card.part(".left"), left > 0 ? (left / 1000).toFixed(1) + " s left of " + (card.most / 1000).toFixed(1) + " s" : "ran out");
    if (left === 0) { put(card.part(".state"), "lease ran out"); tone(card.part(".state"), "bad"); put(card.part(".leader"), "nobody, or not known"); }
  }
  put(card.part(".since"), card.since === null ? "\u2013" : span(Math.max(0, (Date.now() - card.since) / 1000)));
}

// ---- the last terms

function terms(card) {
  const all = card.history.map((one) => ({ ...one, from: Date.parse(one.started_at), to: one.ended_at ? Date.parse(one.ended_at) : null })).filter((one) => !isNaN(one.from)).sort((a, b) => a.token - b.token);
  show(card.part(".terms"), all.length > 0);
  if (!all.length) return;
  const last = all[all.length - 1];
  if (last.to === null && card.since === null) card.since = last.from;
  const now = Date.now();
  if (card.range === null) card.range = now - all[Math.max(0, all.length - 6)].from < 900e3 ? 900 : now - all[Math.max(0, all.length - 3)].from < 86400e3 ? 86400 : 0;
  for (const button of card.part(".ranges").children) button.setAttribute("aria-pressed", String(Number(button.dataset.seconds) === card.range));
  timeline(card, all, now);
  const rows = [...all].reverse().slice(0, 20).map((one) => {
    const row = make("tr");
    row.append(make("td", "#" + one.token), make("td", one.leader), make("td", day(one.from)), make("td", span(Math.max(0, (one.to ?? now) - one.from) / 1000)), make("td", one.to === null ? "still leading" : one.reason || ""));
    return row;
  });
  card.part("tbody").replaceChildren(...rows);
}
function timeline(card, all, now) {
  const width = Math.max(280, card.part(".picture").clientWidth || 900), lane = 26, label = Math.min(150, width * .3);
  const start = card.range ? now - card.range * 1000 : all[0].from, length = Math.max(1000, now - start);
  const shown = all.filter((one) => (one.to ?? now) >= start);
  const everybody = [...new Set(all.map((one) => one.leader))].sort(), recent = new Set([...shown].reverse().map((one) => one.leader));
  const names = everybody.filter((name) => [...recent].slice(0, 6).includes(name));  // a colour stays with its name
  const height = Math.max(1, names.length) * lane + 22, at = (ms) => label + (Math.max(ms, start) - start) / length * (width - label);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${shown.length} terms since ${day(start)}` });
  names.forEach((name, row) => {
    svg.append(draw("rect", { class: "lane-bg", x: label, y: row * lane + 3, width: width - label, height: lane - 6, rx: 4 }));
    const room = Math.floor(label / 7.4) - 1;
    svg.append(draw("text", { x: 0, y: row * lane + 17 }, name.length > room ? name.slice(0, room - 1) + "\u2026" : name));
  });
  for (const one of shown) {
    const row = names.indexOf(one.leader);
    if (row < 0) continue;
    const x = at(one.from), wide = Math.max(2, at(one.to ?? now) - x), token = "#" + one.token;
    const bar = draw("g", {});
    bar.append(draw("title", {}, `${one.leader}, token ${one.token}: ${day(one.from)} to ${one.to === null ? "now" : day(one.to)}${one.reason && one.to !== null ? ", " + one.reason : ""}`));
    bar.append(draw("rect", { x, y: row * lane + 3, width: wide, height: lane - 6, rx: Math.min(4, wide / 2), fill: `var(--lane-${everybody.indexOf(one.leader) % 6})` }));
    if (wide > token.length * 8 + 8) bar.append(draw("text", { class: "in", x: x + 6, y: row * lane + 17 }, token));
    svg.append(bar);
  }
  svg.append(draw("line", { class: "axis", x1: label, x2: width, y1: height - 18, y2: height - 18 }));
  svg.append(draw("text", { x: label, y: height - 4 }, day(start)));
  svg.append(draw("text", { x: width, y: height - 4, "text-anchor": "end" }, "now"));
  card.part(".picture").replaceChildren(svg);
}

// ---- always

setInterval(() => {
  for (const card of cards.values()) run(card);
  const silent = performance.now() - lastNews, old = silent > Math.max(5000, ttlNoticed);
  show($("stale"), old);
  if (old) put($("stale"), "No news from the daemon for " + span(silent / 1000) + ". What you see is old; only a lease that still runs is sure.");
}, TICK_MS);
setInterval(() => { if (!source || source.readyState !== EventSource.OPEN || performance.now() - lastNews > POLL_MS * 2) refresh(); else for (const card of cards.values()) { if (card.body && card.settledUntil > performance.now() - POLL_MS) history(card.body).catch(() => {}); if (card.history.length) terms(card); } }, POLL_MS);
addEventListener("resize", () => { for (const card of cards.values()) terms(card); });
follow();
refresh();
