import type { ByteString } from '../../src/formats/byte-string.ts';
import { encodeErofs } from '../../src/formats/erofs.ts';
import { type ErofsNode, ErofsTree } from '../../src/formats/erofs-tree.ts';
import type { TarXattr } from '../../src/formats/tar-pax.ts';

/** A node with those below it; one that is in several places has hard links. */
export type NestedNode = ErofsNode & { readonly children: ReadonlyMap<ByteString, NestedNode> };

/** The image of a nested tree in one piece. */
export function imageOf(root: NestedNode, id: Uint8Array, common: readonly TarXattr[]): Buffer {
  const tree = new ErofsTree(root);
  const known = new Map<NestedNode, number>();
  const add = (directory: number, { children }: NestedNode): void => {
    for (const [name, child] of children) {
      const node = known.get(child);
      if (node !== undefined) {
        tree.addLink(directory, name, node);
        continue;
      }
      const added = tree.add(directory, name, child);
      known.set(child, added);
      add(added, child);
    }
  };
  add(0, root);
  const pieces: Buffer[] = [];
  encodeErofs(tree, { id, common }, (piece) => pieces.push(Buffer.from(piece)));
  return Buffer.concat(pieces);
}
