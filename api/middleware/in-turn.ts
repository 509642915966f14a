import type { Request, RequestHandler, Response } from 'express';

/** A step that has ended when it returns: it has answered, thrown, or called `next`, be it later. */
type Step = (request: Request, response: Response, next: (failure?: unknown) => void) => void;

/**
 * Several steps as one. A router looks at path, parameters and prefix of each of its layers anew, which takes longer than
 * most of what every request passes. What is thrown, or told to `next`, is for the router around them, as ever.
 */
export const inTurn =
  (...steps: readonly Step[]): RequestHandler =>
  (request, response, next) => {
    let place = 0;
    const go = (failure?: unknown): void => {
      const step = steps[place++];
      const isFine = failure === undefined || failure === null;
      if (isFine && step) step(request, response, go);
      else next(failure);
    };
    go();
  };
