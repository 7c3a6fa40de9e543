// `npm run soak`: the same rings as `npm test`, in their long forms (more seeds, longer loads, the figures that the documents quote).
process.env.SHOAL_SOAK = '1'
await import('./test.mjs')
