// A card for each image, their order, and which of them are shown.

const grid = find("grid");
const NEARBY = 400; // pixels beyond the screen in which cards are filled
let inSight = []; // images whose cards are on the screen or near it
let ordered = images; // all, as the grid holds them
let listed = images; // those of them that are shown
let touched = null; // the image whose map a finger has asked for

const columns = () => getComputedStyle(grid).gridTemplateColumns.split(" ").length;

/** Fill the cards in sight. All are of one height, so which these are is counted: to have each of
 * thousands observed costs more than a frame. */
function look() {
  inSight = [];
  if (!listed.length) return;
  const { top } = grid.getBoundingClientRect();
  const row = listed[0].item.offsetHeight + parseFloat(getComputedStyle(grid).rowGap);
  const rowAt = (height) => Math.max(Math.floor((height - top) / row), 0);
  const [first, last] = [rowAt(-NEARBY), rowAt(innerHeight + NEARBY)];
  inSight = listed.slice(first * columns(), (last + 1) * columns());
  for (const image of inSight) {
    fill(image);
    paint(image);
  }
}

/** An empty card for each image: what it shows is put in when it comes near the screen. */
function makeCards() {
  for (const image of images) {
    const item = document.createElement("li");
    item.dataset.rank = image.rank;
    item.innerHTML =
      '<button type="button" class="card" tabindex="-1"><span class="picture"></span>' +
      '<span class="caption"></span></button>';
    image.item = item;
    image.card = item.firstChild;
    image.card.setAttribute("aria-label", image.image);
  }
}

function fill(image) {
  const [picture, caption] = image.card.children;
  if (picture.firstChild) return;
  picture.innerHTML = '<img alt="" draggable="false"><canvas></canvas><span class="wrong-tag"></span>';
  picture.firstChild.src = image.thumbnail;
  caption.innerHTML =
    '<span class="name"><span></span><span></span></span>' +
    '<span><span class="score"></span><span class="decision"></span></span>';
  // Too long a name loses its middle: its end tells it from the next.
  caption.querySelector(".name").firstChild.textContent = image.image.slice(0, -8);
  caption.querySelector(".name").lastChild.textContent = image.image.slice(-8);
  caption.querySelector(".score").textContent = number(image.score);
  image.card.title = image.image;
}

/** Show on a filled card what follows from the threshold. */
function paint(image) {
  const decision = decisionOn(image);
  if (find("maps").checked) drawMap(image, image.card.querySelector("canvas"));
  if (image.card.dataset.decision === decision) return;
  image.card.dataset.decision = decision;
  const wrong = isWrong(image) ? (isAnomalous(image) ? "false alarm" : "missed") : "";
  image.card.querySelector(".decision").textContent = decision;
  image.card.querySelector(".wrong-tag").textContent = wrong;
  const spoken = [image.image, `score ${number(image.score)}`, decision, wrong];
  image.card.setAttribute("aria-label", spoken.filter(Boolean).join(", "));
}

const paletteBytes = Uint8Array.from(atob(data.palette), (character) => character.charCodeAt(0));

/** Draw an image's small map on a canvas, once, as large as its thumbnail. */
async function drawMap(image, canvas) {
  if (canvas.dataset.drawn === image.overlay) return;
  canvas.dataset.drawn = image.overlay;
  const values = atob(image.small_map);
  const side = Math.round(Math.sqrt(values.length));
  const small = new OffscreenCanvas(side, side);
  const pixels = new ImageData(side, side);
  for (let cell = 0; cell < values.length; cell++) {
    const colour = 4 * values.charCodeAt(cell);
    pixels.data.set(paletteBytes.subarray(colour, colour + 4), 4 * cell);
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  const thumbnail = new Image();
  thumbnail.src = image.thumbnail;
  await thumbnail.decode().catch(() => {}); // then it has no size, and the map is square
  if (canvas.dataset.drawn !== image.overlay) return; // another was asked for meanwhile
  canvas.width = thumbnail.naturalWidth || 160;
  canvas.height = thumbnail.naturalHeight || 160;
  canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
}

const byName = new Intl.Collator(undefined, { numeric: true }); // 9.png before 10.png
const ORDERS = {
  highest: (a, b) => b.score - a.score,
  lowest: (a, b) => a.score - b.score,
  nearest: (a, b) => Math.abs(a.score - threshold) - Math.abs(b.score - threshold),
  name: (a, b) => byName.compare(a.image, b.image),
};
const NEAR = 12; // images on each side of the threshold
const FILTERS = {
  all: ["All", () => true, () => images.length],
  anomalous: ["Anomalous", isAnomalous, () => anomalous],
  good: ["Good", (image) => !isAnomalous(image), () => images.length - anomalous],
  wrong: ["Wrong", isWrong, countWrong],
  near: ["Near the threshold", isNear, countNear],
};

function isNear(image) {
  return image.rank >= anomalous - NEAR && image.rank < anomalous + NEAR;
}

function countNear() {
  return Math.min(anomalous, NEAR) + Math.min(images.length - anomalous, NEAR);
}

function countWrong() {
  return countAbove(sound, threshold) + defective.length - countAbove(defective, threshold);
}

function arrange() {
  ordered = [...images].sort(ORDERS[find("order").value]);
  grid.replaceChildren(...ordered.map((image) => image.item));
  select();
}

/** Hide the cards that filter and search leave out. */
function select() {
  const filter = FILTERS[find("filters").dataset.filter][1];
  const sought = find("search").value.trim().toLowerCase();
  listed = ordered.filter((image) => {
    const wanted = filter(image) && image.image.toLowerCase().includes(sought);
    if (image.item.hidden === wanted) image.item.hidden = !wanted;
    return wanted;
  });
  find("shown").textContent = listed.length
    ? `${listed.length} of ${counted(images.length, "image")} shown`
    : "No image is like this.";
  if (!listed.some((image) => image.card.tabIndex === 0)) enter(listed[0]);
  look();
}

function showFilters() {
  for (const button of find("filters").children) {
    const count = FILTERS[button.value][2]();
    button.lastChild.textContent = count;
    button.setAttribute("aria-pressed", button.value === find("filters").dataset.filter);
  }
}

function makeFilters() {
  find("filters").dataset.filter = "all";
  for (const [name, [text]] of Object.entries(FILTERS)) {
    if (name === "wrong" && !labelled) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.value = name;
    button.append(text, document.createElement("b"));
    button.addEventListener("click", () => {
      find("filters").dataset.filter = name;
      select();
      showFilters();
    });
    find("filters").append(button);
  }
}
