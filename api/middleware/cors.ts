import cors from 'cors';
import type { RequestHandler } from 'express';

/**
 * Which web pages may read answers with credentials: the configured origins and no others; where none are configured,
 * pages served by this machine, on any port (contract 1.6, decision d; never every origin, defect D1).
 */
export function isPermittedOrigin(origin: string, configured: readonly string[]): boolean {
  if (configured.length > 0) return configured.includes(origin);
  if (!URL.canParse(origin)) return false;
  const { protocol, hostname, origin: canonical } = new URL(origin);
  return (
    canonical === origin &&
    (protocol === 'http:' || protocol === 'https:') &&
    (hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]')
  );
}

/** Answers preflights and marks answers for permitted origins; others get no CORS header at all. */
export const corsHeaders = (configured: readonly string[]): RequestHandler =>
  cors({
    origin: (origin, done) => done(null, origin !== undefined && isPermittedOrigin(origin, configured)),
    credentials: true,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    maxAge: 600,
    optionsSuccessStatus: 200,
  });
