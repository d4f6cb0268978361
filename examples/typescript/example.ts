// Sends requests through a service of a running Evenkeel, and says who answered: URL SERVICE COUNT.

import { Evenkeel } from "./evenkeel.ts";
import type { Attempt } from "./evenkeel.ts";

const [admin, service, count] = process.argv.slice(2);
const keel = new Evenkeel({ admin });

async function send(attempt: Attempt): Promise<string> {
  const answer = await fetch(`http://${attempt.address}/who`, { signal: AbortSignal.timeout(5000) });
  attempt.answered(answer.status);
  const body = await answer.text();
  attempt.carried(0, body.length);
  return body.trim();
}

const who = new Map<string, number>();
for (let request = 0; request < Number(count); request += 1) {
  // Asking who answers may be done twice.
  const name = await keel.exchange(service, send, { idempotent: true });
  who.set(name, (who.get(name) ?? 0) + 1);
}
for (const [name, times] of [...who].sort()) {
  console.log(name, times);
}

// Several decisions in one question, and what became of them in one report.
const picks = await keel.picks(service, 3, { key: "user 7" });
const results = await keel.reportAll(picks.map(({ pick }) => ({ pick, outcome: { status: 200, head_ms: 1 } })));
const words = new Set(results.map((one) => one.result));
console.log("together", picks.length, [...words].sort().join(","));
