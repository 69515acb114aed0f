// The engine's own parts: queues, the workers of the second tier, rules and model.

import { change } from "../actions.js";
import { el, facts, fill, say, show, table } from "../dom.js";
import { count, fill as level, seconds } from "../format.js";

export class Queues {
  constructor(section) {
    this.table = table("A thread reads each queue.", [
      { title: "Queue" }, { title: "In flight" }, { title: "Flows", number: true }, { title: "Forwarded", number: true, more: true },
      { title: "Last sign", number: true },
    ]);
    this.workers = el("div");
    section.append(this.table, el("h3", {}, "Second tier"), this.workers);
  }

  status({ queues, deep }) {
    fill(this.table, queues, ({ queue }) => queue, ({ queue, interface: name, credits, flows, forwarded, heartbeat_age_ms }) => [
      name ? `${queue} (${name})` : String(queue), level(credits), count(flows), count(forwarded), `${count(heartbeat_age_ms)} ms`,
    ]);
    if (!deep) return show(this.workers, el("p", { class: "quiet" }, "off"));
    show(this.workers, facts([
      ["Workers", count(deep.workers)],
      ["Waiting", `${count(deep.waiting)}, ${count(deep.depth)} of them with no worker yet`],
      ["Breaker", deep.breaker],
      ["Looked at", count(deep.requests.submitted ?? 0)],
      ["Blocked", count(deep.requests.blocked ?? 0)],
    ]));
  }
}

export class Rules {
  constructor(section, { session }) {
    this.facts = el("div");
    this.trial = el("p", { class: "warn", role: "status" });
    const tell = (path, body) => async () => (await session.call("POST", path, body)).message;
    section.append(this.facts, this.trial, el("div", { class: "row" },
      change(session, "Reload on trial (2 min)", tell("/v1/reload", { confirm_within_s: 120 })),
      change(session, "Confirm", tell("/v1/reload/confirm"), "Confirm the reload on trial"),
      change(session, "Take back", tell("/v1/reload/revert"), "Take back the reload on trial")));
  }

  status({ rules, reload_on_trial_s, mode, on_failure }) {
    const { model } = rules;
    show(this.facts, facts([
      ["Mode", `${mode}, on failure ${on_failure}`],
      ["Rules", `${count(rules.count)} of version ${rules.version}`],
      ["Reloads", count(rules.reloads)],
      ...(rules.last_error ? [["Last reload", el("span", { class: "bad" }, rules.last_error)]] : []),
      ["Model", model.version ? `${model.source}, checksum ${model.version}` : `none in force (${model.source})`],
      ...(model.error ? [["Model's error", el("span", { class: "bad" }, model.error)]] : []),
    ]));
    const left = reload_on_trial_s;
    say(this.trial, left === null || left === undefined ? "" : `The last reload is taken back in ${seconds(left)}, unless it is confirmed.`);
  }
}
