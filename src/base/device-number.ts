/** Major and minor of a `st_dev` or `st_rdev` (makedev(3)). */
export function splitDevice(number: number): { readonly major: number; readonly minor: number } {
  const wide = BigInt(number);
  return {
    major: Number(((wide >> 8n) & 0xfffn) | ((wide >> 32n) & ~0xfffn)),
    minor: Number((wide & 0xffn) | ((wide >> 12n) & ~0xffn)),
  };
}
