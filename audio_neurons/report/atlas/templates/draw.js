// Elements of the pages: HTML and SVG by name, bars, tables, and heat maps.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
// Stops of the colour map cividis, as in the figures.
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120],
  [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]];

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);
const link = (text, parts, asked, more) => h("a", { href: atlas.address(parts, asked), ...more }, text);

// A bar from 0 to `value` of `most`, with its interval, and a line at the threshold.
function bar(value, low, high, bound, most) {
  const at = (one) => ((100 * one) / most).toFixed(2);
  return s("svg", { viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "fill", x: 0, y: 3, width: at(Math.max(value, 0)), height: 10 }),
    low !== null && s("line", { class: "whisker", x1: at(low), x2: at(high), y1: 8, y2: 8 }),
    bound !== null && s("line", { class: "bound", x1: at(bound), x2: at(bound), y1: 0, y2: 16 }));
}

// A table with a caption; cells are text or elements, the first of each row is its head.
function table(caption, heads, rows, kinds = []) {
  const cell = (one, i) => (i ? h("td", { class: kinds[i] }, one) : h("th", { scope: "row", class: kinds[i] }, one));
  return h("div", { class: "scroll" }, h("table", { class: "list" }, h("caption", {}, h("span", {}, caption)),
    h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { scope: "col", class: kinds[i] }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", { class: row.own ? "own" : undefined }, row.cells.map(cell))))));
}

function colour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(place), CIVIDIS.length - 2);
  const rgb = CIVIDIS[low].map((one, i) => Math.round(one + (CIVIDIS[low + 1][i] - one) * (place - low)));
  const linear = rgb.map((one) => (one / 255 <= 0.04045 ? one / 3294.6 : ((one / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return { back: `rgb(${rgb})`, ink: light > 0.179 ? "#000" : "#fff" };
}

// A heat map of the pairs of a comparison; each cell leads to the neurons that the two classes share.
function heat(pairs, names, to) {
  const at = new Map(pairs.at.map(([a, b], i) => [`${a} ${b}`, i]));
  const most = Math.max(...pairs.ratio.filter((_, i) => pairs.a !== pairs.b && !same(pairs, i)), 1);
  const cell = (a, b) => {
    const i = at.get(`${a} ${b}`);
    if (i === undefined || pairs.ratio[i] < 0) return h("td", { class: "none" });
    const ratio = pairs.ratio[i] / 1000;
    const shade = colour(pairs.ratio[i] / most);
    const sure = pairs.q[i] !== null && pairs.q[i] < 0.05;
    const told = `${pairs.a[a]} and ${pairs.b[b]}: ${pairs.common[i]} in common, ratio ${ratio.toFixed(3)}` +
      (pairs.null[i] < 0 ? "" : `, permuted ${(pairs.null[i] / 1000).toFixed(3)}`) +
      (pairs.q[i] === null ? "" : `, q of the pair ${pairs.q[i]}`);
    return h("td", { style: `background:${shade.back}` },
      h("a", { href: to(pairs.a[a], pairs.b[b]), class: sure ? "sure" : undefined, style: `color:${shade.ink}`,
        title: told, "aria-label": told }, ratio.toFixed(2)));
  };
  return h("div", { class: "scroll" }, h("table", { class: "heat" },
    h("caption", {}, h("span", {}, `Common-neuron ratio: neurons that both classes have, of those that either has. Rows: ` +
      `${names[0]}; columns: ${names[1]}. Brighter is more; underlined: q < 0.05 of the pair against permuted labels.`)),
    h("thead", {}, h("tr", {}, h("td", {}), pairs.b.map((one) => h("th", { scope: "col" }, h("span", {}, one))))),
    h("tbody", {}, pairs.a.map((one, a) => h("tr", {}, h("th", { scope: "row" }, one), pairs.b.map((_, b) => cell(a, b)))))));
}

const same = (pairs, i) => pairs.a[pairs.at[i][0]] === pairs.b[pairs.at[i][1]] && pairs.ratio[i] === 1000;

// A strip of layers with a number each.
function strip(counts, here, to, label) {
  const most = Math.max(...counts, 1);
  return h("nav", { class: "strip", "aria-label": label }, counts.map((count, layer) =>
    h("a", { href: to(layer), class: layer === here ? "here" : undefined, "aria-current": layer === here ? "true" : undefined,
      "aria-label": `layer ${layer}: ${count}` }, h("b", {}, `L${layer}`), `${count}`,
      h("i", { style: `width:${(100 * count) / most}%` }))));
}

function select(label, options, value, changed) {
  return h("label", {}, `${label} `, h("select", { onchange: (event) => changed(event.target.value) },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text))));
}
