// Lines over time, as SVG. Moving over it, or the arrow keys, show the values of one moment.

import { el, say } from "./dom.js";
import { clock } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 100;

export class Chart {
  #points = [];
  #at = null;

  /** `series` are `{label, value(point)}`; `format` writes values. */
  constructor(title, series, format) {
    Object.assign(this, { title, series, format });
    this.top = el("span");
    this.values = series.map(() => el("strong"));
    this.moment = el("span");
    const legend = series.map(({ label }, i) =>
      el("span", {}, key(i), ` ${label} `, this.values[i]));
    this.svg = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: 0 });
    for (const y of [0, 0.5, 1]) this.svg.append(svg("path", { class: "grid", d: `M0 ${1 + y * (HEIGHT - 2)}H${WIDTH}` }));
    this.lines = series.map((_, i) => this.svg.appendChild(svg("path", { class: `series${i}` })));
    this.mark = this.svg.appendChild(svg("path", { class: "mark" }));
    this.svg.addEventListener("pointermove", (event) => {
      const { left, width } = this.svg.getBoundingClientRect();
      this.#look(Math.round(((event.clientX - left) / width) * (this.#points.length - 1)));
    });
    this.svg.addEventListener("pointerleave", () => this.#look(null));
    this.svg.addEventListener("blur", () => this.#look(null));
    this.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.#look((this.#at ?? this.#points.length - 1) + step);
    });
    this.node = el("figure", {}, el("h3", {}, title), el("figcaption", {}, legend, this.top, this.moment), this.svg);
  }

  draw(points) {
    this.#points = points;
    const values = this.series.map(({ value }) => points.map((point) => value(point)));
    const largest = Math.max(0, ...values.flat().filter(Number.isFinite));
    const scale = nice(largest);
    values.forEach((series, i) => this.lines[i].setAttribute("d", line(series, scale)));
    say(this.top, `up to ${this.format(scale)}`);
    this.#look(this.#at);
  }

  #look(at) {
    const { length } = this.#points;
    this.#at = at === null || length === 0 ? null : Math.min(Math.max(at, 0), length - 1);
    const point = this.#points[this.#at ?? length - 1];
    this.series.forEach(({ value }, i) => say(this.values[i], point ? this.format(value(point)) : "–"));
    say(this.moment, this.#at === null ? "" : `at ${clock(point.time)}`);
    const x = (this.#at / Math.max(length - 1, 1)) * WIDTH;
    this.mark.setAttribute("d", this.#at === null ? "" : `M${x} 0V${HEIGHT}`);
    const told = this.series.map(({ label }, i) => `${label} ${this.values[i].textContent}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${told.join(", ")}`);
  }
}

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  return node;
}

function key(i) {
  const node = svg("svg", { class: `key series${i}`, viewBox: "0 0 16 6", "aria-hidden": "true" });
  node.append(svg("path", { d: "M0 3H16" }));
  return node;
}

/** The next of 1, 2, 5, 10, 20 and so on. */
function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

/** A line with gaps where there is no value. */
function line(values, scale) {
  let pen = "M";
  return values
    .map((value, i) => {
      if (!Number.isFinite(value)) {
        pen = "M";
        return "";
      }
      const x = (i / Math.max(values.length - 1, 1)) * WIDTH;
      const y = 1 + (1 - value / scale) * (HEIGHT - 2);
      const step = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      return step;
    })
    .join("");
}
