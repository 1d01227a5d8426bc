// The card of a neuron.
"use strict";

const SAMPLES = {
  r: ["Random", "the first drawn clips on which it is active"],
  l: ["Weak", "drawn clips among the lower half of those on which it is active, by their peaks"],
  m: ["Middle", "drawn clips between 50 and 90 % of those on which it is active"],
  h: ["High", "drawn clips among the highest 10 % of those on which it is active"],
  s: ["Strongest", "of all clips of the dataset, by the peak"],
  o: ["Strongest of other classes", "drawn clips that are of none of its classes"],
};

// Return the number of a neuron in its model.
const numberOf = (layers, layer, unit) => layers.slice(0, layer).reduce((a, b) => a + b, 0) + unit;

async function cardPage(index, model, layer, unit, asked) {
  const of = index.of[model.name];
  if (!(layer >= 0 && layer < of.layers.length && unit >= 0 && unit < of.layers[layer]))
    throw new Error(`${model.title} has no neuron ${layer}:${unit}; its layers are 0 to ${of.layers.length - 1}.`);
  const number = numberOf(of.layers, layer, unit);
  const key = `${model.name}/neurons-${String(Math.floor(number / index.shard)).padStart(3, "0")}`;
  const data = await atlas.load(key);
  const at = number - data.first;
  const chosen = data.chosen[number];
  const tasks = index.tasks.filter((task) => chosen && chosen.tasks[task.name]);
  const first = tasks.findIndex((task) => task.name === asked.task);
  if (first > 0) tasks.unshift(...tasks.splice(first, 1));
  const csv = [["task", "class", "probability", "low", "high", "assigned", "resamples_assigned", "aape", "aape_permuted",
    "q", "threshold"]];
  const listings = {};
  for (const task of tasks) listings[task.name] = await atlas.load(`${model.name}/task-${task.name}`);
  const sections = tasks.map((task) => taskSection(index, model, task, data, at, chosen.tasks[task.name],
    listings[task.name], [layer, unit], csv));
  const others = index.tasks.filter((task) => !tasks.includes(task));
  const said = tasks.map((task) => {
    const classes = index.classes[task.name].classes;
    return [link(task.title, [model.name, "task", task.name]), ": ", chosen.tasks[task.name].a.map((one, i) =>
      [i ? ", " : "", link(classes[one], [model.name, "task", task.name, classes[one]])]), ". "];
  });
  const rest = h("section", {}, h("h2", {}, "Other tasks"), h("p", { class: "soft" },
    "They do not assign it to a class. Their probabilities are rounded to half a per cent, and stored without intervals."),
    others.map((task) => h("details", {}, h("summary", {}, `${task.title}: AAPE ${atlas.number(atlas.share(data.tasks[task.name].h[at]))}`),
      plainTable(index, task, data, at, csv))));
  const page = [
    h("h1", { tabindex: -1 }, `Layer ${layer}, neuron ${unit}`),
    h("p", { class: "soft" }, `${model.title}. Neurons of the same number in other models are not comparable with it.`),
    strip(of.layers.map((_, one) => of.chosen[0].filter((n) => layerOf(of.layers, n) === one).length), layer,
      (one) => atlas.address([model.name, "index"], { layer: one }), "Layers, and their neurons that are assigned to a class"),
    h("div", { class: "row" },
      unit > 0 && link("‹ previous", [model.name, `${layer}`, `${unit - 1}`]),
      unit + 1 < of.layers[layer] && link("next ›", [model.name, `${layer}`, `${unit + 1}`]),
      h("button", { type: "button", id: "another", onclick: () => another(index, model) }, "another at random"),
      h("button", { type: "button", onclick: (event) => copy(csv, event.target) }, "copy as CSV")),
    h("section", { id: "said" }, h("h2", {}, "Specific to"), h("p", {}, said.length ? said
      : "No task assigns it to a class. Its probabilities and a few of its clips are below.")),
    ...sections, ...await acousticSection(data, number),
  ];
  const heard = tasks.map((task) => task.dataset);
  const sets = Object.keys(index.datasets).sort((a, b) => heard.includes(b) - heard.includes(a));
  for (const name of sets)
    page.push(await soundSection(index, model, index.datasets[name], data, at, chosen && chosen.shown[name], heard.includes(name)));
  page.push(others.length ? rest : null);
  return { title: `${layer}:${unit}, ${model.title}`, page };
}

function layerOf(layers, number) {
  let layer = 0;
  for (let first = layers[0]; number >= first; first += layers[layer]) layer += 1;
  return layer;
}

function another(index, model) {
  const of = index.of[model.name];
  const number = of.chosen[0].length ? of.chosen[0][Math.floor(Math.random() * of.chosen[0].length)] : 0;
  const layer = layerOf(of.layers, number);
  location.hash = atlas.address([model.name, `${layer}`, `${number - numberOf(of.layers, layer, 0)}`]);
}

function taskSection(index, model, task, data, at, own, listing, [layer, unit], csv) {
  const { classes, clips } = index.classes[task.name];
  const p = own.p;
  const most = Math.max(...p, ...own.hi, 1) / 1000;
  const order = classes.map((_, i) => i).sort((a, b) => p[b] - p[a]);
  const entropy = own.h;
  const row = (i) => {
    const value = atlas.share(p[i]), low = atlas.share(own.lo[i]), high = atlas.share(own.hi[i]);
    const again = own.again ? atlas.share(own.again[i]) : null;
    return { own: own.a.includes(i), cells: [
      [link(classes[i], [model.name, "task", task.name, classes[i]]), own.a.includes(i) ? " (specific)" : ""],
      value === null ? "" : bar(value, low, high, listing.threshold, most),
      atlas.number(value), low === null ? "–" : `${low.toFixed(3)} to ${high.toFixed(3)}`,
      own.again ? atlas.number(again, 2) : "–", `${clips[i]}`] };
  };
  for (const i of order) csv.push([task.name, classes[i], atlas.share(p[i]), atlas.share(own.lo[i]), atlas.share(own.hi[i]),
    own.a.includes(i), own.again ? atlas.share(own.again[i]) : "", entropy, own.null ? own.null[0] : "",
    own.null ? own.null[2] : "", listing.threshold]);
  const heads = ["class", "", "probability", `${100 * index.level} % interval`, "assigned again", "clips"];
  const kinds = [undefined, "barcell", "number", "number", "number", "number"];
  const caption = `Probability of being active, by class.` + (listing.threshold === null ? ""
    : ` The dashed line is the threshold of the selection, ${listing.threshold}.`);
  const many = 15;
  const told = own.null
    ? `AAPE ${atlas.number(entropy)} nats; under permuted labels ${atlas.number(own.null[0])} on average (p ${atlas.small(own.null[1])} by its own permutations; ` +
      `q ${atlas.small(own.null[2])} by those of all neurons together). Selected in ${(100 * own.stable).toFixed(0)} % of resamples of the groups.`
    : `AAPE ${atlas.number(entropy)} nats.`;
  return h("section", { class: model.kind }, h("h2", {}, task.title), h("p", {}, told),
    table(caption, heads, order.slice(0, many).map(row), kinds),
    order.length > many && h("details", {}, h("summary", {}, `The other ${order.length - many} classes`),
      table("", heads, order.slice(many).map(row), kinds)),
    ...effects(index, task, own, listing, [layer, unit]));
}

function plainTable(index, task, data, at, csv) {
  const { classes, clips } = index.classes[task.name];
  const p = classes.map((_, i) => atlas.coarse(data.tasks[task.name].p, at * classes.length + i));
  const order = classes.map((_, i) => i).sort((a, b) => p[b] - p[a]);
  for (const i of order) csv.push([task.name, classes[i], p[i], "", "", false, "", atlas.share(data.tasks[task.name].h[at]), "", "", ""]);
  return table("Probability of being active, by class", ["class", "probability", "clips"],
    order.map((i) => ({ cells: [classes[i], atlas.number(p[i]), `${clips[i]}`] })), [undefined, "number", "number"]);
}

// What ablations of sets that contain the neuron do, and what screening estimates of it alone.
function effects(index, task, own, listing, [layer, unit]) {
  const classes = index.classes[task.name].classes;
  const mine = Object.entries(listing.sets).filter(([, of]) => of.some(([l, u]) => l === layer && u === unit)).map(([set]) => set);
  const rows = listing.effects.filter((one) => mine.includes(one.set));
  const signed = (value) => (value === null ? "–" : `${value > 0 ? "+" : ""}${value.toFixed(3)}`);
  const found = [];
  if (rows.length) found.push(h("h3", {}, "Ablation of sets with it"), table(
    "Change of the class's log-probability when all neurons of the set are replaced, and beside it the mean over matched random sets",
    ["set (neurons)", "class", "replaced by", "change", "interval", "random sets", "p"],
    rows.map((one) => ({ cells: [`${one.set} (${one.neurons})`, one.class, one.replacement === "zero" ? "0" : one.replacement,
      signed(one.logprob_delta), one.low === null ? "–" : `${signed(one.low)} to ${signed(one.high)}`,
      one.excess === null ? "none ran" : signed(one.logprob_delta - one.excess), atlas.small(one.logprob_p)] })),
    [undefined, undefined, undefined, "number", "number", "number", "number"]));
  if (own.est) found.push(h("p", {}, "Screening estimates that zeroing it alone changes the log-probability of ",
    own.a.map((i, k) => `${k ? ", " : ""}${classes[i]} by ${signed(own.est[i])}`), "."));
  return found;
}

async function acousticSection(data, number) {
  const own = data.acoustics && data.acoustics[number];
  if (!own) return [];
  return [h("section", {}, h("h2", {}, "Acoustic correlates"), Object.entries(own).map(([dataset, rows]) =>
    table(`Correlation of being active with features of the sound, ${dataset}`, ["feature", "correlation"],
      [...rows].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).map(([name, value]) => ({ cells: [name, value.toFixed(3)] })),
      [undefined, "number"])))];
}

async function soundSection(index, model, dataset, data, at, own, open) {
  const box = h("div", {});
  const fill = async () => {
    if (box.childElementCount) return;
    const clips = await atlas.load(`clips/${dataset.name}`);
    const block = data.shown[dataset.name];
    let rows;
    if (own) {
      rows = own.rows.map(([kind, clip, activation, seconds, response, excerpt, trace]) =>
        ({ kind, clip, activation, seconds, response, excerpt, trace: unpacked(trace), step: own.step }));
    } else {
      rows = ["r", "s"].flatMap((kind) => {
        const { n, c, a } = block[kind];
        const from = n.slice(0, at).reduce((sum, one) => sum + one, 0);
        return Array.from({ length: n[at] }, (_, i) =>
          ({ kind, clip: c[from + i], activation: a ? a[from + i] : undefined, excerpt: null }));
      });
    }
    const drawn = Math.min(index.drawn.clips, dataset.clips);
    box.append(h("p", { class: "soft" }, `Active on ${block.active[at]} of ${drawn} clips that were drawn by chance (seed ` +
      `${index.drawn.seed}), the same for all neurons. ` + (own ? `The orange line is its activation above the threshold, of at most ` +
      `${own.scale} in the clips shown; where it touches the ground, the neuron is not active.`
      : "Bands, traces and times are stored for neurons that a task assigns to a class.")));
    for (const [code, [name, what]] of Object.entries(SAMPLES)) {
      const these = rows.filter((one) => one.kind === code && one.clip >= 0);
      if (these.length) box.append(h("h3", {}, name, " ", h("small", {}, what)), h("div", { class: "clips" },
        these.map((one) => clipCard(dataset, clips, one, { model: model.name }))));
    }
    if (!rows.length) box.append(h("p", {}, "No clip of it is stored."));
  };
  if (open) {
    await fill();
    return h("section", {}, h("h2", {}, `Sounds: ${dataset.title}`), box);
  }
  const more = h("details", { ontoggle: fill }, h("summary", {}, `Sounds: ${dataset.title}`), box);
  return h("section", {}, more);
}

function copy(rows, button) {
  const quoted = (value) => (/[",\n]/.test(`${value}`) ? `"${`${value}`.replaceAll('"', '""')}"` : `${value ?? ""}`);
  const text = rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  const told = () => { button.textContent = "copied"; };
  const byHand = () => {
    const area = h("textarea", { rows: 8, style: "width:100%", "aria-label": "Numbers as CSV" });
    area.value = text;
    button.parentElement.after(area);
    area.select();
    button.textContent = document.execCommand("copy") ? "copied" : "copy the text below";
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(told, byHand);
  else byHand();
}
