import test from "node:test";
import assert from "node:assert/strict";
import { COLUMNS, ROWS, STRIP, crc8, readStamp, unwrapMs } from "./stamp.js";

function strip(id, ms, width) {
  const bytes = [id >> 16, (id >> 8) & 255, id & 255, Math.floor(ms / 2 ** 24) & 255, (ms >>> 16) & 255, (ms >>> 8) & 255, ms & 255];
  bytes.push(crc8(bytes));
  const data = new Uint8ClampedArray(width * STRIP * 4);
  for (let y = 0; y < STRIP; y++) for (let x = 0; x < width; x++) {
    const bit = Math.floor((y * ROWS) / STRIP) * COLUMNS + Math.floor((x * COLUMNS) / width);
    data.fill(bytes[bit >> 3] & (0x80 >> (bit & 7)) ? 235 : 20, 4 * (y * width + x), 4 * (y * width + x) + 3);
  }
  return data;
}

test("a stamp is read at every width, and a damaged one is not", () => {
  for (const width of [160, 224, 320, 448, 640]) for (const [id, ms] of [[0, 0], [0xffffff, 0xffffffff], [123456, 3456789012]]) {
    const data = strip(id, ms, width);
    assert.deepEqual(readStamp(data, width), { id, ms });
    const w = width / COLUMNS;
    for (let y = 0; y < 8; y++) for (let x = Math.ceil(5 * w); x < 6 * w; x++) data[4 * (y * width + x) + 1] = 255 - data[4 * (y * width + x) + 1];
    assert.equal(readStamp(data, width), null);
  }
});

test("the CRC is the one of the writer (teleop/media/stamp.py: frame 77 of 5 s)", () => assert.equal(crc8([0, 0, 77, 0, 0, 19, 136]), 32));

test("the low 32 bits of milliseconds find their whole time again", () => {
  for (const t of [5e9, 2 ** 32 * 1e6 - 3e6, 2 ** 32 * 1e6 + 3e6, 9.9e15]) assert.equal(unwrapMs(Math.floor(t / 1e6) % 2 ** 32, t + 2.5e8), Math.floor(t / 1e6) * 1e6);
});
