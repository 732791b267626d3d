// One view of judged pairs for two homes: a widget in JupyterLab and a self-contained page. Both give it a
// model: get(name), set(name, value), save_changes(), send(message), on("msg:custom", hear), off(...).
// Numbers of all pairs are here at once, texts come when a pair is looked at. Texts are hostile: they are
// set as textContent, or copied tag by tag from a parsed, inert document.

const PER = 10;
const TAGS = new Set(("P BR STRONG EM CODE PRE UL OL LI BLOCKQUOTE H1 H2 H3 H4 H5 H6 HR TABLE THEAD TBODY TR TH TD S DEL")
  .split(" "));
const WORD = /[\p{L}\p{N}]+/gu;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function harmless(html) {
  // A parsed document loads nothing and runs nothing; only tags of text are copied, without attributes.
  const copy = (node, into) => {
    for (const child of node.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) into.append(child.data);
      else if (child.nodeType === Node.ELEMENT_NODE && TAGS.has(child.tagName)) {
        into.append(copy(child, document.createElement(child.tagName)));
      } else if (child.nodeType === Node.ELEMENT_NODE && child.tagName === "A") copy(child, into);
    }
    return into;
  };
  return copy(new DOMParser().parseFromString(html, "text/html").body, document.createElement("div"));
}

const wordsOf = (text) => new Set((text.match(WORD) ?? []).map((word) => word.toLowerCase()));

function markWords(node, isMarked) {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts) {
    const parts = [];
    let done = 0, open = null;
    for (const found of text.data.matchAll(WORD)) {
      if (!isMarked(found[0].toLowerCase())) { open = null; continue; }
      const gap = text.data.slice(done, found.index);
      if (open && !/[^\s]/u.test(gap)) open.append(gap + found[0]);
      else {
        if (gap) parts.push(gap);
        parts.push(open = make("mark", {}, found[0]));
      }
      done = found.index + found[0].length;
    }
    if (parts.length) text.replaceWith(...parts, text.data.slice(done));
  }
}

export const number = (value, places = 0) => value === null || value === undefined ? "–" :
  value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places }).replace("-", "−");
const signed = (value) => (value > 0 ? "+" : "") + number(value);

// Mean outcome with its interval, as win_rate(method="t") computes it: Student's t on the logit scale with
// the jackknife error over instructions, never narrower than where all outcomes were alike.
export function estimate(rows, outcome, unit, quantiles) {
  const sums = new Map();
  let n = 0, total = 0;
  for (const i of rows) {
    if (outcome[i] === null) continue;
    n += 1;
    total += outcome[i];
    const held = sums.get(unit[i]);
    if (held) { held[0] += outcome[i]; held[1] += 1; } else sums.set(unit[i], [outcome[i], 1]);
  }
  const mean = total / n, groups = sums.size, none = { n, mean, low: null, high: null };
  if (groups < 2) return none;
  let apart = 0, squares = 0, shares = 0;
  for (const [sum, size] of sums.values()) {
    apart += ((total - sum) / (n - size) - mean) ** 2;
    squares += size ** 2;
    shares += ((sum - size * mean) / n) ** 2;
  }
  const allWon = 0.025 ** (1 / groups);
  if (mean > 1 - 1e-12) return { n, mean, low: allWon, high: 1 };
  if (mean < 1e-12) return { n, mean, low: 0, high: 1 - allWon };
  const error = Math.sqrt((groups - 1) / groups * apart), freedom = n ** 2 / squares - 1;
  if (!(error > 1e-9) || freedom < 1) return none;
  const half = quantile(freedom, quantiles) * error / (mean * (1 - mean));
  const logit = Math.log(mean / (1 - mean)), back = (x) => 1 / (1 + Math.exp(-x));
  let low = back(logit - half), high = back(logit + half);
  if (shares * groups ** 2 / Math.max(mean, 1 - mean) ** 2 < 2) {
    low = Math.min(low, allWon);
    high = Math.max(high, 1 - allWon);
  }
  return { n, mean, low, high };
}

// Student's quantile between whole degrees of freedom, linear in their inverse; the last entry is the normal's.
function quantile(freedom, quantiles) {
  const last = quantiles.length - 1, below = Math.min(Math.floor(freedom + 1e-9), last);
  const from = 1 / below, to = below === last ? 0 : 1 / (below + 1);
  const share = (from - 1 / freedom) / (from - to);
  return quantiles[below - 1] + Math.min(1, Math.max(0, share)) * (quantiles[below] - quantiles[below - 1]);
}

class Store {
  // The texts that were asked for, and whoever waits for them.
  constructor(model, arrived) {
    this.model = model;
    this.held = new Map();
    this.asked = new Set();
    this.arrived = arrived;
  }
  want(rows) {
    const missing = rows.filter((i) => !this.held.has(i) && !this.asked.has(i));
    missing.forEach((i) => this.asked.add(i));
    if (missing.length) this.model.send({ want: missing });
  }
  hear(texts) {
    for (const [i, text] of Object.entries(texts)) this.held.set(+i, text);
    this.arrived(Object.keys(texts).map(Number));
  }
}

function textBox(state, text, html, label) {
  const box = state.raw || !html ? make("pre", {}) : harmless(html);
  if (state.raw || !html) box.textContent = text || "(empty)";
  box.classList.add("text");
  box.tabIndex = 0;
  box.setAttribute("aria-label", label);
  return box;
}

function sides(state, texts) {
  const a = wordsOf(texts.a), b = wordsOf(texts.b);
  return [["a", a, b], ["b", b, a]].map(([side, own, other]) => {
    const box = textBox(state, texts[side], texts[side + "_html"], side === "a" ? "left output" : "right output");
    if (state.mark === "both") markWords(box, (word) => other.has(word));
    if (state.mark === "one") markWords(box, (word) => own.has(word) && !other.has(word));
    return box;
  });
}

class Browser {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.N = model.get("numbers");
    this.state = { page: 0, raw: false, mark: "one", sort: this.N.sort, by: this.N.by, found: null, current: 0 };
    this.selected = new Set(model.get("selected") ?? []);
    this.orders = new Map();
    this.store = new Store(model, (rows) => rows.forEach((i) => this.fill(i)));
    this.hear = (message) => {
      if (message.texts) this.store.hear(message.texts);
      if (message.found && message.search === this.search.value.trim()) {
        this.state.found = new Set(message.found);
        this.filter();
      }
    };
    model.on("msg:custom", this.hear);
    this.build();
    this.filter();
  }

  close() { this.model.off?.("msg:custom", this.hear); }

  build() {
    const N = this.N, control = (label, node) => make("label", {}, make("span", {}, label), node);
    const choose = (label, options, value, changed) => {
      const node = make("select", { "aria-label": label, onchange: (event) => changed(event.target.value) },
        ...options.map(([key, text]) => make("option", { value: key }, text)));
      node.value = value;
      return node;
    };
    const refilter = () => { this.state.page = 0; this.filter(); };
    this.search = make("input", { type: "search", placeholder: "words in any text", "aria-label": "search",
      oninput: () => { clearTimeout(this.later); this.later = setTimeout(() => this.find(), 250); } });
    this.facets = Object.entries(N.facets).map(([name, { names }]) => [name, choose(name,
      [["", "all"], ...names.map((text, code) => [code, text])], "", refilter)]);
    this.verdict = choose("verdict", [["", "all"], ["1", "model preferred"], ["0.5", "draw"],
      ["0", "reference preferred"], ["none", "no verdict"]], "", refilter);
    this.least = make("input", { type: "number", "aria-label": "model longer by at least", oninput: refilter });
    this.most = make("input", { type: "number", "aria-label": "model longer by at most", oninput: refilter });
    const sort = choose("sort", N.sorts, this.state.sort, (value) => { this.state.sort = value; refilter(); });
    this.count = make("output", { "aria-live": "polite" });
    this.mark = choose("mark", [["one", "words only one has"], ["both", "words both have"], ["", "nothing"]],
      this.state.mark, (value) => { this.state.mark = value; this.draw(); });
    this.raw = choose("texts", [["", "rendered"], ["raw", "as written"]], "",
      (value) => { this.state.raw = Boolean(value); this.draw(); });
    this.by = choose("slices by", Object.keys(N.facets).concat(N.length_known ? ["length difference"] : [])
      .map((name) => [name, name]), this.state.by, (value) => { this.state.by = value; this.slices(); });
    this.list = make("div", { class: "pairs" });
    this.table = make("div", { class: "slices" });
    this.pager = make("span", { class: "pager" });
    const take = (rows, on) => { rows.forEach((i) => on ? this.selected.add(i) : this.selected.delete(i)); this.keep(); this.draw(); };
    this.chosen = make("output", {});
    const actions = [make("button", { type: "button", onclick: () => take(this.shown, true) }, "select all shown"),
      make("button", { type: "button", onclick: () => take([...this.selected], false) }, "clear")];
    if (this.model.get("page")) actions.push(make("button", { type: "button", onclick: () => this.save() }, "save selection"));
    this.el.replaceChildren(make("div", { class: "aa-window", tabindex: -1, "data-lm-suppress-shortcuts": "true" },
      make("div", { class: "bar" }, control("search", this.search), control("verdict", this.verdict),
        ...this.facets.map(([name, node]) => control(name, node)),
        ...(N.length_known ? [control("model longer by", make("span", { class: "range" }, this.least, " to ", this.most))] : []),
        control("sort", sort), control("mark", this.mark), control("texts", this.raw)),
      make("div", { class: "status" }, this.count, this.pager, make("span", { class: "actions" }, this.chosen, ...actions),
        make("span", { class: "keys" }, "keys: j k next, earlier pair · n p next, earlier page · x select · m marks · r as written · / search")),
      make("div", { class: "body" }, make("aside", {}, control("slices by", this.by), this.table), this.list)));
    this.root = this.el.firstElementChild;
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.keep(false);
  }

  order() {
    const { sort } = this.state;
    if (!this.orders.has(sort)) {
      const key = this.N.keys[sort], rows = Array.from({ length: this.N.n }, (_, i) => i);
      if (key) rows.sort((i, k) => (key[i] === null) - (key[k] === null) || key[k] - key[i] || i - k);
      this.orders.set(sort, rows);
    }
    return this.orders.get(sort);
  }

  find() {
    const search = this.search.value.trim();
    this.state.page = 0;
    if (search) this.model.send({ search });
    else { this.state.found = null; this.filter(); }
  }

  filter() {
    const started = performance.now(), N = this.N, verdict = this.verdict.value;
    const least = this.least.value === "" ? -Infinity : +this.least.value, most = this.most.value === "" ? Infinity : +this.most.value;
    const facets = this.facets.filter(([, node]) => node.value !== "").map(([name, node]) => [N.facets[name].codes, +node.value]);
    const bounded = least > -Infinity || most < Infinity, { found } = this.state;
    this.shown = this.order().filter((i) => {
      const y = N.outcome[i];
      if (verdict === "none" ? y !== null : verdict !== "" && (y === null || Math.sign(y - 0.5) !== Math.sign(+verdict - 0.5))) return false;
      if (bounded && (N.longer[i] === null || N.longer[i] < least || N.longer[i] > most)) return false;
      return facets.every(([codes, code]) => codes[i] === code) && (found === null || found.has(i));
    });
    this.state.current = 0;
    this.slices();
    this.draw();
    this.el.dataset.filtered = (performance.now() - started).toFixed(1);
  }

  slices() {
    const N = this.N, { by } = this.state, groups = new Map();
    const facet = N.facets[by], edges = N.edges;
    for (const i of this.shown) {
      let code = facet ? facet.codes[i] : null;
      if (!facet && N.longer[i] !== null) code = edges.findIndex((edge) => N.longer[i] <= edge);
      if (code === null || code < 0 && facet) continue;
      if (!groups.has(code)) groups.set(code, []);
      groups.get(code).push(i);
    }
    const name = (code) => facet ? facet.names[code] : code < 0 ? `over ${signed(edges.at(-1))}` :
      `${code ? signed(edges[code - 1]) + " to " : "up to "}${signed(edges[code])}`;
    const found = [...groups].map(([code, rows]) => [code, rows.length, estimate(rows, N.outcome, N.unit, N.quantiles)]);
    if (facet) found.sort((x, y) => (y[2].mean || 0) - (x[2].mean || 0)); else found.sort((x, y) => (x[0] + 99) % 99 - (y[0] + 99) % 99);
    const rows = found.map(([code, , { n, mean, low, high }]) => {
      const bar = make("span", { class: "interval" }), point = make("i", { class: "point" });
      if (low !== null) {
        const line = make("i", { class: "line" });
        line.style.left = `${100 * low}%`;
        line.style.width = `${100 * (high - low)}%`;
        bar.append(line);
      }
      point.style.left = `${100 * mean}%`;
      if (n) bar.append(point);
      const text = low === null ? "no interval" : `${number(100 * low, 1)} to ${number(100 * high, 1)}`;
      return make("tr", { title: `${name(code)}: ${number(100 * mean, 1)} %, interval ${text}, n = ${number(n)}` },
        make("th", { scope: "row" }, name(code)), make("td", {}, bar), make("td", { class: "number" }, n ? number(100 * mean, 1) : "–"),
        make("td", { class: "number" }, text), make("td", { class: "number" }, number(n)));
    });
    this.table.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, by), make("th", {}, ""),
      make("th", { class: "number" }, "win rate"), make("th", { class: "number" }, "95 %"), make("th", { class: "number" }, "n"))),
      make("tbody", {}, ...rows)), make("p", { class: "about" }, "Win rate (%) of the model among the pairs shown, with the interval "
      + `of win_rate(method="t").${N.chosen ? ` The pairs were chosen by ${N.chosen}: no sample of all.` : ""}`));
  }

  draw() {
    const pages = Math.max(1, Math.ceil(this.shown.length / PER)), { state } = this;
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const rows = this.shown.slice(state.page * PER, (state.page + 1) * PER);
    this.count.value = `${number(this.shown.length)} of ${number(this.N.n)} pairs${this.N.left ? ` (${number(this.N.left)} more were left out of this page)` : ""}`;
    const turn = (by, text, off) => make("button", { type: "button", onclick: () => this.turn(by), ...(off ? { disabled: "" } : {}) }, text);
    this.pager.replaceChildren(turn(-1, "‹ earlier", state.page === 0), ` page ${number(state.page + 1)} of ${number(pages)} `,
      turn(1, "next ›", state.page === pages - 1));
    this.cards = new Map(rows.map((i) => [i, this.card(i)]));
    this.list.replaceChildren(...(rows.length ? this.cards.values() : [make("p", {}, "No pair is like that.")]));
    this.list.scrollTop = 0;
    rows.forEach((i) => this.fill(i));
    this.store.want(rows);
  }

  card(i) {
    const N = this.N, y = N.outcome[i], name = (facet) => N.facets[facet]?.names[N.facets[facet].codes[i]] ?? N.single[facet] ?? "unknown";
    const votes = N.votes?.[i];
    const head = (side, who, length, preferred, voted) => make("div", { class: `head ${preferred ? "preferred" : ""}` },
      make("strong", {}, who), make("span", {}, side), length === null ? null : make("span", {}, `${number(length)} characters`),
      preferred ? make("span", { class: "badge" }, "preferred") : null,
      votes ? make("span", { class: "votes" }, `${voted} of ${votes[0] + votes[1] + votes[2]} people`) : null);
    const place = N.position?.[i];
    const where = (side) => place === 1 || place === 2 ? `${side}, shown ${(place === 1) === (side === "model") ? "first" : "second"}` : side;
    const verdict = y === null ? "no verdict" : y === 0.5 ? "a draw" :
      y === 0 || y === 1 ? `${y ? "model" : "reference"} preferred` : `${number(100 * y, 0)} % for the model`;
    const measures = N.measures.filter(([key]) => N.keys[key]?.[i] !== null && N.keys[key]?.[i] !== undefined)
      .map(([key, label, places, scale]) => `${label} ${number(scale * (N.shown[key] ?? N.keys[key])[i], places)}`);
    if (N.longer[i]) measures.push(`model ${N.longer[i] > 0 ? "longer" : "shorter"} by ${number(Math.abs(N.longer[i]))}`);
    const box = make("input", { type: "checkbox", "aria-label": "select this pair" });
    box.checked = this.selected.has(i);
    box.addEventListener("change", () => { this.toggle(i, box.checked); });
    return make("article", { class: "pair", tabindex: 0, "data-row": i, "aria-label": `pair ${i}: ${name("model")} against ${name("reference")}` },
      make("div", { class: "top" }, make("label", {}, box, " select"), make("span", { class: "verdict" }, `${name("annotator")}: ${verdict}`),
        make("span", { class: "measures" }, measures.join(" · "))),
      make("div", { class: "prompt" }, make("p", { class: "wait" }, "…")),
      make("div", { class: "two" },
        make("section", {}, head(where("model"), name("model"), N.length_model[i], y > 0.5, votes?.[0])),
        make("section", {}, head(where("reference"), name("reference"), N.length_reference[i], y !== null && y < 0.5, votes?.[2]))),
      make("div", { class: "more" }));
  }

  fill(i) {
    const card = this.cards?.get(i), texts = this.store.held.get(i);
    if (!card || !texts) return;
    card.querySelector(".prompt").replaceChildren(textBox({ raw: true }, texts.prompt, "", "prompt"));
    const [a, b] = sides(this.state, texts), columns = card.querySelectorAll("section");
    [a, b].forEach((box, k) => { columns[k].querySelector(".text")?.remove(); columns[k].append(box); });
    const more = [];
    if (texts.features?.length) more.push(make("table", { class: "features" }, make("thead", {}, make("tr", {},
      ...["feature", "model", "reference"].map((text) => make("th", {}, text)))), make("tbody", {}, ...texts.features.map((row) =>
      make("tr", {}, make("th", { scope: "row" }, row[0]), make("td", {}, String(row[1])), make("td", {}, String(row[2])))))));
    if (texts.explanation) more.push(make("details", {}, make("summary", {}, "the judge's explanation"), textBox({ raw: true }, texts.explanation, "", "explanation")));
    for (const [label, value] of texts.columns ?? []) more.push(make("span", { class: "column" }, `${label}: ${value}`));
    card.querySelector(".more").replaceChildren(...more);
  }

  turn(by) {
    this.state.page += by;
    this.state.current = 0;
    this.draw();
    this.focus();
  }

  focus() {
    const rows = [...this.cards.keys()];
    this.cards.get(rows[this.state.current])?.focus();
  }

  toggle(i, on) {
    if (on) this.selected.add(i); else this.selected.delete(i);
    const box = this.cards.get(i)?.querySelector("input[type=checkbox]");
    if (box) box.checked = on;
    this.keep();
  }

  keep(tell = true) {
    this.chosen.value = `${number(this.selected.size)} selected`;
    if (!tell) return;
    this.model.set("selected", [...this.selected].sort((i, k) => i - k));
    this.model.save_changes();
  }

  save() {
    const columns = this.N.names, quote = (text) => `"${String(text ?? "").replaceAll('"', '""')}"`;
    const lines = [["row", ...columns], ...[...this.selected].sort((i, k) => i - k).map((i) => [this.N.rows[i], ...this.N.identity[i]])];
    const file = new Blob([lines.map((line) => line.map(quote).join(",")).join("\n") + "\n"], { type: "text/csv" });
    const link = make("a", { href: URL.createObjectURL(file), download: "selection.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (typing) { if (event.key === "Escape") this.root.focus(); return; }
    const card = event.target.closest(".pair"), rows = [...this.cards.keys()], at = card ? rows.indexOf(+card.dataset.row) : -1;
    const step = (by) => { this.state.current = Math.min(Math.max(0, (at < 0 ? -1 : at) + by), rows.length - 1); this.focus(); };
    const cycle = (node) => { node.selectedIndex = (node.selectedIndex + 1) % node.options.length; node.dispatchEvent(new Event("change")); this.state.current = Math.max(0, at); this.focus(); };
    const act = { j: () => step(1), k: () => step(-1), n: () => this.turn(1), p: () => this.turn(-1), "/": () => this.search.focus(),
      x: () => at >= 0 && this.toggle(rows[at], !this.selected.has(rows[at])), m: () => cycle(this.mark), r: () => cycle(this.raw) }[event.key];
    if (act) { event.preventDefault(); event.stopPropagation(); act(); }
  }
}

class Labeller {
  // One pair at a time, blind; the answer is kept by the other end before the next pair is shown.
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.state = { raw: false, mark: "" };
    this.hear = (message) => { if (message.pair !== undefined) this.show(message); };
    model.on("msg:custom", this.hear);
    const answer = (text, key, verdict) => make("button", { type: "button", onclick: () => this.answer(verdict) }, `${text} (${key})`);
    this.status = make("output", { "aria-live": "polite" });
    this.place = make("div", { class: "pairs" });
    el.replaceChildren(make("div", { class: "aa-window label", tabindex: 0, "data-lm-suppress-shortcuts": "true" },
      make("div", { class: "status" }, this.status, answer("left is better", "←", "left"), answer("draw", "↓", "draw"),
        answer("right is better", "→", "right"), answer("skip", "s", "skip"), answer("back", "b", "back"),
        make("button", { type: "button", onclick: () => { this.state.raw = !this.state.raw; this.redraw(); } }, "rendered or as written (r)")),
      this.place));
    this.root = el.firstElementChild;
    this.root.addEventListener("keydown", (event) => this.key(event));
    model.send({ next: true });
  }
  close() { this.model.off?.("msg:custom", this.hear); }
  show(message) {
    this.message = message;
    this.busy = false;
    this.status.value = message.status;
    this.redraw();
  }
  redraw() {
    const { pair } = this.message;
    if (pair === null) { this.place.replaceChildren(make("p", {}, this.message.status)); return; }
    const [a, b] = sides(this.state, pair);
    const head = (text) => make("div", { class: "head" }, make("strong", {}, text));
    this.place.replaceChildren(make("article", { class: "pair" },
      make("div", { class: "prompt" }, textBox({ raw: true }, pair.prompt, "", "prompt")),
      make("div", { class: "two" }, make("section", {}, head("left"), a), make("section", {}, head("right"), b))));
  }
  answer(verdict) {
    if (this.busy || (this.message?.pair === null && verdict !== "back")) return;
    this.busy = true;
    this.model.send({ verdict, shown: this.message.shown });
    this.root.focus();
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const verdict = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "draw", d: "draw", s: "skip", b: "back" }[event.key];
    if (verdict === undefined && event.key !== "r") return;
    event.preventDefault();
    event.stopPropagation();
    if (verdict) this.answer(verdict); else { this.state.raw = !this.state.raw; this.redraw(); }
  }
}

function render({ model, el }) {
  const started = performance.now();
  const view = new (model.get("kind") === "label" ? Labeller : Browser)(model, el);
  el.dataset.ready = (performance.now() - started).toFixed(0);
  return () => view.close();
}

export default { render };
