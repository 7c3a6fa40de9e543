// Remembers which nodes meet what a demand asks of a node itself (labels, platform, plugins, plane), because many groups ask the same.
import type { Demand } from './demand.ts'
import { fitsNode } from './filters.ts'
import type { NodeInfo } from './nodeInfo.ts'

/** Different demands that are remembered; the oldest goes first. */
const MOST_KEYS = 256

const UNKNOWN = 0
const YES = 1
const NO = 2

export class Fits {
  /** By `fitKey`: a verdict for each node index. */
  readonly #verdicts = new Map<string, Uint8Array>()

  /** The node is another one now. */
  forget(info: NodeInfo): void {
    for (const verdicts of this.#verdicts.values()) if (info.index < verdicts.length) verdicts[info.index] = UNKNOWN
  }

  /** Answers for one demand; undefined when it asks nothing of a node itself. */
  of(demand: Demand, nodes: number): ((info: NodeInfo) => boolean) | undefined {
    if (demand.fitKey === '') return undefined
    let verdicts = this.#verdicts.get(demand.fitKey)
    if (!verdicts || verdicts.length < nodes) {
      const grown = new Uint8Array(nodes * 2)
      if (verdicts) grown.set(verdicts)
      else if (this.#verdicts.size >= MOST_KEYS) for (const oldest of this.#verdicts.keys()) if (this.#verdicts.delete(oldest)) break
      verdicts = grown
      this.#verdicts.set(demand.fitKey, verdicts)
    }
    const known = verdicts
    return (info) => {
      const verdict = known[info.index]
      if (verdict !== UNKNOWN) return verdict === YES
      const fits = fitsNode(info, demand)
      known[info.index] = fits ? YES : NO
      return fits
    }
  }
}
