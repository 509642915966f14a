import { isGrpcServiceError, type Connection } from '@temporalio/client';

/** `INDEXED_VALUE_TYPE_KEYWORD` of Temporal's API. */
const KEYWORD = 2;
/** gRPC status codes: the attribute is there already; this service does not let clients register any. */
const ALREADY_EXISTS = 6;
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;

/**
 * Makes the search attributes that actors write known to a namespace; repeating it is fine. Temporal Cloud refuses the
 * call: there they are registered once by hand (docs/operating.md).
 * @returns false when the service refused, so that the caller can say so.
 */
export async function registerSearchAttributes(
  connection: Pick<Connection, 'operatorService'>,
  namespace: string,
): Promise<boolean> {
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: {
        CallboardUserId: KEYWORD,
        CallboardSandboxStatus: KEYWORD,
        CallboardStartStatus: KEYWORD,
      },
    });
    return true;
  } catch (err) {
    if (isGrpcServiceError(err) && err.code === ALREADY_EXISTS) return true;
    if (isGrpcServiceError(err) && (err.code === PERMISSION_DENIED || err.code === UNIMPLEMENTED))
      return false;
    throw err;
  }
}
