// Asks the API. Knows of tokens and problems, nothing of views.
import type { Page, Problem } from './types';

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Partial<Problem>,
  ) {
    super(problem.detail ?? problem.title ?? `The server answered ${status}.`);
  }
}

/** The server gave no answer at all: it restarts, or the way to it is broken. */
export class Unreachable extends Error {}

export interface Ask {
  method?: string;
  body?: unknown;
  /** The revision that the write is meant for, or `*`. */
  match?: string;
  /** Says "the same as before" of a write that is sent again. */
  key?: string;
  signal?: AbortSignal;
}

/** Ten seconds: an answer that takes longer is a server that hangs. */
const PATIENCE_MS = 10_000;

export class Client {
  token = '';
  onUnauthorized: () => void = () => {};
  onForbidden: () => void = () => {};
  /** Something was written, and this revision runs then. */
  onWrote: (revision: string) => void = () => {};

  headers(): Headers {
    const headers = new Headers({ Accept: 'application/json' });
    if (this.token) headers.set('Authorization', `Bearer ${this.token}`);
    return headers;
  }

  async ask<T>(path: string, { method = 'GET', body, match, key, signal }: Ask = {}): Promise<T> {
    const headers = this.headers();
    if (method !== 'GET') headers.set('X-Evenkeel', '1');
    if (body !== undefined) headers.set('Content-Type', 'application/json');
    if (match) headers.set('If-Match', match === '*' ? '*' : `"${match}"`);
    if (key) headers.set('Idempotency-Key', key);
    const asked: RequestInit = {
      method,
      headers,
      cache: 'no-store',
      signal: signal ?? AbortSignal.timeout(PATIENCE_MS),
    };
    if (body !== undefined) asked.body = JSON.stringify(body);
    const token = this.token;
    let answer: Response;
    try {
      answer = await fetch(path, asked);
    } catch (error) {
      throw new Unreachable(error instanceof Error ? error.message : String(error));
    }
    const said: unknown = await answer.json().catch(() => null);
    const tag = answer.headers.get('ETag');
    if (answer.ok && method !== 'GET' && tag) this.onWrote(tag.replaceAll('"', ''));
    if (answer.ok) return said as T;
    // A refusal of a token that is no longer the one in use says nothing of the new one.
    if (answer.status === 401 && token === this.token) this.onUnauthorized();
    if (answer.status === 403 && token === this.token) this.onForbidden();
    throw new ApiError(answer.status, (said ?? {}) as Partial<Problem>);
  }

  /** All pages of a list. Begins anew where a row that a page hung on is gone. */
  async all<T>(path: string): Promise<T[]> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.pages<T>(path);
      } catch (error) {
        if (attempt > 2 || !(error instanceof ApiError) || error.status !== 404) throw error;
      }
    }
  }

  private async pages<T>(path: string): Promise<T[]> {
    const rows: T[] = [];
    let after: string | null | undefined;
    do {
      const query = after ? `?limit=1000&after=${encodeURIComponent(after)}` : '?limit=1000';
      const page: Page<T> = await this.ask(path + query);
      rows.push(...page.items);
      after = page.next;
    } while (after);
    return rows;
  }
}

export const name = encodeURIComponent;
export const backendPath = (service: string, backend: string) =>
  `/v1/services/${name(service)}/backends/${name(backend)}`;
