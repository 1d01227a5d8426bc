// Ways in: classes, pairs of classes, sounds, and the index.
"use strict";

function overviewPage(index, model) {
  const of = index.of[model.name];
  const classes = index.tasks.map((task) => {
    const { classes: names } = index.classes[task.name];
    const counts = of.counts[task.name];
    return h("div", {}, h("h3", {}, link(task.title, [model.name, "task", task.name])),
      h("ul", { class: "plain" }, names.map((name, i) => h("li", {},
        link(name, [model.name, "task", task.name, name]), h("span", { class: "soft" }, ` ${counts[i]}`)))));
  });
  return { title: "Atlas of neurons", page: [
    h("h1", { tabindex: -1 }, "Atlas of neurons"),
    h("p", {}, `What neurons of ${model.title} listen to: the classes to which they are specific by the selector ` +
      `${index.selector}, what classes share, and recordings on which they are active.`, index.demo
      ? " The recordings of this run are synthetic: nothing here is a finding." : ""),
    h("section", {}, h("h2", {}, "By class"), h("p", { class: "soft" }, "With the number of neurons that are specific to each."), classes),
    h("section", {}, h("h2", {}, "By pair of classes"), h("ul", { class: "plain" }, index.comparisons.map((one) =>
      h("li", {}, link(one.title, [model.name, "compare", one.name]))))),
    h("section", {}, h("h2", {}, "By sound"), h("ul", { class: "plain" }, Object.values(index.datasets).map((one) =>
      h("li", {}, link(one.title, [model.name, "sound", one.name]))))),
    h("section", {}, h("h2", {}, "By index"), h("p", {}, link(`${of.layers.length} layers, ` +
      `${of.layers.reduce((a, b) => a + b, 0).toLocaleString("en")} neurons`, [model.name, "index"]), " or ",
      h("button", { type: "button", onclick: () => another(index, model) }, "another at random"))),
    h("section", {}, h("h2", {}, "What is stored"), table("Clips and sounds by dataset",
      ["dataset", "licence", "clips shown", "excerpts with sound", "MB", "passed on"],
      Object.values(index.datasets).map((one) => ({ cells: [one.title, one.licence || "unknown", `${one.clips}`, `${one.excerpts}`,
        (one.bytes / 1e6).toFixed(1), one.passed_on ? "yes" : "no, only where the atlas was made"] })),
      [undefined, undefined, "number", "number", "number"]),
      h("p", { class: "soft" }, `${index.drawn.clips} clips of each dataset are drawn by chance (seed ${index.drawn.seed}), the same for all ` +
        "neurons; a neuron's random clips are the first of these on which it is active. Excerpts are 4 s around the peak; " +
        "those that most neurons show are kept (atlas.sounds)."))] };
}

// A list of neurons with the ways to sort and filter it, which are in the address.
async function classPage(index, model, task, name, asked) {
  const data = await atlas.load(`${model.name}/task-${task.name}`);
  const { classes, clips } = index.classes[task.name];
  const here = classes.indexOf(name);
  if (name !== undefined && here < 0) throw new Error(`${task.title} has no class '${name}'.`);
  const address = (more) => atlas.address([model.name, "task", task.name, ...(name === undefined ? [] : [name])], { ...asked, ...more });
  const own = data.number.map((_, i) => i).filter((i) => name === undefined || data.a[i].includes(here));
  const layers = index.of[model.name].layers.map((_, layer) => own.filter((i) => data.layer[i] === layer).length);
  const layer = asked.layer === undefined ? null : Number(asked.layer);
  const kept = own.filter((i) => layer === null || data.layer[i] === layer);
  const p = (i, one) => data.p[i * classes.length + one];
  const best = (i) => (name === undefined ? Math.max(...classes.map((_, one) => p(i, one))) : p(i, here));
  const est = (i) => (data.est && here >= 0 ? data.est[i * classes.length + here] : null);
  const again = (i) => (data.again && here >= 0 ? data.again[i * classes.length + here] : null);
  const sorts = { aape: ["AAPE, lowest first", (i) => data.h[i]], response: ["probability, highest first", (i) => -best(i)],
    ...(data.again && here >= 0 ? { again: ["assigned again, most often first", (i) => -again(i)] } : {}),
    ...(data.est && here >= 0 ? { effect: ["screened effect, most harmful first", (i) => est(i)] } : {}),
    index: ["layer and number", (i) => data.number[i]] };
  const sort = sorts[asked.sort] ? asked.sort : "aape";
  kept.sort((a, b) => sorts[sort][1](a) - sorts[sort][1](b) || data.number[a] - data.number[b]);
  const rows = kept.map((i) => ({ cells: [
    link(`${data.layer[i]}:${data.unit[i]}`, [model.name, `${data.layer[i]}`, `${data.unit[i]}`], { task: task.name }),
    data.a[i].map((one, k) => [k ? ", " : "", link(classes[one], [model.name, "task", task.name, classes[one]])]),
    bar(best(i) / 1000, null, null, data.threshold, Math.max(...kept.map(best), 1) / 1000), atlas.number(best(i) / 1000),
    atlas.number(data.h[i]), ...(data.q ? [atlas.small(data.q[i])] : []), ...(again(i) === null ? [] : [atlas.number(again(i) / 1000, 2)]),
    ...(est(i) === null ? [] : [est(i).toPrecision(2)])] }));
  const heads = ["neuron", "classes", "", "probability", "AAPE", ...(data.q ? ["q"] : []),
    ...(data.again && here >= 0 ? ["assigned again"] : []), ...(data.est && here >= 0 ? ["screened effect"] : [])];
  const csv = [["layer", "neuron", "classes", "probability", "aape"],
    ...kept.map((i) => [data.layer[i], data.unit[i], data.a[i].map((one) => classes[one]).join("+"), best(i) / 1000, data.h[i]])];
  const effect = data.effects.filter((one) => one.kind === "class" && one.class === name);
  return { title: `${name ?? task.title}, ${model.title}`, page: [
    h("h1", { tabindex: -1 }, name ?? task.title),
    h("p", { class: "soft" }, name === undefined ? model.title : [link(task.title, [model.name, "task", task.name]),
      `, ${model.title}; ${clips[here]} clips`]),
    name === undefined && h("ul", { class: "plain" }, classes.map((one, i) => h("li", {}, link(one, [model.name, "task", task.name, one]),
      h("span", { class: "soft" }, ` ${index.of[model.name].counts[task.name][i]}`)))),
    h("section", { class: model.kind }, h("h2", {}, `${own.length} neurons are specific to ${name ?? "a class"}`),
      strip(layers, layer, (one) => address({ layer: one === layer ? "" : one }), "Neurons by layer; choose one to filter"),
      h("div", { class: "row" }, select("Sorted by", Object.entries(sorts).map(([key, [text]]) => [key, text]), sort,
        (key) => { location.hash = address({ sort: key }); }),
        layer !== null && h("a", { href: address({ layer: "" }) }, "all layers"),
        h("button", { type: "button", onclick: (event) => copy(csv, event.target) }, "copy as CSV")),
      table(layer === null ? "All layers" : `Layer ${layer}`, heads, rows, [undefined, undefined, "barcell", "number", "number", "number", "number", "number"]),
      effect.map((one) => h("p", {}, `Ablation of all of them (${one.replacement === "zero" ? "set to 0" : one.replacement}) changes the ` +
        `log-probability of ${name} by ${one.logprob_delta.toFixed(3)}` + (one.excess === null ? "."
          : `; random sets change it by ${(one.logprob_delta - one.excess).toFixed(3)} on average (p ${atlas.small(one.logprob_p)}).`)))),
  ] };
}

const others = (blocks, here, to, label) => blocks.length > 1 && h("nav", { "aria-label": label }, blocks.map((one) =>
  link(one.title, to(one.name), {}, one.name === here ? { "aria-current": "page", style: "font-weight:700" } : {})));

async function comparePage(index, model, comparison, a, b) {
  const names = [comparison.tasks[0], comparison.tasks[comparison.tasks.length - 1]];
  const [one, two] = names.map((name) => index.tasks.find((task) => task.name === name));
  if (a === undefined) {
    const pairs = await atlas.load(`${model.name}/pairs-${comparison.name}`);
    return { title: `${comparison.title}, ${model.title}`, page: [
      h("h1", { tabindex: -1 }, comparison.title),
      h("p", { class: "soft" }, `${model.title}. Each cell leads to the neurons that the two classes share.`),
      others(index.comparisons, comparison.name, (name) => [model.name, "compare", name], "Comparisons"),
      h("section", {}, heat(pairs, [one.title, two.title], (x, y) => atlas.address([model.name, "compare", comparison.name, x, y])))] };
  }
  const [first, second] = await Promise.all([one, two].map((task) => atlas.load(`${model.name}/task-${task.name}`)));
  const at = index.classes[one.name].classes.indexOf(a), other = index.classes[two.name].classes.indexOf(b);
  if (at < 0 || other < 0) throw new Error(`There is no pair '${a}' and '${b}' in ${comparison.title}.`);
  const where = new Map(second.number.map((number, i) => [number, i]));
  const shared = first.number.map((number, i) => [i, where.get(number)]).filter(([i, j]) =>
    j !== undefined && first.a[i].includes(at) && second.a[j].includes(other));
  const p = (data, task, i, k) => data.p[i * index.classes[task.name].classes.length + k] / 1000;
  const rows = shared.map(([i, j]) => ({ cells: [
    link(`${first.layer[i]}:${first.unit[i]}`, [model.name, `${first.layer[i]}`, `${first.unit[i]}`], { task: one.name }),
    atlas.number(p(first, one, i, at)), atlas.number(p(second, two, j, other)), atlas.number(first.h[i]), atlas.number(second.h[j])] }));
  const layers = index.of[model.name].layers.map((_, layer) => shared.filter(([i]) => first.layer[i] === layer).length);
  return { title: `${a} and ${b}, ${model.title}`, page: [
    h("h1", { tabindex: -1 }, `${a} and ${b}`),
    h("p", { class: "soft" }, link(comparison.title, [model.name, "compare", comparison.name]), `, ${model.title}. `,
      link(`${a} (${one.title})`, [model.name, "task", one.name, a]), " and ", link(`${b} (${two.title})`, [model.name, "task", two.name, b])),
    h("section", { class: model.kind }, h("h2", {}, `${shared.length} neurons are specific to both`),
      strip(layers, null, (layer) => atlas.address([model.name, "task", one.name, a], { layer }), "Shared neurons by layer"),
      rows.length ? table("Neurons that both classes have", ["neuron", `probability of ${a}`, `of ${b}`, `AAPE, ${one.title}`,
        `AAPE, ${two.title}`], rows, [undefined, "number", "number", "number", "number"]) : h("p", {}, "The two classes share none."))] };
}

async function soundPage(index, model, dataset, id, asked) {
  const [clips, excited] = await Promise.all([atlas.load(`clips/${dataset.name}`), atlas.load(`${model.name}/sounds-${dataset.name}`)]);
  const of = index.of[model.name];
  const chosen = new Set(of.chosen[0]);
  const neuron = (number, score) => {
    const layer = layerOf(of.layers, number);
    const unit = number - numberOf(of.layers, layer, 0);
    return { cells: [link(`${layer}:${unit}`, [model.name, `${layer}`, `${unit}`]), chosen.has(number) ? "yes" : "no", atlas.number(score, 1)] };
  };
  if (id === undefined) {
    const label = asked.label ?? Object.keys(clips.labels)[0];
    const kinds = clips.labels[label] ?? Object.values(clips.labels)[0];
    const wanted = asked.class ?? "";
    const kept = excited.filter(([clip]) => wanted === "" || kinds.names[kinds.of[clip]] === wanted);
    const go = (more) => { location.hash = atlas.address([model.name, "sound", dataset.name], { ...asked, ...more }); };
    return { title: `Sounds: ${dataset.title}`, page: [
      h("h1", { tabindex: -1 }, `Sounds: ${dataset.title}`),
      h("p", { class: "soft" }, `${excited.length} clips that were drawn by chance, in the order of the draw. Choose one to see which neurons of ` +
        `${model.title} it excites most.`),
      others(Object.values(index.datasets), dataset.name, (name) => [model.name, "sound", name], "Datasets"),
      h("div", { class: "row" }, Object.keys(clips.labels).length > 1 && select("Label", Object.keys(clips.labels).map((one) => [one, one]),
        label, (one) => go({ label: one, class: "" })),
        select("Class", [["", "all"], ...kinds.names.map((one) => [one, one])], wanted, (one) => go({ class: one }))),
      h("section", {}, table(`${kept.length} clips`, ["clip", "classes", "excites most"], kept.slice(0, 300).map(([clip, numbers]) => ({ cells: [
        link(clips.id[clip], [model.name, "sound", dataset.name, clips.id[clip]]), classesOf(clips, clip),
        numbers.slice(0, 3).map((number, k) => [k ? ", " : "", neuron(number).cells[0]])] }))),
        kept.length > 300 && h("p", { class: "soft" }, `The first 300 of ${kept.length}; filter by class for the others.`))] };
  }
  const clip = clips.id.indexOf(id);
  if (clip < 0) throw new Error(`No neuron shows a clip '${id}' of ${dataset.title}.`);
  const found = excited.find(([one]) => one === clip);
  return { title: `${id}, ${model.title}`, page: [
    h("h1", { tabindex: -1 }, id),
    h("p", { class: "soft" }, link(dataset.title, [model.name, "sound", dataset.name]), `, ${clips.split[clip]}, ${clips.seconds[clip]} s`),
    h("section", {}, h("div", { class: "clips" }, clipCard(dataset, clips, { clip, excerpt: null }))),
    h("section", {}, h("h2", {}, `Neurons of ${model.title} that it excites most`), found
      ? table("Score: distance of the neuron's peak in the clip from its mean over the drawn clips, in standard deviations",
        ["neuron", "specific to a class", "score"], found[1].map((number, i) => neuron(number, found[2][i])), [undefined, undefined, "number"])
      : h("p", {}, "It was not drawn; it is shown since it is among the strongest of some neuron."))] };
}

function indexPage(index, model, asked) {
  const of = index.of[model.name];
  const layer = Math.min(Number(asked.layer ?? 0) || 0, of.layers.length - 1);
  const first = numberOf(of.layers, layer, 0);
  const times = new Map(of.chosen[0].map((number, i) => [number, of.chosen[1][i]]));
  const own = of.chosen[0].filter((number) => number >= first && number < first + of.layers[layer]);
  const sorted = asked.sort === "tasks" ? [...own].sort((a, b) => times.get(b) - times.get(a) || a - b) : own;
  const go = (more) => { location.hash = atlas.address([model.name, "index"], { layer, ...asked, ...more }); };
  const unit = h("input", { type: "number", min: 0, max: of.layers[layer] - 1, value: 0, id: "unit", style: "width:7em" });
  return { title: `Index, ${model.title}`, page: [
    h("h1", { tabindex: -1 }, "Index"),
    strip(of.layers.map((_, one) => of.chosen[0].filter((n) => layerOf(of.layers, n) === one).length), layer,
      (one) => atlas.address([model.name, "index"], { ...asked, layer: one }), "Layers, and their neurons that are assigned to a class"),
    h("section", { class: model.kind }, h("h2", {}, `Layer ${layer}: ${own.length} of ${of.layers[layer].toLocaleString("en")} neurons are specific to a class`),
      h("form", { class: "row", onsubmit: (event) => {
        event.preventDefault();
        location.hash = atlas.address([model.name, `${layer}`, unit.value]);
      } }, h("label", {}, "Any neuron of the layer ", unit), h("button", {}, "open"),
        select("Sorted by", [["number", "number"], ["tasks", "tasks"]], asked.sort ?? "number", (sort) => go({ sort }))),
      h("ul", { class: "plain" }, sorted.map((number) => h("li", {}, link(`${layer}:${number - first}`, [model.name, `${layer}`, `${number - first}`]),
        times.get(number) > 1 && h("span", { class: "soft" }, ` ${times.get(number)} tasks`)))))] };
}
