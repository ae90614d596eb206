// Moving among the cards, and one image, large.

let entered = null; // the one card that the tab key stops at

function enter(image) {
  if (entered) entered.card.tabIndex = -1;
  entered = image ?? null;
  if (entered) entered.card.tabIndex = 0;
}

const imageOf = (event) => images[event.target.closest("li")?.dataset.rank];

let pointer = ""; // what was last put down on the grid: "mouse", "touch" or "pen"

function showMapUnder(event) {
  const image = imageOf(event);
  if (image) {
    fill(image);
    paint(image);
    drawMap(image, image.card.querySelector("canvas"));
  }
  return image;
}

function moveOnGrid(event) {
  if (isShortcut(event)) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
  const now = listed.indexOf(imageOf(event));
  const ends = { Home: 0, End: listed.length - 1 };
  const next = listed[ends[event.key] ?? now + steps[event.key]];
  if (!next) return;
  event.preventDefault();
  next.card.focus();
}

/** Open an image. Where nothing hovers, the first tap shows its map and the second opens it. */
function openCard(event) {
  const image = imageOf(event);
  if (!image) return;
  const byFinger = event.detail > 0 && pointer === "touch"; // no detail: by a key
  if (byFinger && touched !== image) {
    touched?.card.classList.remove("touched");
    touched = image;
    image.card.classList.add("touched");
  } else openLarge(image);
}

let opened = null;
let preview = ""; // why it is not seen in full size
let sequence = []; // the images as they were listed when the first was opened

function openLarge(image) {
  sequence = listed;
  showLarge(image);
  find("large").showModal();
}

function showLarge(image) {
  opened = image;
  preview = "";
  const at = sequence.indexOf(image);
  const map = find("large-toggle").getAttribute("aria-pressed") === "true";
  find("large-name").textContent = image.image;
  find("large-place").textContent = `${at + 1} of ${sequence.length}`;
  find("previous").disabled = at === 0;
  find("next").disabled = at === sequence.length - 1;
  find("large-map").hidden = true;
  const picture = find("large-image");
  picture.onerror = () => {
    picture.onerror = null;
    picture.src = image.thumbnail;
    find("large-map").hidden = false;
    drawMap(image, find("large-map"));
    preview = " (small preview: its overlay is not beside this page)";
    describeLarge();
  };
  picture.src = map ? image.overlay : image.thumbnail;
  if (!map) preview = " (small preview)";
  describeLarge();
}

function describeLarge() {
  const decision = decisionOn(opened);
  const distance = number(Math.abs(opened.score - threshold));
  const side = isAnomalous(opened) ? "above" : "below";
  const label = { 0: ", labelled good", 1: ", labelled defective" }[opened.label] ?? "";
  find("large-text").dataset.decision = decision;
  find("large-text").innerHTML = '<b class="decision"></b><span></span>';
  find("large-text").firstChild.textContent = decision;
  find("large-text").lastChild.textContent =
    `${label}; score ${number(opened.score)}, ${distance} ${side} the threshold${preview}`;
  find("move").textContent =
    `Move the threshold: this one is ${isAnomalous(opened) ? "good" : "anomalous"}`;
}

function closeLarge() {
  (listed.includes(opened) ? opened : listed[0])?.card.focus();
}

function pressOnLarge(event) {
  if (isShortcut(event)) return;
  if (event.key === "ArrowLeft") goOn(-1);
  else if (event.key === "ArrowRight") goOn(1);
  else if (event.key.toLowerCase() === "m") toggleLargeMap();
}

function goOn(by) {
  const next = sequence[sequence.indexOf(opened) + by];
  if (next) showLarge(next);
}

/** Move the threshold just past the open image, so that its decision changes. */
function moveThreshold() {
  const count = isAnomalous(opened)
    ? countAbove(scores, opened.score)
    : scores.lastIndexOf(opened.score) + 1;
  setThreshold(thresholdFor(count, isAnomalous(opened) ? -1 : 1));
  describeLarge();
}

function toggleLargeMap() {
  const toggle = find("large-toggle");
  toggle.setAttribute("aria-pressed", toggle.getAttribute("aria-pressed") !== "true");
  showLarge(opened);
}
