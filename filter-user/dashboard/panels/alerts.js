// What an operator should look at: alerts that are raised, and the engine's own warnings.

import { el, show } from "../dom.js";
import { clock } from "../format.js";

const LEVELS = { critical: "bad", warning: "warn" };

export class Alerts {
  #raised = new Map();
  #warnings = [];
  #shown = null;

  constructor(section, { session }) {
    this.list = section.querySelector("ul");
    this.session = session;
  }

  async load() {
    const told = await this.session.find("/v1/alerts");
    this.#raised = new Map((told?.alerts ?? []).filter((alert) => alert.active).map((alert) => [alert.name, alert]));
    this.#draw();
  }

  message({ topic, ...alert }) {
    if (topic !== "alerts") return;
    if (alert.state === "cleared") this.#raised.delete(alert.name);
    else this.#raised.set(alert.name, { ...alert, since: alert.time });
    this.#draw();
  }

  status({ warnings }) {
    this.#warnings = warnings;
    this.#draw();
  }

  #draw() {
    const alerts = [...this.#raised.values()];
    const state = JSON.stringify([alerts, this.#warnings]);
    // Said again only when it is another.
    if (state === this.#shown) return;
    this.#shown = state;
    const lines = alerts.map(({ name, severity, message, since }) =>
      el("li", {}, el("strong", { class: LEVELS[severity] ?? "warn" }, `${severity}: ${name}`), ` ${message} `,
        el("span", { class: "quiet" }, `since ${clock(since)}`)));
    const warnings = this.#warnings.map((text) => el("li", {}, el("strong", { class: "warn" }, "note:"), ` ${text}`));
    show(this.list, lines, warnings, lines.length + warnings.length === 0 && el("li", { class: "good" }, "Nothing to look at."));
  }
}
