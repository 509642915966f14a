/**
 * What follows `Bearer` in an `Authorization` header, without the spaces around it. Keys that people have chosen may have
 * spaces within.
 */
export function bearerOf(authorization: string | undefined): string | undefined {
  const given = /^Bearer\s(.*)$/is.exec(authorization ?? '')?.[1]?.trim();
  return given === '' ? undefined : given;
}
