// Number and capture time that stand in the picture itself (teleop/media/stamp.py writes them): what is displayed, not what has arrived.
export const STRIP = 16, COLUMNS = 32, ROWS = 2;

/** CRC-8 (0x07, start 0x5A) over seven bytes. */
export function crc8(bytes) {
  let crc = 0x5a;
  for (const byte of bytes) {
    crc ^= byte;
    for (let n = 0; n < 8; n++) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : (crc << 1) & 0xff;
  }
  return crc;
}

/** Read the strip: `data` are RGBA bytes of the last STRIP rows, `width` pixels wide. {id, ms} or null when damaged. */
export function readStamp(data, width) {
  const bytes = new Uint8Array(8);
  for (let r = 0; r < ROWS; r++) {
    const y = Math.floor(((r + 0.5) * STRIP) / ROWS);
    for (let c = 0; c < COLUMNS; c++) {
      const x = Math.floor(((c + 0.5) * width) / COLUMNS);
      let sum = 0;
      for (let dy = -1; dy < 1; dy++) for (let dx = -1; dx < 2; dx++) sum += data[4 * ((y + dy) * width + x + dx) + 1];
      if (sum > 6 * 127) { const bit = r * COLUMNS + c; bytes[bit >> 3] |= 0x80 >> (bit & 7); }
    }
  }
  if (crc8(bytes.subarray(0, 7)) !== bytes[7]) return null;
  return { id: (bytes[0] << 16) | (bytes[1] << 8) | bytes[2], ms: ((bytes[3] << 24) >>> 0) + ((bytes[4] << 16) | (bytes[5] << 8) | bytes[6]) };
}

/** The whole time (ns) of the low 32 bits of milliseconds, nearest to `nearNs`. */
export function unwrapMs(ms, nearNs) {
  const near = Math.floor(nearNs / 1e6), base = near - (near % 2 ** 32);
  let best = ms + base;
  for (const candidate of [base - 2 ** 32 + ms, base + 2 ** 32 + ms]) if (Math.abs(candidate - near) < Math.abs(best - near)) best = candidate;
  return best * 1e6;
}
