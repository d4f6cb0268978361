// Server-sent events, from pieces of text as they come.

export interface Message {
  id: string;
  type: string;
  data: string;
}

/** Far above any event; a line beyond it is no event stream. */
const MOST_CHARS = 1 << 20;

export class StreamParser {
  private rest = '';
  private data: string[] = [];
  private type = '';
  private held = 0;
  /** The last id that was seen: what to resume behind. */
  id = '';

  feed(text: string): Message[] {
    this.rest += text;
    const messages: Message[] = [];
    // A lone CR at the end may be the half of a CRLF: it waits.
    for (let end; (end = /\r\n|\n|\r(?=[^])/.exec(this.rest)); ) {
      const message = this.line(this.rest.slice(0, end.index));
      this.rest = this.rest.slice(end.index + end[0].length);
      if (message) messages.push(message);
    }
    if (this.rest.length + this.held > MOST_CHARS) throw new Error('an event is too long');
    return messages;
  }

  private line(line: string): Message | null {
    if (line === '') return this.dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') {
      this.data.push(value);
      this.held += value.length;
    } else if (field === 'event') this.type = value;
    else if (field === 'id' && !value.includes('\0')) this.id = value;
    return null;
  }

  private dispatch(): Message | null {
    const message = { id: this.id, type: this.type || 'message', data: this.data.join('\n') };
    const empty = this.data.length === 0;
    this.data = [];
    this.type = '';
    this.held = 0;
    return empty ? null : message;
  }
}

/** Waits of 0.5, 1, 2, ... 15 s; `chance` in 0..1 spreads pages that lost the same server. */
export const backoff_ms = (attempt: number, chance: number): number =>
  Math.min(15_000, 500 * 2 ** Math.min(attempt, 10)) * (0.5 + chance / 2);
