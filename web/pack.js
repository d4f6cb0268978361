// Packs what vite has built, file by file, and says how much that is: the program takes the packed files alone.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';

const MOST = 150 * 1024;

function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : path.endsWith('.gz') ? [] : [path];
  });
}

let total = 0;
for (const path of files('dist')) {
  const packed = gzipSync(readFileSync(path), { level: constants.Z_BEST_COMPRESSION });
  writeFileSync(`${path}.gz`, packed);
  total += packed.length;
}
console.log(`${total} bytes, packed`);
if (total > MOST) {
  console.error(`more than ${MOST}`);
  process.exit(1);
}
