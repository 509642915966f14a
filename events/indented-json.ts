/** JSON made readable without parsing it: numbers, escapes and the order of members stay as they were written. */

const OPENING = new Set(['{', '[']);
const CLOSING = new Set(['}', ']']);
const WHITE = new Set([' ', '\t', '\n', '\r']);

/** The same JSON, indented by two spaces; empty objects and lists stay on their line. */
export function indentedJson(json: string): string {
  const parts: string[] = [];
  let depth = 0;
  let at = 0;
  const newLine = () => parts.push(`\n${'  '.repeat(depth)}`);
  while (at < json.length) {
    const character = json[at] as string;
    if (WHITE.has(character)) {
      at++;
    } else if (character === '"') {
      const end = endOfString(json, at);
      parts.push(json.slice(at, end));
      at = end;
    } else if (OPENING.has(character)) {
      const next = nextVisible(json, at + 1);
      if (CLOSING.has(json[next] ?? '')) {
        parts.push(character, json[next] as string);
        at = next + 1;
      } else {
        parts.push(character);
        depth++;
        newLine();
        at++;
      }
    } else if (CLOSING.has(character)) {
      depth--;
      newLine();
      parts.push(character);
      at++;
    } else if (character === ',') {
      parts.push(character);
      newLine();
      at++;
    } else if (character === ':') {
      parts.push(': ');
      at++;
    } else {
      parts.push(character);
      at++;
    }
  }
  return parts.join('');
}

function nextVisible(json: string, from: number): number {
  let at = from;
  while (WHITE.has(json[at] ?? '')) at++;
  return at;
}

/** Just behind the closing quote of the string that begins at `position`. */
function endOfString(json: string, position: number): number {
  let at = position + 1;
  while (at < json.length && json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at + 1;
}
