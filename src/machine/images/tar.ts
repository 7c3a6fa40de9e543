// Writes tar archives that are the same byte for byte for the same content: no times, no owners, entries in the order given.

export type TarEntry =
  | { readonly kind: 'dir'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'file'; readonly path: string; readonly mode?: number; readonly content: Buffer | string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }

const BLOCK = 512

/** A ustar archive. Paths are relative, at most 255 characters and splittable at a slash into 155 + 100. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const parts: Buffer[] = []
  for (const entry of entries) {
    const content = entry.kind === 'file' ? Buffer.from(entry.content as string) : Buffer.alloc(0)
    parts.push(header(entry, content.length), content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK))
  }
  parts.push(Buffer.alloc(2 * BLOCK))
  return Buffer.concat(parts)
}

function header(entry: TarEntry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK)
  const [prefix, name] = splitPath(entry.kind === 'dir' ? `${entry.path}/` : entry.path)
  const mode = entry.kind === 'link' ? 0o777 : (entry.mode ?? (entry.kind === 'dir' ? 0o755 : 0o644))
  block.write(name, 0, 100)
  block.write(octal(mode, 7), 100)
  block.write(octal(0, 7), 108) // uid
  block.write(octal(0, 7), 116) // gid
  block.write(octal(size, 11), 124)
  block.write(octal(0, 11), 136) // mtime
  block.write('        ', 148) // the checksum is taken over spaces
  block.write(entry.kind === 'dir' ? '5' : entry.kind === 'link' ? '2' : '0', 156)
  if (entry.kind === 'link') block.write(entry.target, 157, 100)
  block.write('ustar\0' + '00', 257)
  block.write(prefix, 345, 155)
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${octal(sum, 6)}\0 `, 148)
  return block
}

function splitPath(path: string): [prefix: string, name: string] {
  if (path.length <= 100) return ['', path]
  const cut = path.indexOf('/', path.length - 101)
  if (cut < 0 || cut > 155) throw new Error(`path too long for a tar archive: ${path}`)
  return [path.slice(0, cut), path.slice(cut + 1)]
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}
