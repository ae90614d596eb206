// The images, sorted by score, and what follows from a threshold: an image is anomalous if its score
// exceeds it. `data` is what page.py wrote.

const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);

const images = data.images.sort((a, b) => b.score - a.score);
const scores = images.map((image) => image.score);
const sound = images.filter((image) => image.label === 0).map((image) => image.score);
const defective = images.filter((image) => image.label === 1).map((image) => image.score);
const labelled = sound.length + defective.length;
const compared = data.reference ? data.reference.scores.toReversed() : [];
const comparedName = data.reference?.seen ? "training images" : "held-out images";
const [low, high] = limits([...scores, ...compared, data.threshold]);
const digits = Math.max(0, Math.ceil(Math.log10(300 / (high - low)))); // 300 steps or more

let threshold = data.threshold;
let anomalous = 0; // how many images are: the first ones of `images`

/** The ends of the scale: a little beyond all values, so that every one can be passed. */
function limits(values) {
  const smallest = values.reduce((a, b) => Math.min(a, b));
  const largest = values.reduce((a, b) => Math.max(a, b));
  const beyond = 0.03 * (largest - smallest) || 1;
  return [smallest - beyond, largest + beyond];
}

/** How many of `descending` exceed `limit`: binary search. */
function countAbove(descending, limit) {
  let first = 0;
  let end = descending.length;
  while (first < end) {
    const middle = (first + end) >> 1;
    if (descending[middle] > limit) first = middle + 1;
    else end = middle;
  }
  return first;
}

/** The shortest number that is at least `below` and less than `above`: it tells the two apart. */
function between(below, above) {
  const middle = below + (above - below) / 2;
  for (let places = 0; places < 18; places++) {
    const short = Number(middle.toFixed(places));
    if (short >= below && short < above) return short;
  }
  return below;
}

/** The threshold above which `count` images are, or more (`by` > 0) or fewer (`by` < 0), since
 * images of one score fall on one side. */
function thresholdFor(count, by) {
  count = Math.min(Math.max(count, 0), scores.length);
  while (count > 0 && count < scores.length && scores[count - 1] === scores[count]) count += by;
  return between(scores[count] ?? low, scores[count - 1] ?? high);
}

images.forEach((image, rank) => (image.rank = rank));

const isAnomalous = (image) => image.score > threshold;
const isWrong = (image) => image.label !== null && isAnomalous(image) !== (image.label === 1);
const decisionOn = (image) => (isAnomalous(image) ? "anomalous" : "good");
const number = (value) => value.toFixed(digits).replace("-", "−");
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const isShortcut = (event) => event.altKey || event.ctrlKey || event.metaKey; // the browser's own
const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");
