// Pure planner of placements: nodes with what they carry, filters that explain themselves, an order, nested spreading.
export { type Demand, type DemandInput, demandOf } from './demand.ts'
export { type Objection, objections, remedy } from './explain.ts'
export { explain, FILTERS, type FilterName, refusal } from './filters.ts'
export { FAILURE_WINDOW_MS, MAX_FAILURES, NodeInfo } from './nodeInfo.ts'
export { NodeSet, type TaskUse } from './nodeSet.ts'
export { type Placed, type Placement, placeGroup, type TaskToPlace, type Unplaced } from './place.ts'
