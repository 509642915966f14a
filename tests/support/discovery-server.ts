import { createServer, type Server } from 'node:http';
import { listen } from './loopback.js';
import { MULTI_USER } from './people.js';

/** As much of a provider as sending browsers to it needs. */
export async function discoveryServer(): Promise<Server> {
  const at = MULTI_USER.OIDC_ISSUER;
  const about = {
    issuer: at,
    authorization_endpoint: `${at}/auth`,
    token_endpoint: `${at}/token`,
    jwks_uri: `${at}/keys`,
  };
  const listening = createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(about));
  });
  await listen(listening);
  return listening;
}
