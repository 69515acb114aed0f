// The dashboard: opens the session, fills the panels with what is, and keeps them up with what happens.

import { explain, tell } from "./actions.js";
import { say } from "./dom.js";
import { Alerts } from "./panels/alerts.js";
import { Blocks } from "./panels/blocks.js";
import { Queues, Rules } from "./panels/engine.js";
import { Exclusions } from "./panels/exclusions.js";
import { Jobs } from "./panels/jobs.js";
import { Latency } from "./panels/latency.js";
import { Requests } from "./panels/requests.js";
import { Sources } from "./panels/sources.js";
import { Traffic } from "./panels/traffic.js";
import { Way } from "./panels/way.js";
import { Session } from "./session.js";
import { Stream } from "./stream.js";
import { startTheme } from "./theme.js";
import { askForToken } from "./token.js";

/** The state of the engine is asked for so often, in milliseconds, and lists that nothing tells of every so many times. */
const EVERY = 2000;
const LISTS_EVERY = 5;
const TOPICS = ["verdicts", "blocks", "alerts", "sources", "stats", "config", "workers"];

const part = (id) => document.getElementById(id);
const session = new Session(askForToken);
let lost = 0;
let connection = ["connecting …", true];

startTheme(part("theme"));
part("leave").addEventListener("click", () => session.leave());
start().catch((problem) => connected(explain(problem), false));

async function start() {
  await session.open();
  part("leave").hidden = !session.token;
  if (!session.mayChange) {
    say(part("note"), `Read only: ${session.name} has the role ${session.role}. Blocking, excluding and reloading take an operator's token.`);
    part("note").hidden = false;
  }
  const context = { session };
  const panels = Object.entries({
    alerts: Alerts, traffic: Traffic, way: Way, requests: Requests, blocks: Blocks, sources: Sources, latency: Latency,
    queues: Queues, rules: Rules, exclusions: Exclusions, jobs: Jobs,
  }).map(([id, Panel]) => new Panel(part(id), context));
  const each = (name, argument) => panels.map((panel) => panel[name]?.(argument));
  // What is there is read before what happens is heard, from the last of it on.
  const loaded = await settle(each("load"));
  const last = loaded.find((number) => Number.isFinite(number)) ?? null;
  new Stream(session, TOPICS, {
    message: (message) => settle(each("message", message)),
    lost: (count) => {
      lost = count === null || lost === null ? null : lost + count;
      connected(...connection);
    },
    state: connected,
  }).open(last);
  let rounds = 0;
  for (;;) {
    if (!document.hidden) await look(each, ++rounds % LISTS_EVERY === 0);
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

/** What all of them came to; what fails is told, and keeps nobody else. */
function settle(tasks) {
  return Promise.all(tasks.map((task) => Promise.resolve(task).catch((problem) => tell(explain(problem)))));
}

async function look(each, withLists) {
  try {
    const status = await session.get("/v1/stats");
    say(part("engine"), `${status.version} on ${status.interface}, mode ${status.mode}`);
    each("status", status);
    const health = await session.get("/health");
    const bad = Object.entries(health.components).filter(([, { status }]) => status !== "ok").map(([name]) => name);
    badge(part("health"), bad.length ? `${health.status}: ${bad.join(", ")}` : health.status,
      { ok: "good", degraded: "warn" }[health.status] ?? "bad");
    if (withLists) await settle(each("tick"));
  } catch (problem) {
    badge(part("health"), explain(problem), "bad");
  }
}

function connected(text, isGood) {
  connection = [text, isGood];
  const gone = lost === null ? ", some messages are lost" : lost > 0 ? `, ${lost} messages lost` : "";
  badge(part("connection"), text + gone, isGood ? (gone ? "warn" : "good") : "bad");
}

function badge(node, text, level) {
  node.hidden = false;
  node.className = `badge ${level}`;
  say(node, text);
}
