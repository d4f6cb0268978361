/** As narrow as a phone rows are blocks, and some browsers take a table's roles from what is not laid out as one: each part says its own. */
export function roles(table: HTMLTableElement): () => void {
  const tell = () => {
    table.setAttribute('role', 'table');
    for (const group of [table.tHead, ...table.tBodies]) group?.setAttribute('role', 'rowgroup');
    for (const row of table.rows) {
      row.setAttribute('role', 'row');
      for (const cell of row.cells) {
        const heads = cell.scope === 'row' ? 'rowheader' : 'columnheader';
        cell.setAttribute('role', cell.tagName === 'TH' ? heads : 'cell');
      }
    }
  };
  tell();
  const changes = new MutationObserver(tell);
  changes.observe(table, { childList: true, subtree: true });
  return () => changes.disconnect();
}
