/** Gzip as it should not be, with the words that it is refused with. */
export function badGzips(packed: Buffer): readonly (readonly [Buffer, RegExp])[] {
  const damaged = Buffer.from(packed);
  damaged.fill(0xff, 5_000, 5_100);
  const wrongSum = Buffer.from(packed);
  wrongSum[packed.length - 6] = (wrongSum[packed.length - 6] ?? 0) ^ 1;
  return [
    [Buffer.from('no gzip at all'), /gzip: invalid header/],
    [damaged, /flate: corrupt input/],
    [wrongSum, /gzip: invalid checksum/],
    [packed.subarray(0, -20), /unexpected EOF/],
    [Buffer.concat([packed, Buffer.from('junk')]), /do not belong/],
  ];
}
