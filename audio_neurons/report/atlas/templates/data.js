// Loads the data: scripts that call atlas.add(key, text), where the text is JSON, packed by gzip, in base64.
"use strict";

const atlas = { waiting: new Map(), kept: new Map() };
const KEPT = 40; // scripts whose data are kept

atlas.add = (key, packed) => {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  new Response(stream).json().then(atlas.waiting.get(key).done, atlas.waiting.get(key).failed);
};

// Return a promise of the data of one script, which is loaded by a script element: fetch() would need a server.
atlas.load = (key) => {
  if (!atlas.kept.has(key)) {
    atlas.kept.set(key, new Promise((done, failed) => {
      atlas.waiting.set(key, { done, failed });
      const script = document.createElement("script");
      script.src = "data/" + key.split("/").map(encodeURIComponent).join("/") + ".js";
      script.onload = () => script.remove();
      script.onerror = () => {
        atlas.kept.delete(key);
        failed(new Error(`The file ${script.getAttribute("src")} is missing or damaged.`));
      };
      document.head.append(script);
    }));
    if (atlas.kept.size > KEPT) atlas.kept.delete([...atlas.kept.keys()].find((one) => one !== "index"));
  }
  return atlas.kept.get(key);
};

// Addresses: parts of a path, and what is asked of the page, are in the hash.
atlas.address = (parts, asked = {}) => {
  const query = Object.entries(asked).filter(([, value]) => value !== "" && value !== undefined);
  const text = query.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
  return "#/" + parts.map(encodeURIComponent).join("/") + (text ? `?${text}` : "");
};

atlas.where = () => {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const asked = Object.fromEntries(query.split("&").filter(Boolean).map((one) => {
    const [key, value = ""] = one.split("=");
    return [key, decodeURIComponent(value)];
  }));
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), asked };
};

// Numbers as text; what is not known is a dash.
atlas.number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
atlas.small = (value) => (value === null ? "–" : value < 0.001 ? value.toExponential(0) : value.toPrecision(2));
// Probabilities of all neurons are letters, one for each half per cent.
atlas.coarse = (text, at) => (text.charCodeAt(at) > 293 ? null : (text.charCodeAt(at) - 93) / 200);
atlas.share = (thousandths) => (thousandths < 0 ? null : thousandths / 1000);
