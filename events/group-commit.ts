/** Work that is dearer per call than per item: what comes in while a call runs shares the next one. */

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result | PromiseLike<Result>) => void;
  reject: (reason: unknown) => void;
}

/**
 * Runs one `commit` at a time per key, with all items that wait for that key. If it fails, it fails for each of them.
 * @param commit returns one result per item, in the order of the items; results that are still to come hold up nobody else
 */
export function groupCommit<Item, Result>(
  commit: (key: string, items: readonly Item[]) => Promise<readonly (Result | PromiseLike<Result>)[]>,
): (key: string, item: Item) => Promise<Result> {
  const queues = new Map<string, Waiting<Item, Result>[]>();

  const work = async (key: string): Promise<void> => {
    for (let group = queues.get(key) ?? []; group.length > 0; group = queues.get(key) ?? []) {
      queues.set(key, []);
      try {
        const results = await commit(
          key,
          group.map(({ item }) => item),
        );
        group.forEach(({ resolve }, position) => resolve(results[position] as Result | PromiseLike<Result>));
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    queues.delete(key);
  };

  return (key, item) =>
    new Promise((resolve, reject) => {
      const queue = queues.get(key);
      if (queue) {
        queue.push({ item, resolve, reject });
      } else {
        queues.set(key, [{ item, resolve, reject }]);
        void work(key);
      }
    });
}
