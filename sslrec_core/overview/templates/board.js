"use strict";
// The board: draws what is shown of the embedded figures, and no more; what was chosen is kept in the address.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("board").textContent);
  const NOWHERE = "–";

  const there = (value) => value !== null && value !== undefined;
  // An element with attributes, listeners (on…) and children; text stays text.
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (there(value) && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter(there));
    return element;
  };

  // ---- what was chosen -------------------------------------------------------------------------------------------

  const EMPTY = { q: "", dataset: "", model: "", state: "", part: "test", sort: "", dir: "down", metrics: "", chosen: "", open: "", base: "", compare: "" };
  const state = { ...EMPTY };
  const shown = new Map(); // rows drawn of each table, by its id
  const listOf = (key) => (state[key] ? state[key].split(",") : []);
  const keep = (changes) => {
    Object.assign(state, changes);
    const said = Object.entries(state).filter(([key, value]) => value !== EMPTY[key]);
    history.replaceState(null, "", said.length ? `#${new URLSearchParams(said)}` : location.pathname + location.search);
  };
  const toggled = (key, name) => {
    const names = listOf(key);
    return { [key]: (names.includes(name) ? names.filter((one) => one !== name) : [...names, name]).join(",") };
  };
  const restore = () => {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const key of Object.keys(EMPTY)) state[key] = said.get(key) ?? EMPTY[key];
  };

  // ---- figures ---------------------------------------------------------------------------------------------------

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const spread = (values) => Math.sqrt(values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / (values.length - 1));
  const known = (values) => values.filter(there);
  const middle = (values) => (known(values).length ? mean(known(values)) : null);
  const figure = (value) => {
    if (!there(value)) return NOWHERE;
    const size = Math.abs(value);
    if (value === 0 || (size >= 1e-3 && size < 100)) return value.toFixed(4);
    return size >= 100 && size < 1e6 ? value.toFixed(1) : value.toPrecision(3);
  };
  const withSpread = (values) => {
    const given = known(values);
    if (given.length < 2) return figure(middle(given));
    const size = Math.abs(mean(given));
    return `${figure(mean(given))} ± ${size >= 1e-3 && size < 100 ? spread(given).toFixed(4) : figure(spread(given))}`;
  };
  const clock = (seconds) => {
    if (seconds === null) return NOWHERE;
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`;
  };
  const ago = (moment) => {
    const seconds = Math.max(0, Date.now() / 1000 - moment);
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= size) return `${Math.round(seconds / size)} ${unit}`;
    return `${Math.round(seconds)} s`;
  };
  const metricOf = (table, group, name) => {
    const place = table.metrics.indexOf(name);
    return place < 0 ? [] : group.runs.map((run) => run[state.part][place]);
  };
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  // The last word of an option tells what it is; where that is only "name", the word before it does.
  const word = (key) => key.replace(/\.name$/, "").split(".").pop();
  const optionText = (options) => Object.entries(options).map(([key, value]) => `${word(key)}=${optionValue(value)}`).join(" ");
  const optionValue = (value) => (value === null ? "none" : typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value));
  const nameOf = (group) => [group.model, optionText(group.options)].filter(Boolean).join(" ");

  // ---- columns ---------------------------------------------------------------------------------------------------

  const DEFAULT_METRICS = 4;
  const metricsOf = (table) => {
    if (state.metrics) return listOf("metrics").filter((name) => table.metrics.includes(name));
    const cut = table.judge?.split("@")[1];
    const like = table.metrics.filter((name) => name !== table.judge && name.split("@")[1] === cut);
    return [...(table.metrics.includes(table.judge) ? [table.judge] : []), ...like].slice(0, DEFAULT_METRICS);
  };
  const RANKS = ["running", "interrupted", "complete"];
  const FIXED = {
    model: { title: "Model", value: (group) => nameOf(group), text: true },
    seeds: { title: "Runs", value: (group) => group.runs.length },
    state: { title: "State", value: (group) => Math.min(...group.runs.map((run) => RANKS.indexOf(run.state))), up: true },
    best: { title: "Best", value: (group) => middle(group.runs.map((run) => run.best)) },
    seconds: { title: "Time", value: (group) => middle(group.runs.map((run) => run.seconds)) },
    memory: { title: "Peak GiB", value: (group) => Math.max(...known(group.runs.map((run) => run.memory))) },
    changed: { title: "Last event", value: (group) => Math.max(...group.runs.map((run) => run.changed)) },
  };
  const columnsOf = (table) => [
    ...["model", "seeds", "state"].map((key) => ({ key, ...FIXED[key] })),
    { key: "best", ...FIXED.best, title: table.judge ? `Best ${table.judge}` : "Best" },
    ...metricsOf(table).map((name) => ({ key: `@${name}`, title: name, metric: name, value: (group) => middle(metricOf(table, group, name)) })),
    ...["seconds", "memory", "changed"].map((key) => ({ key, ...FIXED[key] })),
  ];
  const sortOf = (table, columns) => {
    if (columns.some(({ key }) => key === state.sort)) return state.sort;
    const first = columns.find(({ metric }) => metric);
    return first && table.groups.some((id) => first.value(data.groups[id]) !== null) ? first.key : "best";
  };
  const sorted = (table, columns, groups) => {
    const key = sortOf(table, columns);
    const { value, text } = columns.find((column) => column.key === key);
    const sign = state.dir === "up" ? 1 : -1;
    const empty = (one) => one === null || !(text || Number.isFinite(one));
    return groups
      .map((id) => [id, value(data.groups[id])])
      .sort(([, a], [, b]) => empty(a) - empty(b) || (empty(a) ? 0 : sign * (text ? a.localeCompare(b) : a - b)))
      .map(([id]) => id);
  };

  // ---- filtering -------------------------------------------------------------------------------------------------

  const haystacks = new Map();
  const haystack = (table, id) => {
    if (!haystacks.has(id)) {
      const group = data.groups[id];
      const words = [table.dataset, table.protocol, table.label, nameOf(group), ...group.runs.flatMap((run) => [run.path, run.preset ?? ""])];
      haystacks.set(id, words.join(" ").toLowerCase());
    }
    return haystacks.get(id);
  };
  const passing = (table) => {
    if (state.dataset && table.dataset !== state.dataset) return [];
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    return table.groups.filter((id) => {
      const group = data.groups[id];
      if (state.model && group.model !== state.model) return false;
      if (state.state && !group.runs.some((run) => run.state === state.state)) return false;
      return words.every((word) => haystack(table, id).includes(word));
    });
  };

  // ---- tables ----------------------------------------------------------------------------------------------------

  const DRAWN_AT_FIRST = 150;
  const sections = new Map(); // the elements of each table, by its id

  const heading = (table, column) => {
    const key = sortOf(table, columnsOf(table));
    const now = key === column.key ? (state.dir === "up" ? "ascending" : "descending") : "none";
    const turn = () => {
      const first = column.text || column.up ? "up" : "down";
      update({ sort: column.key, dir: key === column.key ? (state.dir === "up" ? "down" : "up") : first });
    };
    return make("th", { scope: "col", "aria-sort": now, class: column.key === "model" || column.key === "state" ? null : "number" },
      make("button", { type: "button", "data-key": `${table.id} ${column.key}`, onclick: turn }, column.title));
  };

  const states = (runs) => RANKS.flatMap((name) => {
    const those = runs.filter((run) => run.state === name);
    if (!those.length) return [];
    const place = those.length === 1 ? progress(those[0]) : "";
    return [make("span", { class: name }, `${runs.length > 1 ? `${those.length} ` : ""}${name}${place}`), " "];
  });
  const progress = (run) => (run.state === "complete" || run.epoch === null ? "" : ` ${run.stage === "train" ? "" : `${run.stage} `}${run.epoch}${run.epochs ? `/${run.epochs}` : ""}`);
  const reportLink = (run, words) => run.report && make("a", { href: run.report, "data-key": `report ${run.path}`, "aria-label": `Report of ${run.path}` }, words);

  // Of other metrics than the judging one, the page does not know whether more is better.
  const topOf = (table, groups) => Math.max(...known(groups.map((id) => middle(metricOf(table, data.groups[id], table.judge)))));
  const cell = (column, table, group, top = NaN) => {
    const runs = group.runs;
    if (column.metric) {
      const mark = column.metric === table.judge && column.value(group) === top ? " top" : "";
      return make("td", { class: `number${mark}` }, withSpread(metricOf(table, group, column.metric)));
    }
    const texts = {
      state: () => states(runs),
      best: () => [withSpread(runs.map((run) => run.best)), group.judge === table.judge ? null : make("small", {}, ` ${group.judge}`)],
      seconds: () => clock(middle(runs.map((run) => run.seconds))),
      memory: () => { const most = FIXED.memory.value(group); return Number.isFinite(most) ? (most / 2 ** 30).toFixed(2) : NOWHERE; },
      changed: () => ago(FIXED.changed.value(group)),
    };
    return make("td", { class: column.key === "state" ? null : "number" }, texts[column.key]());
  };

  const groupRows = (table, id, columns, top) => {
    const group = data.groups[id];
    const chosen = listOf("chosen").includes(id);
    const open = listOf("open").includes(id);
    const only = group.runs.length === 1 ? group.runs[0] : null;
    const name = nameOf(group);
    const box = make("input", { type: "checkbox", "data-key": `choose ${id}`, "aria-label": `Select ${name}`, onchange: () => update(toggled("chosen", id)) });
    box.checked = chosen;
    const options = optionText(group.options);
    const title = make("th", { scope: "row" }, group.model,
      options ? make("small", { class: "options" }, options) : null,
      table.label ? make("small", { class: "options loud" }, table.label) : null,
      group.other.length ? make("small", { class: "options loud" }, `not comparable with most: ${group.other.join(", ")}`) : null,
      only ? reportLink(only, "report") : null);
    const more = make("td", { class: "number" },
      make("button", { type: "button", class: "seeds", "data-key": `open ${id}`, "aria-expanded": String(open), "aria-label": `${count(group.runs.length, "run")} of ${name}`, onclick: () => update(toggled("open", id)) }, String(group.runs.length)));
    const cells = columns.slice(2).map((column) => cell(column, table, group, top));
    const row = make("tr", { class: chosen ? "chosen" : null }, make("td", {}, box), title, more, cells);
    return open ? [row, ...group.runs.map((run) => runRow(table, group, run, columns))] : [row];
  };

  const runRow = (table, group, run, columns) => {
    const alone = { ...group, runs: [run] };
    const place = !there(run.at) ? "" : `, best at epoch ${run.at}`;
    const title = make("th", { scope: "row" }, `seed ${run.seed ?? NOWHERE}${place} `, reportLink(run, "report"),
      make("small", { class: "options" }, run.path, run.preset ? ` · preset ${run.preset}` : ""));
    return make("tr", { class: "run" }, make("td"), title, make("td"), columns.slice(2).map((column) => cell(column, table, alone)));
  };

  const drawTable = (table, place) => {
    const groups = passing(table);
    const section = sections.get(table.id) ?? make("div", { class: "board" },
      make("h2", { id: `t-${table.id}` }), make("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": `t-${table.id}`, "data-key": `scroll ${table.id}` }, make("table")), make("p"));
    sections.set(table.id, section);
    section.hidden = groups.length === 0;
    if (section.hidden) return section;
    const [title, scroll, foot] = section.children;
    const runs = groups.reduce((sum, id) => sum + data.groups[id].runs.length, 0);
    title.replaceChildren(`${table.dataset} · ${table.protocol}`, table.label ? make("small", { class: "loud" }, table.label) : "",
      make("small", {}, `${count(groups.length, "row")}, ${count(runs, "run")}`));
    const columns = columnsOf(table);
    const limit = shown.get(table.id) ?? place;
    const order = sorted(table, columns, groups);
    const top = topOf(table, groups);
    scroll.firstChild.replaceChildren(
      make("thead", {}, make("tr", {}, make("td", {}), columns.map((column) => heading(table, column)))),
      make("tbody", {}, order.slice(0, limit).flatMap((id) => groupRows(table, id, columns, top))));
    const rest = order.length - limit;
    foot.replaceChildren(...(rest > 0 ? [make("button", { type: "button", "data-key": `more ${table.id}`, onclick: () => { shown.set(table.id, limit + 100); update({}); } },
      `Show ${Math.min(rest, 100)} more of ${rest}`)] : []));
    return section;
  };

  // ---- comparing -------------------------------------------------------------------------------------------------

  const chosenGroups = () => listOf("chosen").filter((id) => data.groups[id]);
  const tableOf = (id) => data.tables.find((table) => table.groups.includes(id));

  const difference = (value, base, spreadless) => {
    if (value === null || base === null || spreadless) return null;
    const sign = value >= base ? "+" : "−";
    const share = base ? ` (${sign}${Math.abs((value / base - 1) * 100).toFixed(1)} %)` : "";
    return `${sign}${figure(Math.abs(value - base))}${share}`;
  };

  const tableIn = (caption, id, columns, rows) =>
    make("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": id },
      make("table", {}, make("caption", { id }, caption),
        make("thead", {}, make("tr", {}, columns.map((text, place) => make("th", { scope: "col", class: place ? "number" : null }, text)))),
        make("tbody", {}, rows)));

  const metricRows = (tables, ids, base, apart) => {
    const names = [...new Set(tables.flatMap((table) => table.metrics))];
    return names.flatMap((name) => {
      const values = ids.map((id) => metricOf(tableOf(id), data.groups[id], name));
      if (values.every((one) => middle(one) === null)) return [];
      const from = middle(values[ids.indexOf(base)]);
      return [make("tr", {}, make("th", { scope: "row" }, name), ids.map((id, place) => {
        const change = difference(middle(values[place]), from, id === base || apart);
        return make("td", { class: "number" }, withSpread(values[place]), change ? make("small", {}, ` ${change}`) : null);
      }))];
    });
  };

  const settingRows = (ids) => {
    const keys = [...new Set(ids.flatMap((id) => tableOf(id).keys))];
    return keys.flatMap((key) => {
      const values = ids.map((id) => {
        const place = tableOf(id).keys.indexOf(key);
        return place < 0 ? undefined : data.groups[id].values[place];
      });
      if (values.every((value) => value === values[0])) return [];
      return [make("tr", {}, make("th", { scope: "row" }, key), values.map((value) => make("td", { class: "number" }, there(value) ? optionValue(value) : NOWHERE)))];
    });
  };

  let compared = ""; // what the comparison was drawn from: it is drawn anew when that changes, and not before
  const drawComparison = () => {
    const section = byId("comparison");
    const ids = state.compare === "1" ? chosenGroups() : [];
    const now = JSON.stringify([ids, state.base, state.part, ids.map((id) => data.groups[id])]);
    if (now === compared) return;
    compared = now;
    section.hidden = !ids.length;
    if (section.hidden) { section.replaceChildren(); return; }
    const unfolded = [...section.querySelectorAll("details[open]")].map((details) => details.id);
    const tables = [...new Set(ids.map(tableOf))];
    const base = ids.includes(state.base) ? state.base : ids[0];
    const others = new Set(ids.map((id) => data.groups[id].other.join(", ")));
    const apart = tables.length > 1 || others.size > 1;
    const names = ids.map((id) => nameOf(data.groups[id]));
    const picker = make("select", { "data-key": "base", onchange: (event) => update({ base: event.target.value }) },
      ids.map((id, place) => make("option", { value: id, selected: id === base }, names[place])));
    const why = tables.length > 1 ? "these rows are of different data or protocols" : `these rows differ in ${[...others].filter(Boolean).join(", ")}`;
    const settings = settingRows(ids);
    section.replaceChildren(...[
      make("h2", { id: "compared", tabindex: "-1", "data-key": "compared" }, `Compared: ${count(ids.length, "row")}`),
      make("div", { class: "bar" }, apart ? null : make("label", {}, "Differences to ", picker),
        make("button", { type: "button", "data-key": "close", onclick: () => { update({ compare: "" }); focusOn("compare"); } }, "Close the comparison")),
      apart ? make("p", { class: "remark loud" }, `No differences are shown: ${why}.`) : null,
      tables.some((table) => table.label) ? make("p", { class: "remark loud" }, "Figures selected on test.") : null,
      tableIn(state.part === "test" ? "Metrics on the test part" : "Metrics on the selecting part", "compare-metrics", ["Metric", ...names], metricRows(tables, ids, base, apart)),
      make("div", { class: "charts" }, ...["judged", "lost"].map(figureFor)),
      settings.length ? tableIn("Settings that differ", "compare-settings", ["Setting", ...names], settings) : make("p", {}, "Their settings are the same."),
    ].filter(there));
    for (const id of unfolded) byId(id).open = true;
    drawCurves(ids, names).catch((error) => byId("drawn-judged").replaceChildren(make("p", { class: "remark loud" }, `The curves cannot be drawn: ${error.message}`)));
  };

  const CURVES = { judged: ["Learning curves", "The judging metric on the selecting part, by epoch."], lost: ["Losses", "The sum of the losses, by epoch."] };
  const figureFor = (kind) => make("figure", {}, make("figcaption", {}, make("strong", {}, `${CURVES[kind][0]}. `), CURVES[kind][1]),
    make("div", { class: "drawing", id: `drawn-${kind}` }),
    make("details", { id: `details-${kind}` }, make("summary", { "data-key": `figures ${kind}` }, "Figures", make("span", { class: "unseen" }, ` of the chart: ${CURVES[kind][0]}`)), make("div", { id: `figures-${kind}` })));

  // The curves and the library stand behind this script, so that the tables need not wait for them.
  const whole = new Promise((done) => {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", done);
    else done();
  });
  const curvesOf = async (paths) => {
    if (!data.live) return JSON.parse(byId("curves").textContent);
    const answer = await fetch(`curves?${new URLSearchParams(paths.map((path) => ["path", path]))}`);
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return answer.json();
  };

  // The library of charts is large; it starts when the first chart is drawn.
  const wake = () => {
    if (window.vegaEmbed) return;
    const script = make("script");
    script.textContent = byId("vega").textContent;
    document.head.append(script);
  };

  let drawing = 0;
  const drawCurves = async (ids, names) => {
    const turn = ++drawing;
    const runs = ids.flatMap((id, place) => data.groups[id].runs.map((run) => ({ path: run.path, name: names[place], seed: run.seed })));
    await whole;
    const curves = await curvesOf(runs.map((run) => run.path));
    wake();
    for (const kind of Object.keys(CURVES)) {
      const points = runs.flatMap((run) => (curves[run.path]?.[kind] ?? []).filter(([, value]) => value !== null).map(([epoch, value]) => ({ epoch, value, row: run.name, run: run.path, seed: run.seed })));
      const place = byId(`drawn-${kind}`);
      if (turn !== drawing || !place) return; // something else is compared by now
      if (!points.length) { place.replaceChildren(make("p", { class: "remark" }, "These runs recorded none.")); continue; }
      await vegaEmbed(place, chart(points, names), { mode: "vega-lite", renderer: "svg", actions: false, tooltip: false, defaultStyle: false, ast: true, config: data.theme });
      const svg = place.querySelector("svg");
      for (const part of svg.querySelectorAll("[role]")) part.removeAttribute("role"); // one picture, not a hundred
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `${CURVES[kind][0]} of ${names.join(", ")}`);
      const rows = points.map((point) => make("tr", {}, make("th", { scope: "row" }, point.row), make("td", { class: "number" }, String(point.seed ?? NOWHERE)), make("td", { class: "number" }, String(point.epoch)), make("td", { class: "number" }, figure(point.value))));
      byId(`figures-${kind}`).replaceChildren(tableIn(CURVES[kind][1], `figures-of-${kind}`, ["Row", "Seed", "Epoch", "Value"], rows));
    }
  };
  const chart = (points, names) => ({
    width: 400, height: 220, data: { values: points },
    mark: { type: "line", point: new Set(points.map(({ epoch }) => epoch)).size < 3 },
    encoding: {
      x: { field: "epoch", type: "quantitative", title: "epoch", axis: { format: "d", tickMinStep: 1, grid: false } },
      y: { field: "value", type: "quantitative", title: null, scale: { zero: false } },
      color: { field: "row", type: "nominal", title: null, sort: names, legend: { columns: 1, labelLimit: 380 } },
      detail: { field: "run" },
    },
  });

  // ---- the page --------------------------------------------------------------------------------------------------

  const focusOn = (key) => [...document.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key)?.focus();
  // Whatever is drawn anew, the one who types or tabs stays where they were.
  const inPlace = (draw) => {
    const key = document.activeElement?.dataset.key;
    draw();
    if (key && document.activeElement?.dataset.key !== key) focusOn(key);
  };

  const drawChosen = () => {
    const ids = chosenGroups();
    const bar = byId("chosen");
    bar.hidden = !ids.length;
    const start = () => { update({ compare: "1" }); const title = byId("compared"); title.focus(); title.scrollIntoView(); };
    bar.replaceChildren(`${count(ids.length, "row")} selected`,
      make("button", { type: "button", "data-key": "compare", onclick: start }, "Compare"),
      make("button", { type: "button", "data-key": "clear", onclick: () => { update({ chosen: "", compare: "", base: "" }); byId("main").focus(); } }, "Clear"));
  };

  const drawFilter = () => {
    const form = byId("filter");
    const groups = Object.values(data.groups);
    const choices = { dataset: data.tables.map((table) => table.dataset), model: groups.map((group) => group.model), state: RANKS };
    for (const [name, values] of Object.entries(choices)) {
      const wanted = [...new Set(values)];
      if (name !== "state") wanted.sort();
      const options = [make("option", { value: "" }, "all"), ...wanted.map((value) => make("option", { value }, value))];
      if (form.elements[name].textContent !== ["all", ...wanted].join("")) form.elements[name].replaceChildren(...options);
    }
    for (const name of ["q", "dataset", "model", "state", "part"]) if (form.elements[name].value !== state[name]) form.elements[name].value = state[name];
    const metrics = [...new Set(data.tables.flatMap((table) => table.metrics))];
    const now = state.metrics ? listOf("metrics") : [...new Set(data.tables.flatMap(metricsOf))];
    const place = form.querySelector("fieldset");
    const boxes = metrics.map((name) => {
      const box = make("input", { type: "checkbox", "data-key": `metric ${name}`, onchange: () => update({ metrics: metrics.filter((one) => (one === name ? !now.includes(one) : now.includes(one))).join(",") }) });
      box.checked = now.includes(name);
      return make("label", {}, box, name);
    });
    place.replaceChildren(place.firstElementChild, ...boxes);
  };

  const drawTables = () => {
    const visible = data.tables.filter((table) => passing(table).length);
    const place = Math.max(5, Math.floor(DRAWN_AT_FIRST / Math.max(1, visible.length)));
    const drawn = data.tables.map((table) => drawTable(table, place));
    const holder = byId("tables");
    if (drawn.length !== holder.children.length || drawn.some((section, at) => section !== holder.children[at])) holder.replaceChildren(...drawn);
    const runs = Object.values(data.groups).flatMap((group) => group.runs);
    const those = RANKS.map((name) => [name, runs.filter((run) => run.state === name).length]).filter(([, number]) => number);
    const text = [count(runs.length, "run"), ...those.map(([name, number]) => `${number} ${name}`)].join(", ") + (visible.length ? "." : ". None passes the filter.");
    if (byId("counts").textContent !== text) byId("counts").textContent = text;
  };

  const LISTED = 100;
  const drawUnreadable = () => {
    const section = byId("unreadable");
    section.hidden = !data.unreadable.length;
    const rows = data.unreadable.slice(0, LISTED).map(([path, why]) => make("li", {}, make("code", {}, path), ` ${why}`));
    const rest = data.unreadable.length - LISTED;
    if (rest > 0) rows.push(make("li", {}, `and ${rest} more`));
    section.replaceChildren(make("h2", { id: "unread" }, `${count(data.unreadable.length, "run")} that cannot be read`), make("ul", {}, rows));
  };

  const draw = () => inPlace(() => { drawFilter(); drawTables(); drawChosen(); drawComparison(); drawUnreadable(); });
  const update = (changes) => { keep(changes); draw(); };

  byId("filter").addEventListener("input", ({ target }) => { if (target.name) update({ [target.name]: target.value }); });
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => { restore(); draw(); });

  // ---- staying up to date ----------------------------------------------------------------------------------------

  const EVERY = 3000;
  const take = (news) => {
    for (const [id, group] of Object.entries(news.groups)) { data.groups[id] = group; haystacks.delete(id); }
    Object.assign(data, { tables: news.tables, unreadable: news.unreadable, version: news.version });
    const current = new Set(data.tables.flatMap((table) => table.groups));
    for (const id of Object.keys(data.groups)) if (!current.has(id)) delete data.groups[id];
  };
  const ask = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(`changes?since=${data.version}`);
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      const news = await answer.json();
      if (news.version !== data.version) { take(news); draw(); }
    } catch {
      byId("counts").textContent = "The server does not answer; these are the last figures.";
    }
  };

  restore();
  draw();
  performance.mark("board-drawn");
  if (data.live) setInterval(ask, EVERY);
})();
