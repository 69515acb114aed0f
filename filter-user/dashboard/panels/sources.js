// Sources by risk: who has come nearest to a block.

import { block, change } from "../actions.js";
import { el, fill, say, table } from "../dom.js";

/** Sources that are shown, and from how many the worst are chosen. */
const SHOWN = 20;
const KEPT = 500;

export class Sources {
  #known = new Map();

  constructor(section, { session }) {
    this.session = session;
    this.table = table("", [
      { title: "Source" }, { title: "Points", number: true }, { title: "Of", number: true }, { title: "Strikes", number: true, more: true },
      { title: "Block" },
    ]);
    section.append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Sources by risk" }, this.table));
  }

  async load() {
    const told = await this.session.find(`/v1/sources?limit=${SHOWN}`);
    // They decay; what was heard before is not so any more.
    if (told) this.#known = new Map(told.sources.map((source) => [source.source, source]));
    this.#draw();
  }

  message({ topic, ...source }) {
    if (topic !== "sources" || !source.source) return;
    this.#known.delete(source.source);
    this.#known.set(source.source, source);
    if (this.#known.size > KEPT) this.#known.delete(this.#known.keys().next().value);
    this.#draw();
  }

  tick() {
    return this.load();
  }

  #draw() {
    const worst = [...this.#known.values()].sort((a, b) => b.points - a.points).slice(0, SHOWN);
    say(this.table.caption, worst.length === 0 ? "No source has offended." : "Points decay; at the threshold the source is blocked.");
    fill(this.table, worst, ({ source }) => source, ({ source, points, threshold, strikes }) => [
      source, Number(points).toFixed(1), String(threshold ?? "–"), String(strikes ?? 0),
      change(this.session, "Block", () => block(this.session, source, { for_s: 3600, reason: "risk" }), `Block ${source} for an hour`),
    ]);
  }
}
