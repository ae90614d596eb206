// The histogram, its axis and its legend.

const BINS = 50;
const SVG = "http://www.w3.org/2000/svg";
const place = (value) => Math.min(Math.max((value - low) / (high - low), 0), 1); // 0 left, 1 right

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return parent.appendChild(made);
}

function binned(values) {
  const bins = new Array(BINS).fill(0);
  for (const value of values) bins[Math.min(Math.floor(place(value) * BINS), BINS - 1)]++;
  return bins;
}

/** Each set of bars is as high as its share of its images. The bars of the new images are drawn
 * twice, as good and as anomalous; the threshold cuts each drawing where the other begins. */
function drawHistogram() {
  const svg = find("histogram");
  const [fresh, behind] = [binned(scores), binned(compared)];
  const highest = Math.max(
    ...fresh.map((count) => count / (scores.length || 1)),
    ...behind.map((count) => count / (compared.length || 1)),
  );
  const width = 1000 / BINS;
  const bars = (counts, whole, kind, parent, inset) => {
    counts.forEach((count, bin) => {
      if (!count) return;
      const height = Math.max((96 * count) / whole / highest, 2); // one image is seen, too
      const x = bin * width + inset;
      element("rect", { class: kind, x, y: 100 - height, width: width - 2 * inset, height }, parent);
    });
  };
  bars(behind, compared.length, "compared", svg, 0);
  for (const [side, wrong] of [["good", defective], ["anomalous", sound]]) {
    const clip = element("clipPath", { id: `${side}-side` }, svg);
    element("rect", { y: 0, height: 100, id: `${side}-cut` }, clip);
    const drawn = element("g", { "clip-path": `url(#${side}-side)` }, svg);
    bars(fresh, scores.length, side, drawn, width / 8);
    bars(binned(wrong), scores.length, "wrong", drawn, width / 8);
  }
}

function cutHistogram() {
  const x = 1000 * place(threshold);
  find("good-cut").setAttribute("x", 0);
  find("good-cut").setAttribute("width", x);
  find("anomalous-cut").setAttribute("x", x);
  find("anomalous-cut").setAttribute("width", 1000 - x);
}

function placeLine(id, value) {
  find(id).style.left = `${100 * place(value)}%`;
}

function describeHistogram() {
  const range = (values) => `${number(values.at(-1))} to ${number(values[0])}`;
  const parts = [];
  if (scores.length) {
    parts.push(`Histogram of ${counted(scores.length, "score")}, ${range(scores)}`);
    parts.push(`${anomalous} above the threshold of ${number(threshold)}`);
  }
  if (compared.length) parts.push(`${compared.length} ${comparedName}: ${range(compared)}`);
  find("histogram").setAttribute("aria-label", `${parts.join("; ")}.`);
}

function drawTicks() {
  const rough = (high - low) / 7;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough);
  const places = Math.max(0, -Math.floor(Math.log10(step)));
  for (let count = Math.ceil(low / step); count * step <= high; count++) {
    const tick = document.createElement("span");
    tick.textContent = (count * step).toFixed(places).replace("-", "−");
    tick.style.left = `${100 * place(count * step)}%`;
    find("ticks").append(tick);
  }
}

function drawLegend() {
  const entries = [
    ["good", "--good"],
    ["anomalous", "--anomalous"],
    ...(labelled ? [["wrong by its label", "--wrong"]] : []),
    ...(compared.length ? [[comparedName, "--compared"]] : []),
  ];
  for (const [text, colour] of entries) {
    const entry = document.createElement("li");
    entry.textContent = text;
    entry.style.setProperty("--colour", `var(${colour})`);
    find("legend").append(entry);
  }
  const given = document.createElement("li");
  given.className = "given-line";
  given.textContent = "threshold of the inspection";
  find("legend").append(given);
  if (compared.length) {
    find("heights").textContent = `Height of a bar: its share of the new or of the ${comparedName}.`;
  }
}
