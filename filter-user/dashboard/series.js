// Points in time, as many as are kept, and rates from two looks at the counters of the engine.

export class Series {
  constructor(capacity) {
    this.capacity = capacity;
    this.points = [];
  }

  push(...points) {
    this.points.push(...points);
    this.points.splice(0, this.points.length - this.capacity);
  }

  get last() {
    return this.points.at(-1);
  }
}

/** Packets of the XDP program by action, and dropped ones by reason. */
export function packets(status) {
  const actions = { pass: 0, drop: 0, redirect: 0, tx: 0 };
  const reasons = {};
  for (const { action, reason, packets } of status.xdp) {
    actions[action] = (actions[action] ?? 0) + packets;
    if (action === "drop") reasons[reason] = packets;
  }
  return { actions, reasons };
}

/** Sums over the queues; of fields that are objects, by their names. */
export function queues(status) {
  const sum = { read: 0, forwarded: 0, lost: 0, injected: 0, in_flight: { used: 0, capacity: 0 }, dropped: {}, unscored: {} };
  for (const queue of status.queues) {
    for (const name of ["read", "forwarded", "lost", "injected"]) sum[name] += queue[name];
    sum.in_flight.used += queue.credits.used;
    sum.in_flight.capacity += queue.credits.capacity;
    for (const name of ["dropped", "unscored"]) {
      for (const [reason, count] of Object.entries(queue[name])) sum[name][reason] = (sum[name][reason] ?? 0) + count;
    }
  }
  return sum;
}

/** So many a second of each, from two counts of them. */
export function rates(before, now, seconds) {
  return Object.fromEntries(
    Object.entries(now).map(([name, value]) => [name, Math.max(0, value - (before[name] ?? 0)) / seconds]),
  );
}

/** From two states what the engine would say of the time between them, as far as that goes. */
export function point(before, now) {
  const seconds = now.uptime_s - before.uptime_s;
  if (now.pid !== before.pid || seconds <= 0) return null;
  const { allow, suspicious, block } = now.requests;
  return {
    time: new Date().toISOString(),
    packets: rates(packets(before).actions, packets(now).actions, seconds),
    requests: rates(before.requests, { allow, suspicious, block }, seconds),
  };
}
