// Who asks, and what they may.
import { ApiError, Client } from '../api/client';

const KEY = 'evenkeel-token';

interface Who {
  name?: string | null;
  scopes?: string[];
}

class Caller {
  readonly client = new Client();
  state = $state<'asking' | 'in' | 'out'>('asking');
  said = $state('');
  name = $state('');
  /** Null: the server does not tell, so that everything is offered and it refuses. */
  scopes = $state<string[] | null>(null);

  constructor() {
    this.client.token = sessionStorage.getItem(KEY) ?? '';
    // They were given other rights meanwhile.
    this.client.onForbidden = () => void this.begin();
    this.client.onUnauthorized = () => this.out(this.client.token ? 'The token is not taken any more.' : '');
  }

  may(scope: string): boolean {
    return this.scopes === null || this.scopes.includes(scope);
  }

  async begin(): Promise<void> {
    try {
      const who = await this.client.ask<Who>('/v1/whoami');
      this.name = who.name ?? '';
      this.scopes = who.scopes ?? null;
      this.state = 'in';
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return;
      // An older server has no such address; one that does not answer is told of by the views.
      this.scopes = null;
      this.state = 'in';
    }
  }

  async enter(token: string): Promise<void> {
    this.client.token = token.trim();
    sessionStorage.setItem(KEY, this.client.token);
    this.said = '';
    await this.begin();
  }

  out(said: string): void {
    this.client.token = '';
    sessionStorage.removeItem(KEY);
    this.said = said;
    this.state = 'out';
  }
}

export const caller = new Caller();
