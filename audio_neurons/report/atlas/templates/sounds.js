// Clips: a player, its spectrogram, and a neuron's activation over time, drawn on it and in step.
"use strict";

const still = matchMedia("(prefers-reduced-motion: reduce)");

const unpacked = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// Return the place of a clip's excerpt among those that are stored, or of any of the clip's.
function excerptOf(clips, clip, number) {
  const own = clips.excerpts.findIndex((one) => one[0] === clip && one[1] === number);
  return own >= 0 || number !== null ? own : clips.excerpts.findIndex((one) => one[0] === clip);
}

function classesOf(clips, clip) {
  return Object.entries(clips.labels).map(([label, one]) => `${label}: ${one.names[one.of[clip]]}`).join(", ");
}

// A clip: `shown` has clip, activation, seconds, response, excerpt and trace, as far as they are known.
function clipCard(dataset, clips, shown, more = {}) {
  const place = excerptOf(clips, shown.clip, shown.excerpt ?? null);
  const facts = [shown.activation !== undefined && `peak ${shown.activation}`,
    shown.seconds !== undefined && shown.seconds !== null && `at ${shown.seconds} s`,
    shown.response !== undefined && `active on ${(100 * shown.response).toFixed(1)} %`].filter(Boolean).join(", ");
  const card = h("article", { class: "clip" }, h("p", {}, h("b", {}, classesOf(clips, shown.clip))),
    facts && h("p", {}, facts),
    h("p", { class: "id" }, more.model
      ? link(clips.id[shown.clip], [more.model, "sound", dataset.name, clips.id[shown.clip]])
      : clips.id[shown.clip]));
  if (place < 0) {
    card.append(h("p", { class: "lacking" }, "No sound: atlas.sounds keeps the excerpts that most neurons show."));
    return card;
  }
  const [, , start, seconds] = clips.excerpts[place];
  const file = clips.base + place;
  const head = s("line", { class: "head", x1: 0, x2: 0, y1: 0, y2: 100 });
  const drawing = s("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, head);
  if (shown.trace && shown.trace.length) {
    const first = Math.floor(start / shown.step + 1e-6) * shown.step - start;
    const points = [...shown.trace].map((value, i) =>
      `${((100 * (first + (i + 0.5) * shown.step)) / seconds).toFixed(2)},${(98 - (94 * value) / 255).toFixed(1)}`);
    drawing.append(s("polyline", { class: "trace", points: points.join(" ") }));
  } else if (shown.seconds !== undefined && shown.seconds !== null) {
    const at = (100 * (shown.seconds - start)) / seconds;
    drawing.append(s("line", { class: "peak", x1: at, x2: at, y1: 0, y2: 100 }));
  }
  const told = `Spectrogram of ${seconds} s from ${start} s` + (shown.trace ? ", with the neuron's activation" : "");
  const image = h("img", { src: `${file}.png`, alt: told, loading: "lazy" });
  const audio = h("audio", { controls: true, preload: "none", src: `${file}.mp3`,
    "aria-label": `${clips.id[shown.clip]}, ${classesOf(clips, shown.clip)}` });
  const move = () => {
    const at = (100 * audio.currentTime) / seconds;
    head.setAttribute("x1", at);
    head.setAttribute("x2", at);
    head.style.visibility = "visible";
    if (!audio.paused && !still.matches) requestAnimationFrame(move);
  };
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    move();
  });
  audio.addEventListener("timeupdate", move);
  const lacking = () => {
    if (card.querySelector(".lacking")) return;
    audio.remove();
    image.remove();
    card.append(h("p", { class: "lacking" }, dataset.passed_on ? "This file is missing."
      : `The sounds of ${dataset.title} are not passed on (licence: ${dataset.licence}).`));
  };
  image.addEventListener("error", lacking);
  audio.addEventListener("error", lacking);
  card.append(h("div", { class: "picture" }, image, drawing), audio,
    h("p", { class: "id" }, `${start === 0 ? "" : `from ${start} s; `}${dataset.title}, ${dataset.licence || "licence unknown"}`));
  return card;
}
