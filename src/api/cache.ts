// JSON texts of immutable objects, made once per object version: polling clients cost little more than sending the bytes.

/** A cache of printed texts. An entry counts as long as the object and everything else that it was made of are the same. */
export class TextCache<T extends object> {
  readonly #entries = new WeakMap<T, { readonly parts: readonly unknown[]; readonly text: string }>()

  get(object: T, parts: readonly unknown[], print: () => unknown): string {
    const known = this.#entries.get(object)
    if (known && known.parts.length === parts.length && known.parts.every((part, index) => part === parts[index])) return known.text
    const text = JSON.stringify(print())
    this.#entries.set(object, { parts, text })
    return text
  }
}
