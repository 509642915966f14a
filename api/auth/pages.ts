/** The two pages that a browser sees while it signs in; without script, style or anything from elsewhere. */

const escaped = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

const page = (head: string, body: string): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Callboard</title>${head}</head><body>${body}</body></html>\n`;

/**
 * Goes on to where the person wanted to be. The browser comes from another site, and would not send a `SameSite=Strict`
 * cookie along a redirect; from a page of ours it does.
 */
export const signedInPage = (location: string): string =>
  page(
    `<meta http-equiv="refresh" content="0;url=${escaped(location)}">`,
    `<p>You are signed in. <a href="${escaped(location)}">Go on</a>.</p>`,
  );

/** Says why somebody was not let in. */
export const refusedPage = (message: string, signIn: string): string =>
  page('', `<p>${escaped(message)}</p><p><a href="${escaped(signIn)}">Sign in</a></p>`);
