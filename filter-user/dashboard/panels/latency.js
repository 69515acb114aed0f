// How long packets and requests take.

import { Chart } from "../chart.js";
import { el, fill, say, table } from "../dom.js";
import { micros } from "../format.js";
import { Series } from "../series.js";

const STAGES = [
  ["driver_to_dequeued", "driver to engine"],
  ["dequeued_to_verdict", "engine to verdict"],
  ["driver_to_forwarded", "driver to forwarded"],
];
const SECONDS = 300;

export class Latency {
  #series = new Series(SECONDS);

  constructor(section, { session }) {
    this.session = session;
    this.table = table("This engine tells nothing of it yet.", [
      { title: "Stage" }, { title: "p50", number: true }, { title: "p99", number: true }, { title: "max", number: true },
    ]);
    this.chart = new Chart("99th percentile", STAGES.map(([stage, label]) =>
      ({ label, value: ({ latency_us }) => latency_us?.[stage]?.p99 })), micros);
    section.append(this.table, this.chart.node);
  }

  async load() {
    const told = await this.session.find("/v1/history?resolution=second");
    if (!told) return;
    this.#series.points = told.points.slice(-SECONDS);
    this.#draw();
  }

  message(message) {
    if (message.topic !== "stats") return;
    this.#series.push(message);
    if (!document.hidden) this.#draw();
  }

  #draw() {
    const now = this.#series.last?.latency_us ?? {};
    say(this.table.caption, "Of the last second.");
    fill(this.table, STAGES, ([stage]) => stage, ([stage, label]) => {
      const { p50, p99, max } = now[stage] ?? {};
      return [label, micros(p50), micros(p99), micros(max)];
    });
    this.chart.draw(this.#series.points);
  }
}
