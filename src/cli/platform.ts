import type { PlatformWish } from '../spec/docker/image.ts';

/** `os[/arch[/variant]]` in the API's form; undefined for ''. */
export function parsePlatform(text: string): PlatformWish | undefined {
  if (text === '') return undefined;
  const [os = '', architecture = '', variant = ''] = text.split('/');
  return { os, architecture, variant };
}
