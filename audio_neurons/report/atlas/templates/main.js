// Shows the page that the address asks for.
"use strict";

async function pageOf(index, { parts, asked }) {
  const model = index.models.find((one) => one.name === (parts[0] ?? index.models[0].name));
  if (!model) throw new Error(`There is no model '${parts[0]}'.`);
  const among = (blocks, name, what) => {
    const found = blocks.find((one) => one.name === name);
    if (!found) throw new Error(`There is no ${what} '${name}'.`);
    return found;
  };
  const [, way, name, ...more] = parts;
  if (way === undefined) return [model, overviewPage(index, model)];
  if (way === "index") return [model, indexPage(index, model, asked)];
  if (way === "task") return [model, await classPage(index, model, among(index.tasks, name, "task"), more[0], asked)];
  if (way === "compare") return [model, await comparePage(index, model, among(index.comparisons, name, "comparison"), ...more)];
  if (way === "sound") return [model, await soundPage(index, model, among(Object.values(index.datasets), name, "dataset"), more[0], asked)];
  return [model, await cardPage(index, model, Number(way), Number(name), asked)];
}

let turn = 0; // of the page asked for last: what is loaded for an earlier one is not shown

async function show() {
  const mine = ++turn;
  const main = document.getElementById("main");
  try {
    const index = await atlas.load("index");
    const [model, { title, page }] = await pageOf(index, atlas.where());
    if (mine !== turn) return;
    frame(index, model);
    document.title = title;
    main.className = model.kind;
    main.replaceChildren(...page.filter(Boolean));
  } catch (error) {
    if (mine !== turn) return;
    main.replaceChildren(h("h1", { tabindex: -1 }, "Not found"), h("p", {}, error.message), h("p", {}, h("a", { href: "#/" }, "To the overview")));
  }
  scrollTo(0, 0);
  main.querySelector("h1").focus({ preventScroll: true });
  document.body.dataset.shown = String(mine);
}

// The head of the page: models, and ways in for the one that is shown.
function frame(index, model) {
  const { parts, asked } = atlas.where();
  const choice = document.getElementById("model");
  choice.replaceChildren(...index.models.map((one) => h("option", { value: one.name, selected: one === model }, one.title)));
  choice.onchange = () => {
    const neuron = /^\d+$/.test(parts[1] ?? ""); // the same number is another neuron there
    location.hash = atlas.address([choice.value, ...(neuron ? ["index"] : parts.slice(1))], neuron ? {} : asked);
  };
  document.getElementById("ways").replaceChildren(link("Classes", [model.name]),
    index.comparisons.length ? link("Pairs", [model.name, "compare", index.comparisons[0].name]) : "",
    link("Sounds", [model.name, "sound", Object.keys(index.datasets)[0]]), link("Index", [model.name, "index"]),
    h("button", { type: "button", onclick: () => another(index, model) }, "Another at random"));
  document.getElementById("told").textContent = `Audio Neurons ${index.run.version}.`;
}

addEventListener("hashchange", show);
show();
