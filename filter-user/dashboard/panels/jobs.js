// What the engine does by itself now and then.

import { el, fill, table } from "../dom.js";
import { clock, count, seconds } from "../format.js";

export class Jobs {
  constructor(section, { session }) {
    this.section = section;
    this.session = session;
    this.table = table("", [
      { title: "Job" }, { title: "Every" }, { title: "Runs", number: true }, { title: "Failed", number: true }, { title: "Last", more: true },
      { title: "Result" },
    ]);
    section.append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Jobs" }, this.table));
  }

  async load() {
    const told = await this.session.find("/v1/jobs");
    this.section.hidden = !told;
    fill(this.table, told?.jobs ?? [], ({ name }) => name, ({ name, every_s, runs, failures, last_run, last_result }) => [
      name, seconds(every_s), count(runs), count(failures), last_run ? clock(last_run) : "–", last_result ?? "–",
    ]);
  }

  tick() {
    return this.load();
  }
}
