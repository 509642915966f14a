/** `/docs`: the routes as one plain page that loads nothing from anywhere. */
import { createHash } from 'node:crypto';
import type { RouteDefinition } from './route.js';

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #8884; padding: .3rem .5rem; vertical-align: top; }
td:first-child { font-weight: 600; width: 5rem; }
code { font-size: .95em; }
`;

/** Lets the page's own style be used, and nothing else. */
export const docsSecurityPolicy = `default-src 'none'; style-src 'sha256-${createHash('sha256')
  .update(STYLE)
  .digest('base64')}'; base-uri 'none'; frame-ancestors 'none'`;

/** Lists the routes by their tags. */
export function docsPage(routes: readonly RouteDefinition[]): string {
  const tags = [...new Set(routes.map(({ tag }) => tag))].sort();
  const sections = tags.map((tag) => {
    const rows = routes
      .filter((route) => route.tag === tag)
      .map(
        ({ method, path, summary }) =>
          `<tr><td>${method.toUpperCase()}</td><td><code>${escaped(path)}</code></td><td>${escaped(summary)}</td></tr>`,
      );
    return `<h2>${escaped(tag)}</h2><table>${rows.join('')}</table>`;
  });
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Callboard API</title>',
    `<style>${STYLE}</style></head><body><h1>Callboard API</h1>`,
    '<p>The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>',
    ...sections,
    '</body></html>',
  ].join('');
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
