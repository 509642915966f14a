/** Express alone, with a constant of about the size of a start task: writes the port on which it listens, and answers. */
import type { AddressInfo } from 'node:net';
import express from 'express';

const BODY = JSON.stringify({ text: 'x'.repeat(1_000) });

const app = express();
app.disable('etag');
app.disable('x-powered-by');
app.use((_request, response) => {
  response.setHeader('Content-Type', 'application/json');
  response.setHeader('Content-Length', BODY.length);
  response.end(BODY);
});
const server = app.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
