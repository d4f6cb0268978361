// A client of Evenkeel's decisions: asks whom to send a request to, and says how it went.
//
// One file, no dependencies, over `fetch`.
//
//   const keel = new Evenkeel({ admin: "http://127.0.0.1:9900" });
//   const answer = await keel.exchange("api", async (attempt) => {
//     const answer = await fetch(`http://${attempt.address}/orders`, { signal: AbortSignal.timeout(5000) });
//     attempt.answered(answer.status);
//     return answer.text();
//   }, { idempotent: true });

/** What is asked of a service; all of it may be left out. */
export interface Ask {
  key?: string;
  client?: string;
  zone?: string;
  kept?: string;
  tried?: string[];
  class?: number;
  wait_ms?: number;
  expires_ms?: number;
}

/** The right to send one request to one backend. */
export interface Picked {
  pick: string;
  backend: { id: string; address: string | null; zone: string | null };
  trial: boolean;
}

export type Fault = "connect" | "reset" | "timeout" | "protocol" | "overloaded" | "client_left";

/** How an attempt went. With nothing in it: well. */
export interface Outcome {
  status?: number;
  error?: Fault;
  waited_ms?: number;
  connect_ms?: number;
  head_ms?: number;
  total_ms?: number;
  sent_bytes?: number;
  received_bytes?: number;
  retry_after_seconds?: number;
  retry?: { idempotent: boolean; sent?: boolean; attempts?: number };
}

/** Whether an attempt is to be made again. */
export interface Advice {
  again: boolean;
  after_ms?: number;
  why?: string;
}

/** What became of a report. */
export interface Result {
  pick: string;
  result: string;
  retry?: Advice;
}

/** The instance gives no pick, or takes no report. `reason` is a word of its closed list, such as `all_down`. */
export class Refused extends Error {
  status: number;
  reason: string;

  constructor(status: number, problem: { detail?: string; reason?: string }) {
    super(problem.detail ?? `the instance answers ${status}`);
    this.status = status;
    this.reason = problem.reason ?? "refused";
  }
}

/** An instance, by the URL of its admin address. `token` is sent as `Authorization: Bearer`. */
export class Evenkeel {
  #admin: string;
  #fields: Record<string, string>;
  #timeout: number;

  constructor(options: { admin?: string; token?: string; timeoutMs?: number } = {}) {
    this.#admin = (options.admin ?? "http://127.0.0.1:9900").replace(/\/+$/, "");
    this.#timeout = options.timeoutMs ?? 10_000;
    this.#fields = { "content-type": "application/json" };
    if (options.token !== undefined) {
      this.#fields["authorization"] = `Bearer ${options.token}`;
    }
  }

  /** One pick. */
  async pick(service: string, ask: Ask = {}): Promise<Picked> {
    return (await this.picks(service, 1, ask))[0];
  }

  /** Up to `count` picks in one question; at least one. */
  async picks(service: string, count: number, ask: Ask = {}): Promise<Picked[]> {
    const path = `/v1/services/${encodeURIComponent(service)}/picks`;
    const answer = await this.#post<{ picks: Picked[] }>(path, { ...ask, picks: count });
    return answer.picks;
  }

  /** How an attempt went. Gives what becomes of `retry`, if that is asked. */
  async report(pick: string, outcome: Outcome = {}): Promise<Advice | undefined> {
    const path = `/v1/picks/${encodeURIComponent(pick)}/outcome`;
    return (await this.#post<Result>(path, outcome)).retry;
  }

  /** Several at once; gives a result for each. */
  async reportAll(outcomes: { pick: string; outcome?: Outcome }[]): Promise<Result[]> {
    return (await this.#post<{ results: Result[] }>("/v1/picks/outcomes", { outcomes })).results;
  }

  /**
   * Calls `send` with a backend, and again with another one where that fails and the service says that it may be tried again. What fails
   * throws; a status that it tells by `attempt.answered` fails as the instance says of statuses, and the last one's result is given.
   */
  async exchange<T>(
    service: string,
    send: (attempt: Attempt) => Promise<T>,
    options: Ask & { idempotent?: boolean } = {},
  ): Promise<T> {
    const { idempotent = false, tried = [], ...ask } = options;
    const without = [...tried];
    let result: { value: T } | undefined;
    let failed: unknown;
    for (let attempts = 1; ; attempts += 1) {
      let picked: Picked;
      try {
        picked = await this.pick(service, { ...ask, tried: without });
      } catch (error) {
        // There is nobody else: what the last one said is what there is.
        if (attempts > 1 && error instanceof Refused) {
          break;
        }
        throw error;
      }
      const attempt = new Attempt(picked);
      result = undefined;
      try {
        result = { value: await send(attempt) };
      } catch (error) {
        failed = error;
      }
      const outcome = attempt.ended(result === undefined ? fault(failed) : undefined);
      const sent = outcome.error !== "connect";
      let advice: Advice | undefined;
      try {
        advice = await this.report(attempt.picked.pick, { ...outcome, retry: { idempotent, sent, attempts } });
      } catch {
        // Over, or of a process that has ended: the answer counts, not that it was told.
      }
      if (advice?.again !== true) {
        break;
      }
      without.push(attempt.picked.backend.id);
      const after = advice.after_ms ?? 0;
      await new Promise((resolve) => setTimeout(resolve, after));
    }
    if (result === undefined) {
      throw failed;
    }
    return result.value;
  }

  async #post<T>(path: string, body: unknown): Promise<T> {
    const answer = await fetch(this.#admin + path, {
      method: "POST",
      headers: this.#fields,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(this.#timeout),
    });
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      throw new Refused(answer.status, problem as { detail?: string; reason?: string });
    }
    return (await answer.json()) as T;
  }
}

/** One attempt on one backend. */
export class Attempt {
  readonly picked: Picked;
  #began = performance.now();
  #outcome: Outcome = {};

  constructor(picked: Picked) {
    this.picked = picked;
  }

  /** Where the backend is reached. */
  get address(): string {
    return this.picked.backend.address ?? "";
  }

  /** The response head came: to be said at once, as it is what the backend's latency is. */
  answered(status?: number, retryAfterSeconds?: number): void {
    this.#outcome.head_ms = this.#since();
    this.#outcome.status = status;
    this.#outcome.retry_after_seconds = retryAfterSeconds;
  }

  /** So many bytes. */
  carried(sent: number, received: number): void {
    this.#outcome.sent_bytes = sent;
    this.#outcome.received_bytes = received;
  }

  /** What is reported of it. */
  ended(error?: Fault): Outcome {
    return { ...this.#outcome, total_ms: this.#since(), error };
  }

  #since(): number {
    return performance.now() - this.#began;
  }
}

/** The API's word for what an error of `fetch` says of the backend. */
export function fault(error: unknown): Fault {
  const within = (error as { cause?: unknown } | undefined)?.cause ?? error;
  const code = (within as { code?: string } | undefined)?.code ?? "";
  const name = (within as { name?: string } | undefined)?.name ?? "";
  if (name === "TimeoutError" || /TIMEOUT|ETIMEDOUT/.test(code)) {
    return code === "UND_ERR_CONNECT_TIMEOUT" ? "connect" : "timeout";
  }
  if (/ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN/.test(code)) {
    return "connect";
  }
  if (/ECONNRESET|EPIPE|UND_ERR_SOCKET/.test(code)) {
    return "reset";
  }
  if (/^HPE_/.test(code)) {
    return "protocol";
  }
  // What the program itself did wrong, or gave up, is not its backend's.
  return "client_left";
}
