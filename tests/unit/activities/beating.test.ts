import { describe, expect, it } from 'vitest';
import { nowAndThen } from '../../../activities/beating.js';

describe('progress that is told many times a second', () => {
  it('is passed on every one and a half seconds, the newest each time', () => {
    let time = 0;
    const told: number[] = [];
    const tell = nowAndThen(
      (probes: number) => told.push(probes),
      () => time,
    );
    for (let probe = 1; probe <= 200; probe++) {
      time += 25;
      tell(probe);
    }
    expect(told).toEqual([60, 120, 180]);
  });
});
