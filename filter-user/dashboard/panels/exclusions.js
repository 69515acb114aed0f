// Exclusions that were made while the engine runs, and their end.

import { change } from "../actions.js";
import { el, fill, say, table } from "../dom.js";
import { seconds } from "../format.js";

export class Exclusions {
  constructor(section, { session }) {
    this.section = section;
    this.session = session;
    this.table = table("", [
      { title: "Rules" }, { title: "Path" }, { title: "Where", more: true }, { title: "Left" }, { title: "Why" }, { title: "End" },
    ]);
    section.append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Exclusions" }, this.table));
  }

  async load() {
    const told = await this.session.find("/v1/exclusions");
    this.section.hidden = !told;
    const exclusions = told?.exclusions ?? [];
    say(this.table.caption, exclusions.length === 0 ? "None is in force." : "A rule that is excluded does not count there.");
    fill(this.table, exclusions, ({ id }) => id, ({ id, rules, path, target, remaining_s, reason }) => [
      (rules ?? []).join(", "), path ?? "any", target ?? "any", seconds(remaining_s), reason ?? "",
      change(this.session, "End", () => this.#end(id), `End the exclusion of rule ${rules} at ${path}`),
    ]);
  }

  async #end(id) {
    await this.session.call("DELETE", `/v1/exclusions/${encodeURIComponent(id)}`);
    await this.load();
    return "The rule counts again";
  }

  message({ topic }) {
    if (topic === "config") return this.load();
  }

  tick() {
    return this.load();
  }
}
