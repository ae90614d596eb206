// The threshold: what the page shows of it, and the file that it is saved in.

/** Set the threshold; the page follows with the next frame. */
function setThreshold(value) {
  if (!Number.isFinite(value)) return;
  threshold = value;
  find("saved").textContent = "";
  requestFrame();
  settleSoon();
}

let frame = 0;
function requestFrame() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    show();
  });
}

// What would be too much for each frame, or too often to be spoken, waits until the slider rests:
// so the cards stay where they are under the eye, too.
let rest = 0;
function settleSoon() {
  clearTimeout(rest);
  rest = setTimeout(settle, 150);
}

function settle() {
  if (find("order").value === "nearest") arrange();
  else select();
  find("spoken").textContent = `${anomalous} of ${counted(images.length, "image")} anomalous`;
  describeHistogram();
}

/** Everything that follows from the threshold. */
function show() {
  anomalous = countAbove(scores, threshold);
  showThreshold();
  showJudged();
  for (const image of inSight) paint(image);
  showFilters();
}

function showThreshold() {
  const slider = find("slider");
  const called = `${anomalous} anomalous, ${images.length - anomalous} good`;
  slider.value = threshold;
  slider.setAttribute("aria-valuetext", `${number(threshold)}: ${called}`);
  if (document.activeElement !== find("number")) find("number").value = shortened();
  find("anomalous-count").textContent = anomalous;
  find("good-count").textContent = images.length - anomalous;
  find("at").textContent = number(threshold);
  find("reset").disabled = threshold === data.threshold;
  placeLine("line", threshold);
  cutHistogram();
  if (compared.length) {
    const above = countAbove(compared, threshold);
    const all = counted(compared.length, `good ${comparedName.slice(0, -1)}`); // without the s
    find("reference").textContent =
      `Of ${all}, ${above} (${share(above, compared.length)}) ` +
      `${above === 1 ? "is" : "are"} above the threshold.`;
  }
}

/** The threshold for the field: nobody reads 17 digits. What is saved has them all. */
function shortened() {
  return Number(threshold.toPrecision(6));
}

/** Precision, recall and false positive rate, where labels are given. */
function showJudged() {
  if (!labelled) return;
  const hits = countAbove(defective, threshold);
  const alarms = countAbove(sound, threshold);
  const rows = [
    ["Precision", hits, hits + alarms, "called anomalous are defective"],
    ["Recall", hits, defective.length, "defective are called anomalous"],
    ["False positive rate", alarms, sound.length, "good are called anomalous"],
  ];
  rows.forEach(([, part, whole, meaning], row) => {
    const cells = find("metrics").rows[row].cells;
    cells[0].lastChild.textContent = `${part} of ${whole} ${meaning}`;
    cells[1].textContent = share(part, whole);
  });
  find("hits").textContent = hits;
  find("missed").textContent = defective.length - hits;
  find("alarms").textContent = alarms;
  find("passed").textContent = sound.length - alarms;
}

function save() {
  const chosen = {
    kind: "ssn_lib threshold",
    run: data.run,
    score_threshold: threshold,
    images: images.length,
    chosen: new Date().toISOString(),
  };
  const link = document.createElement("a");
  const content = `${JSON.stringify(chosen, null, 2)}\n`;
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = `threshold_${shortened()}.json`; // a browser would number a second of one name
  link.click();
  find("saved").textContent =
    `Saved ${threshold} as ${link.download}. Give it to predict or export: --threshold ${link.download}`;
}
